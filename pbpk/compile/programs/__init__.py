"""The algorithms, written once on operands: linear windows, Rosenbrock windows, whole solutions, likelihoods."""
