"""A whole solution, its adjoint and its likelihood, each as one program on operands."""
