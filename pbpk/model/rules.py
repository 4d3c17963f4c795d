"""Rules by which one parameter follows from others (`derive`): plain arithmetic on named arguments, as laws are.

To add one: a function here and a line in tests/model/test_rules.py.
"""

from __future__ import annotations


def product(a, b):
    """a·b."""
    return a * b


def ratio(a, b):
    """a/b."""
    return a / b


def complement(share):
    """1 − share: what is left."""
    return 1 - share


def scaled(value, size, power):
    """Allometry: value·size^power, with size 1 in the reference adult (West, Brown & Enquist 1997, Science 276:122)."""
    return value * size**power


def crowding(iodide, km_iodide, perchlorate, ki_perchlorate, thiocyanate, ki_thiocyanate):
    """1 + Σ concentration/constant of those who compete for the symporter."""
    return 1 + iodide / km_iodide + perchlorate / ki_perchlorate + thiocyanate / ki_thiocyanate


def substance_of_activity(k, avogadro):
    """1/(λ·N_A): how much substance one unit of activity is."""
    return 1 / (k * avogadro)


def difference(a, b):
    """a − b; as a demand, that b is not more than a."""
    return a - b


def organ_volume(mass, size, density):
    """mass·size/density."""
    return mass * size / density


def carried_flow(share, output, hematocrit, red, size, power):
    """share·output·(1 − Hct + Hct·red)·size^power: an organ's flow as the plasma that would carry as much.

    `red` is the concentration in red cells over that in plasma.
    """
    return share * output * (1 - hematocrit + hematocrit * red) * size**power


def partition(ecf, cells):
    """ecf + (1 − ecf)·cells: tissue over plasma, of an anion that is as concentrated in extracellular fluid as in plasma and
    `cells` times as much in cells."""
    return ecf + (1 - ecf) * cells


def extraction(q, ps):
    """q·ps/(q + ps): exchange through a well-mixed capillary bed of flow q and permeability–surface product ps."""
    return q * ps / (q + ps)


def allotted(rate, part, of):
    """rate·part/of."""
    return rate * part / of


def same(a):
    """The parameter itself; as a demand, that it is not below zero."""
    return a


def sum_of(parts):
    """The sum of all parts."""
    return sum(parts[1:], parts[0])


def remainder(whole, parts):
    """whole − Σ parts."""
    return whole - sum_of(parts)


def remaining_share(parts):
    """1 − Σ parts."""
    return 1 - sum_of(parts)


def capacity(per, mass, size, power):
    """per·mass·size^power: what a whole organ transports, of a rate per mass in the reference adult."""
    return per * mass * size**power
