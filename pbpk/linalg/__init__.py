"""The numerical methods without a solver around them: the sparse elimination and how a system is packed for it, series and
contours of resolvents, Rosenbrock tableaus. Solvers (pbpk.solve) and compiled kernels (pbpk.compile) are written on these."""
