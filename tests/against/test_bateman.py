"""The Bateman equations against the radioactivedecay package in its high precision: its half-lives and branches in both."""

import warnings

import numpy as np
import pytest

from pbpk.nuclides import bateman

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of libraries it stands on
    radioactivedecay = pytest.importorskip("radioactivedecay", reason="radioactivedecay is not installed")


def its_chain(parent):
    """Members, parents first, with decay constants (1/s) and shares as it has them."""
    names, found = [], [parent]
    for name in found:
        found += [d for d in radioactivedecay.Nuclide(name).progeny() if d not in found]
    known = {name: radioactivedecay.Nuclide(name) for name in found}
    while found:
        names.append(next(n for n in found if not any(n in known[other].progeny() for other in found)))
        found.remove(names[-1])
    k = np.array([np.log(2) / float(known[n].half_life("s")) for n in names])
    branch = np.zeros((len(names), len(names)))
    for j, n in enumerate(names):
        for to, share in zip(known[n].progeny(), known[n].branching_fractions(), strict=True):
            branch[names.index(to), j] = share
    return names, k, branch


@pytest.mark.parametrize("parent", ["At-211", "Ac-225"])
def test_activities_after_seconds_and_thirty_half_lives(parent):
    names, k, branch = its_chain(parent)
    first = np.log(2) / k[0]
    for t in (10.0, 30 * first):
        theirs = radioactivedecay.InventoryHP({parent: 1.0}, "Bq").decay(t, "s").activities("Bq")
        ours = dict(zip(names, np.asarray(bateman.compute_activities(k, branch, 1.0, t)), strict=True))
        for name, activity in theirs.items():
            assert ours[name] == pytest.approx(activity, rel=1e-12, abs=0), (name, t)
