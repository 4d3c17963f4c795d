"""The table of decays: complete, sourced, and closed, so that every chain ends."""

import re
from pathlib import Path

import pytest

import pbpk.nuclides
from pbpk.errors import BadInput
from pbpk.model.parameters import read_number
from pbpk.nuclides import load_nuclide, read_nuclides
from pbpk.nuclides.chains import chain

FOLDER = Path(pbpk.nuclides.__file__).parent
RADIOACTIVE = [n for n, x in read_nuclides().items() if not x.stable]


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_what_it_decays_to_is_on_file_and_takes_up_all_decays(name):
    decays = load_nuclide(name).decays
    assert sum(d.branch for d in decays) == pytest.approx(1.0, abs=1e-12)
    assert all(d.to in read_nuclides() and d.branch >= 1e-4 and d.mode for d in decays)
    assert len({d.to for d in decays}) == len(decays)


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_mass_numbers_fit_the_modes(name):
    mass = {n: int(re.search(r"\d+", n)[0]) for n in read_nuclides()}
    for decay in load_nuclide(name).decays:
        assert mass[name] - mass[decay.to] == (4 if decay.mode == "alpha" else 0)


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_half_lives_have_uncertainties_and_are_shown_as_they_were_read(name):
    nuclide = load_nuclide(name, "ensdf")
    assert 0 < nuclide.uncertainty < 0.06 * nuclide.half_life
    assert 0 < nuclide.decay_constant * nuclide.half_life - 0.6931 < 1e-4
    number, unit = read_number(nuclide.stated)
    assert number > 0 and unit in ("yr", "d", "h", "min", "s", "ms", "us")


def test_every_number_has_a_source_that_can_be_looked_up():
    text = (FOLDER / "references.bib").read_text(encoding="utf-8")
    entries = dict(re.findall(r"@\w+\{(\w+),(.*?)\}\n(?=@|\Z)", text, flags=re.DOTALL))
    for evaluation in ("ensdf", "icrp107"):
        for nuclide in read_nuclides(evaluation).values():
            for source in (nuclide.source, *(d.source for d in nuclide.decays)):
                entry = entries[re.split(r"[,\s:;]", source, maxsplit=1)[0]]
                assert all(f"{key} =" in entry for key in ("author", "title", "year"))


def test_a_stable_nuclide():
    lead = load_nuclide("Pb-207")
    assert lead.stable and lead.decay_constant == 0.0 and lead.decays == () and lead.stated == "stable"


def test_two_evaluations():
    newer, icrp = load_nuclide("Ac-225", "ensdf"), load_nuclide("225Ac")
    assert (newer.stated, icrp.stated) == ("9.92 d", "10.0 d")
    assert newer.uncertainty == pytest.approx(0.072) and newer.decays == icrp.decays
    assert icrp.half_life == 240.0 and icrp.source == "icrp107" and icrp.uncertainty == 0.0
    with pytest.raises(BadInput, match="no evaluation `icrp`") as caught:
        load_nuclide("I-131", "icrp")
    assert caught.value.exit_code == 3 and "icrp107" in caught.value.hint


@pytest.mark.parametrize("spelt", ["I-131", "I131", "131I", "i-131", " 131-I "])
def test_spellings(spelt):
    assert load_nuclide(spelt).name == "I-131"


@pytest.mark.parametrize("spelt", ["Xe-131m", "131mXe"])
def test_spellings_of_an_isomer(spelt):
    assert load_nuclide(spelt).name == "Xe-131m"


@pytest.mark.parametrize("name", RADIOACTIVE)
def test_a_row_of_a_branch_has_one_meaning(name):
    """`decay_chain` calls the share of a decay after what comes of it: in no chain may that come of two branched decays."""
    given = [d.to for x in chain(name).members if len(x.decays) > 1 for d in x.decays]
    assert sorted(given) == sorted(set(given))
