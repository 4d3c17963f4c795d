"""Decay data against ENSDF itself, in the files of the paceENSDF package (100 MB, so nobody need install it)."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from pbpk import units
from pbpk.nuclides import load_nuclide, read_nuclides

package = importlib.util.find_spec("paceENSDF")
if package is None or package.origin is None:
    pytest.skip("paceENSDF is not installed", allow_module_level=True)
FILES = Path(package.origin).parent / "ENSDF_JSON"

# Ac-225 was measured anew; Xe-131m has no file of its own, nor has the share of I-131 that gives it.
READ = sorted(n for n, x in read_nuclides().items() if not x.stable and n not in ("Ac-225", "Xe-131m"))
LEVEL = {"Tc-99m": 142.6836}  # keV; the file is of its decay by beta-, and says how long it lives


def spelt(name):
    symbol, mass = name.rstrip("m").split("-")
    return symbol + mass


def datasets(name):
    """What ENSDF has of the decays of a nuclide: progeny, half-life with uncertainty (h), branch with uncertainty."""
    found = {}
    for path in FILES.glob(f"j_input_{spelt(name)}_*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        parent = data["parentDecay"][0]
        if abs(parent["parentDecayLevelEnergy"] - LEVEL.get(name, 0.0)) < 0.01:
            time = parent["halfLife"][0]
            unit = {"y": "yr"}.get(time["unitHalfLifeBest"], time["unitHalfLifeBest"])
            life = (units.to_internal(time[key], unit) for key in ("halfLifeBest", "dHalfLifeBest"))
            share = data["decaySchemeNormalization"][0]["normalizationRecord"][0]
            symbol, mass = re.fullmatch(r"([A-Za-z]+)(\d+)", data["daughterID"]).groups()
            branch = (share["multiplerBranchingRatio"], share["dMultiplerBranchingRatio"])
            found[f"{symbol}-{mass}"] = (*life, *branch)
    return found


@pytest.mark.parametrize("name", READ)
def test_half_life_and_branches(name):
    ours, theirs = load_nuclide(name, "ensdf"), datasets(name)
    lives = [(half_life, uncertainty) for half_life, uncertainty, *_ in theirs.values()]
    assert any((ours.half_life, ours.uncertainty) == pytest.approx(life, rel=1e-6) for life in lives)
    if len(ours.decays) > 1 and name != "I-131":
        for decay in ours.decays:
            assert (decay.branch, decay.uncertainty) == pytest.approx(theirs[decay.to][2:])
