"""`pbpk models`: the list, and one model with everything a reader needs to judge it."""

import pytest

BASIC = ("oral_one_compartment", "iv_one_compartment", "iv_two_compartment")
MODELS = (*BASIC, "iodide", "pertechnetate", "icrp78_iodine", "astatide_reference")


def test_list_names_every_model_with_its_size(pbpk):
    ran = pbpk("models", "--json")
    assert ran.code == 0 and ran.err == ""
    assert ran.json["schema_version"] == 1
    listed = {m["name"]: m for m in ran.json["models"]}
    assert set(MODELS) <= set(listed)
    assert listed["oral_one_compartment"]["compartments"] == 2
    assert listed["oral_one_compartment"]["linear"] is True
    text = pbpk("models")
    assert text.code == 0
    assert all(name in text.out for name in listed)


@pytest.mark.parametrize("name", MODELS)
def test_every_number_shown_has_a_unit_a_meaning_and_a_source(pbpk, name):
    found = pbpk("models", name, "--json").json
    assert found["name"] == name and found["schema_version"] == 1
    for row in found["parameters"].values():
        assert isinstance(row["value"], float) and row["unit"] and row["about"] and row["source"]
    assert found["equations"] and found["observables"] and found["solver"]


def test_one_model_as_text(pbpk):
    ran = pbpk("models", "oral_one_compartment")
    assert ran.code == 0 and ran.err == ""
    for part in ("Equations", "KA", "1/h", "boeckmann1994", "oral → depot", "cp", "resolvent"):
        assert part in ran.out


def test_nuclide_sets_the_decay_row(pbpk):
    decay = {n: pbpk("models", "iodide", "--nuclide", n, "--json").json for n in ("I-131", "I-123")}
    half_life = {n: 0.6931471805599453 / d["parameters"]["decay.k"]["value"] for n, d in decay.items()}
    assert half_life["I-131"] == pytest.approx(8.02070, rel=1e-3)  # d, ICRP 107
    assert half_life["I-123"] == pytest.approx(13.27 / 24, rel=1e-3)
    assert decay["I-123"]["nuclide"] == "I-123"


def test_a_users_own_model_is_listed_and_wins_over_the_bundled_one(pbpk, model):
    """The list does not run a user's models (tests/commands/test_trust.py), so it cannot know their kinetics."""
    model("oral_one_compartment")
    model("mine", law="saturable")
    listed = {m["name"]: m for m in pbpk("models", "--json").json["models"]}
    assert listed["mine"]["linear"] is None and not listed["mine"]["shadows"]
    assert listed["oral_one_compartment"]["compartments"] is None and listed["oral_one_compartment"]["shadows"]
    shown = pbpk("models", "mine", "--json").json
    assert shown["nonlinear_fluxes"] and "saturable" in shown["nonlinear_fluxes"][0]
    assert shown["solver"] != "resolvent"
