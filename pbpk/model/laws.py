"""Scalar rate laws: plain arithmetic on named arguments; the frame vectorises them.

Argument names are the interface: `a` amount, `c` concentration, `k` rate constant, `cl` clearance, `q` flow, `vmax`
(always amount/time), `km`, `ki` concentration. The result is an amount per time. To add a law: a function here,
its name in `model/__init__.py`, and a line in tests/model/test_laws.py.
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


def symport(c, level, own, iodide, perchlorate, thiocyanate, vmax, km, km_iodide, ki_perchlorate, ki_thiocyanate):
    """Anions competing for the sodium-iodide symporter:

        level·Vmax·c / (Km·(1 + iodide/Km + perchlorate/Ki + thiocyanate/Ki) + own·c)

    c (activity/volume) is the tracer's concentration and `own` the substance in one unit of its activity, so that a tracer
    saturates its carrier by its own mass alone. `level` is the expression of the carrier, 1 as it is at rest. Simple
    competition, each anion with the constant of its own transport (Tonacchera et al. 2004, Thyroid 14:1012).
    """
    crowd = 1 + iodide / km_iodide + perchlorate / ki_perchlorate + thiocyanate / ki_thiocyanate
    return level * vmax * c / (km * crowd + own * c)


def trace_symport(c, vmax, km, crowd):
    """The same at tracer mass: Vmax·c/(Km·crowd), linear. `crowd` is 1 + the sum of competitors over their constants."""
    return vmax * c / (km * crowd)


def emax(a, vmax, half):
    """Emax: vmax·a/(half + a), an effect of the amount of a signal or drug (`half` amount)."""
    return vmax * a / (half + a)


def inhibited_first_order(a, rival, k, half):
    """k·a/(1 + (rival/half)²): first order, arrested by much of something else."""
    return k * a / (1 + (rival / half) ** 2)


def radiation_loss(level, c, k):
    """k·c·level: loss of a carrier in proportion to the activity around it."""
    return k * c * level


def zero_order(rate):
    """A constant rate, whatever is there: production (`OUT >> compartment`)."""
    return rate
