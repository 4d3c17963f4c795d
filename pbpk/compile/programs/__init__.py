"""The algorithms on operands: linear windows, Rosenbrock windows, whole solutions, likelihoods."""
