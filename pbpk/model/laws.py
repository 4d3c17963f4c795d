"""Scalar rate laws: plain arithmetic on named arguments; the frame vectorises them.

Argument names are the interface: `a` amount, `c` concentration, `k` rate constant, `cl` clearance, `q` flow, `vmax`
(always amount/time), `km`, `ki` concentration. The result is an amount per time. To add a law: a function here and a
line in tests/model/test_laws.py.
"""

from __future__ import annotations


def first_order(a, k):
    """k·a: a constant fraction of the amount per time."""
    return k * a


def clearance(c, cl):
    """CL·c: a volume cleared per time."""
    return cl * c


def flow(c, q):
    """Q·c: carried by a flow at the compartment's concentration."""
    return q * c


def perfusion(c, q, kp):
    """Q·c/Kp: venous return from a well-stirred tissue with tissue:plasma partition coefficient Kp."""
    return q * c / kp


def saturable(c, vmax, km):
    """Michaelis–Menten: Vmax·c/(Km + c)."""
    return vmax * c / (km + c)


def competitive(c, rival, vmax, km, ki):
    """Michaelis–Menten with a competitor for the same carrier: Vmax·c/(Km·(1 + rival/Ki) + c)."""
    return vmax * c / (km * (1 + rival / ki) + c)


def zero_order(rate):
    """A constant rate, whatever is there: production (`OUT >> compartment`)."""
    return rate
