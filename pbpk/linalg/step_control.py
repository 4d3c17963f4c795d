"""How the lengths of Rosenbrock steps are chosen: the numbers that the portable engine (pbpk.solve.rosenbrock_window) and
compiled programs (pbpk.compile.programs.rosenbrock.window) share, so that both take the same steps.

The error of a step is the root mean square of its estimates over what is tolerated; up to 1 a step is accepted. The next one
is SAFETY · error^(−1/order) times as long, within SHRINK and GROW (Hairer & Wanner 1996, §IV.7).
"""

SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0
LEAST_ERROR = 1e-12  # added to every error: 0 has no negative power
LARGEST_ERROR = 1e10  # stands for an error that is no number, or larger
CROSSING_ERROR = 1e3  # at least, of a step across zero: it is refused, and the next one is as short as can be
SHORTEST_FRACTION = 1e-13  # of an interval: a step this short means that no step will do
LEAST_SHARE = 1e-4  # of all amounts in a unit: a group that exchanges with no other is no finer scale of its own errors
FIRST_STEP = 0.01  # of the time in which the amounts would double
GRID_SLACK = 1e-6  # of a step of a shared grid: what rounding may add to their number
