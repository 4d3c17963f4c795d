"""A whole solution, its adjoint and its likelihood on operands."""
