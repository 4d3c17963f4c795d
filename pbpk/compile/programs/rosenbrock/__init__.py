"""A Rosenbrock window and its adjoint on operands."""
