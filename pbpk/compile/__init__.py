"""Algorithms written once on operands, compiled to vector code that runs inside JAX's programs.

Needs llvmlite (extra `kernel`); everything else of pbpk works without it.
"""

from pbpk.compile.programs.linear.kernel import compile_linear as compile_linear
