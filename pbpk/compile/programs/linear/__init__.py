"""A linear window and its adjoint on operands."""
