"""Algorithms on operands, compiled to vector code that runs inside JAX's programs.

They are a second writing: pbpk.solve has the same methods in JAX, the portable engine (docs/numerics.md, "Two writings").

Needs llvmlite (extra `kernel`); everything else of pbpk works without it.
"""

from pbpk.compile.programs.linear.kernel import compile_linear as compile_linear
