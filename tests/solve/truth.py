"""exp(At) of compartment graphs in integer arithmetic: exact where a matrix exponential in doubles is not.

With rates of 1e8 per hour a double holds a column's sum only to 1e-8, and squaring doubles what is lost: SciPy's `expm`
then errs more than the solvers under test. Fixed-point integers have as many digits as are asked for.
"""

from fractions import Fraction

import numpy as np

_BITS = 256
_ONE = 1 << _BITS


def _fixed(value) -> int:
    return int(Fraction(float(value)) * _ONE)


def exponentials(n, edges, rates, t):
    """exp(At), ∫ exp(As) ds and ∫∫ exp(Au) du ds over 0…t, each (n, n), to a double's last digit.

    A is that of first-order arrows `edges` with `rates`, n being outside: what is left of a dose, what it has left behind
    over time or what an inflow leaves, and what an inflow has left behind.
    """
    a = np.zeros((n + 1, n + 1), dtype=object)
    for (source, target), k in zip(edges, rates, strict=True):
        a[source, source] -= _fixed(k)
        a[target, source] += _fixed(k)
    whole, once, twice = _three(a[:n, :n], _fixed(t))
    return _floats(whole), _floats(once), _floats(twice)


def _three(a, t):
    """Taylor's series over t/2^s, doubled s times: E ← E², F ← F + EF, G ← G + tF + EG."""
    at = (a * t) >> _BITS
    norm = max((sum(abs(int(v)) for v in column) for column in at.T), default=0)
    halvings = max(norm.bit_length() - _BITS + 4, 0)
    at, t = at >> halvings, t >> halvings
    term = np.zeros_like(a)
    term[np.diag_indices(len(a))] = _ONE
    whole, once, twice, k = term.copy(), term.copy(), term // 2, 0
    while np.any(abs(term) > 1):
        k += 1
        term = (term.dot(at) >> _BITS) // k
        whole, once, twice = whole + term, once + term // (k + 1), twice + term // ((k + 1) * (k + 2))
    once, twice = (once * t) >> _BITS, ((twice * t >> _BITS) * t) >> _BITS
    for _ in range(halvings):
        twice = twice + ((t * once + whole.dot(twice)) >> _BITS)
        once, t = once + (whole.dot(once) >> _BITS), 2 * t
        whole = whole.dot(whole) >> _BITS
    return whole, once, twice


def _floats(a):
    return np.array([[float(Fraction(int(v), _ONE)) for v in row] for row in a])
