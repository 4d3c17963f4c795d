"""Chains in a body: which arrows and rows they add, and that solved they are what Bateman's equations say."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import pbpk
import pbpk.nuclides
from pbpk.errors import BadInput
from pbpk.model import OUT, Compartment, daughter, decay_chain
from pbpk.model.chains import chain_rows, nuclide_tag
from pbpk.model.load import load_model
from pbpk.nuclides.chains import chain

blood, thyroid = Compartment("blood", "MBq", volume="blood.V"), Compartment("thyroid", "MBq")
TIMES = np.array([0.1, 1.0, 7.214, 24.0, 72.0])

STRUCTURE = """\
from pbpk.model import *

blood, thyroid, kidneys, gone = (Compartment(n, "MBq") for n in ("blood", "thyroid", "kidneys", "gone"))
chain = decay_chain("{nuclide}", blood, thyroid, into=gone{how})
moves = Block((blood, thyroid, gone), (transfer(blood, thyroid, "x"), transfer(thyroid, blood, "x")), routes={{"iv": blood}})
model = moves + chain + Block({more})
"""

ROWS = """\
[model]
nuclide = "{nuclide}"

[decay]
k = {{ value = {k!r}, unit = "1/h", about = "physical decay", source = "assumed: set by the nuclide" }}

[x]
blood_to_thyroid = {{ value = 0.3, unit = "1/h", about = "uptake", source = "assumed: for a test" }}
thyroid_to_blood = {{ value = 0.05, unit = "1/h", about = "release", source = "assumed: for a test" }}

{rows}
"""

SHARE = '[bi207]\ndisplaced = { value = 0.7, unit = "1", about = "share", source = "assumed: for a test", range = [0, 1] }\n'


@pytest.fixture
def made(folder):
    """A model of blood and thyroid with the chain of a nuclide, whose half-life is that of ENSDF too."""

    def made(nuclide, *, how="", more="()", rows=None, values=None):
        k = float(chain(nuclide).k[0])
        text = chain_rows(nuclide) if rows is None else rows
        path = folder(
            STRUCTURE.format(nuclide=nuclide, how=how, more=more),
            ROWS.format(nuclide=nuclide, k=k, rows=text),
        )
        with (path.parent / "references.bib").open("a", encoding="utf-8") as bibliography:
            bibliography.write((Path(pbpk.nuclides.__file__).parent / "references.bib").read_text(encoding="utf-8"))
        return load_model(path, values={"decay.k": f"{k!r} 1/h", **(values or {})})

    return made


def solved(model, times=TIMES, **how):
    """Amounts (T,) of every compartment at times after 1 MBq."""
    path = pbpk.simulate(model, pbpk.dose("1 MBq", into="iv"), times, observe=model.system.names, **how)
    assert path.result.tolist() == [0]
    return {name: np.asarray(path[name])[:, 0] for name in model.system.names}


def in_all(amounts, nuclide, first):
    ends = (
        ("blood", "thyroid")
        if nuclide == first
        else (f"blood_{nuclide_tag(nuclide)}", f"thyroid_{nuclide_tag(nuclide)}")
    )
    return sum(amounts[name] for name in ends)


@pytest.mark.parametrize("nuclide", ["At-211", "Ac-225"])
def test_wherever_they_are_all_of_them_follow_bateman(made, nuclide):
    """Activities to 1e-9 of themselves, 4 µs beside 10 days, and no atom is lost."""
    model, links = made(nuclide), chain(nuclide)
    amounts, expected = solved(model), np.asarray(links.activities(1.0, TIMES))
    np.testing.assert_allclose(sum(amounts.values()), 1.0, rtol=0, atol=1e-12)
    for i, member in enumerate(links.members):
        if not member.stable:
            activity = in_all(amounts, member.name, nuclide) * member.decay_constant / links.k[0]
            np.testing.assert_allclose(activity, expected[:, i], rtol=1e-9, err_msg=member.name)
            if i:
                factor = model.parameters[f"{nuclide_tag(member.name)}.activity"]
                assert factor.internal == pytest.approx(member.decay_constant / links.k[0], rel=1e-12)
    np.testing.assert_allclose(amounts["gone"], links.atoms(links.k[0], TIMES)[:, -1], rtol=1e-9)


def test_equilibrium_in_each_organ_and_what_is_left(made):
    observed = """observables=(
        observe("at", total(thyroid), "astatine in the thyroid"),
        observe("po", total(daughter(thyroid, "Po-211")), "polonium in the thyroid", scale="po211.activity"),
        observe("bi", total(daughter(blood, "Bi-207"), daughter(thyroid, "Bi-207")), "bismuth", scale="bi207.activity"),
    )"""
    path = pbpk.simulate(made("At-211", more=observed), pbpk.dose("1 MBq", into="iv"), [1.0, 24.0, 100.0])
    np.testing.assert_allclose(path["po"] / path["at"], 0.582, rtol=2e-4)  # a second behind uptake
    assert float(path["bi"][-1, 0]) * 1e6 == pytest.approx(10.9, abs=0.05)  # Bq for 1 MBq of astatine
    assert set(path.unit.values()) == {"MBq"}


def test_decays_count_in_the_integrals(made):
    """Of one atom of astatine 0.582 polonium and 0.418 bismuth decay in the end, wherever they are."""
    model = made("At-211")
    names = [n for n in model.system.names if n != "gone"]
    path = pbpk.simulate(model, pbpk.dose("1 MBq", into="iv"), [24.0], observe=names, integrate=True)
    rows = model.parameters
    for nuclide, share in (("Po-211", 0.582), ("Bi-207", 0.418)):
        lived = sum(float(path.to_infinity[f"{place}_{nuclide_tag(nuclide)}"][0]) for place in ("blood", "thyroid"))
        assert lived * rows[f"{nuclide_tag(nuclide)}.k"].internal == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize("how", ["blood", "{thyroid: blood}"])
def test_daughters_that_leave_where_they_are_born(made, how):
    """70 % of bismuth born in the thyroid is in blood at once; what stays there is the rest of what is born there."""
    model = made(
        "At-211", how=f', displaced={{"Bi-207": {how}}}', rows=chain_rows("At-211").replace("[bi207]\n", SHARE)
    )
    kept = made("At-211", how=f', displaced={{"207Bi": {how}}}', rows=model_rows(0.0))
    amounts, still = solved(model), solved(kept)
    np.testing.assert_allclose(amounts["thyroid_bi207"], 0.3 * still["thyroid_bi207"], rtol=1e-9)
    np.testing.assert_allclose(
        amounts["blood_bi207"] + amounts["thyroid_bi207"], in_all(still, "Bi-207", ""), rtol=1e-9
    )
    np.testing.assert_allclose(amounts["thyroid_po211"], still["thyroid_po211"], rtol=1e-9)
    np.testing.assert_allclose(sum(amounts.values()), 1.0, rtol=0, atol=1e-12)


def model_rows(share):
    return chain_rows("At-211").replace("[bi207]\n", SHARE.replace("0.7", str(share)))


def test_daughters_go_their_own_ways(made):
    """Bismuth from blood to kidneys, where there is no astatine; it decays there too."""
    more = """(), (flux(daughter(blood, "Bi-207") >> daughter(kidneys, "Bi-207"), first_order,
        a=amount(daughter(blood, "Bi-207")), k="x.bismuth_to_kidneys"),)"""
    rows = chain_rows("At-211") + (
        '\n[x.bismuth_to_kidneys]\nvalue = 2.0\nunit = "1/h"\nabout = "uptake"\nsource = "assumed: for a test"\n'
    )
    model = made("At-211", how=', also={"Bi-207": (kidneys,)}', more=more, rows=rows)
    assert "kidneys" not in model.system.names and "kidneys_po211" not in model.system.names
    times, links = np.array([24.0, 500.0]), chain("At-211")
    amounts = solved(model, times)
    kept = sum(amounts[f"{place}_bi207"] for place in ("blood", "thyroid", "kidneys"))
    np.testing.assert_allclose(kept, links.atoms(links.k[0], times)[:, 2], rtol=1e-9)
    assert amounts["kidneys_bi207"][-1] > 0.1 and amounts["blood_bi207"][-1] < 1e-9
    np.testing.assert_allclose(sum(amounts.values()), 1.0, rtol=0, atol=1e-12)
    leaves = [f for f in model.system.fluxes if f.path.source.name == "kidneys_bi207"]
    assert [(f.path.target.name, dict(f.bindings)["k"]) for f in leaves] == [("gone", "bi207.k")]


def test_what_is_not_followed_counts_as_stable(made):
    model = made("At-211", how=', without="Bi-207"')
    assert model.system.names == ("blood", "thyroid", "gone", "blood_po211", "thyroid_po211")
    amounts = solved(model)
    np.testing.assert_allclose(
        amounts["gone"], 1 - sum(amounts[n] for n in model.system.names if n != "gone"), rtol=1e-9
    )
    alone = decay_chain("Lu-177", blood)
    assert [(f.path.target, dict(f.bindings)["k"]) for f in alone.fluxes] == [(OUT, "decay.k")]
    assert alone.derived == ()


def test_half_lives_and_shares_are_rows(made):
    """The parent keeps as much polonium as its half-life and its share allow."""

    def polonium(model):
        amounts = solved(model, np.array([5.0]))
        return in_all(amounts, "Po-211", "")[0]

    model = made("At-211")
    other = model.with_values({"po211.half_life": "1032 ms", "bi207.branch": 0.709})
    assert other.parameters["po211.branch"].value == pytest.approx(0.291)
    assert polonium(other) == pytest.approx(polonium(model), rel=1e-4)


def test_daughters_stand_where_their_parents_do():
    assert daughter(blood, "bi207") == Compartment("blood_bi207", "MBq", volume="blood.V")
    block = decay_chain("Ra-223", blood, thyroid)
    assert len(block.compartments) == 14 and daughter(thyroid, "Tl-207") in block.compartments
    assert all(f.where.startswith("test_chains.py:") for f in block.fluxes)


def test_a_missing_row_is_named_with_the_modellers_line(made):
    with pytest.raises(BadInput, match=r"no parameter `po211\.half_life`") as caught:
        made("At-211", rows=chain_rows("At-211").replace("[po211]\nhalf_life", "[po211]\nother"))
    assert caught.value.exit_code == 3 and "structure.py:4" in caught.value.render()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"decay.k": "0.0036 1/h"}, "another nuclide's"),
        ({"bi207.displaced": 1.5}, "between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be(made, values, words):
    with pytest.raises(BadInput, match=words) as caught:
        made("At-211", how=', displaced={"Bi-207": blood}', rows=model_rows(0.5), values=values)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "words"), [("At-211", "no daughter"), ("Pb-207", "no daughter"), ("I-131", "no daughter")]
)
def test_daughters_that_are_none(name, words):
    with pytest.raises(BadInput, match=words) as caught:
        decay_chain("At-211", blood, displaced={name: blood})
    assert caught.value.exit_code == 3


def test_what_is_stable_has_no_chain():
    with pytest.raises(BadInput, match="Pb-207 is stable"):
        decay_chain("Pb-207", blood)


def test_rows_are_as_the_table_of_nuclides_has_them():
    rows = tomllib.loads(chain_rows("Ac-225"))
    assert (
        rows["po213"]["half_life"] | {"value": 3.72, "unit": "us", "source": "ensdf2023"} == rows["po213"]["half_life"]
    )
    assert rows["tl209"]["branch"]["value"] == 0.0214 and "branch" not in rows["po213"]
    assert set(tomllib.loads(chain_rows("At-211", without="207Bi"))) == {"po211", "bi207"}
