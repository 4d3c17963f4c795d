"""Calls of the library that cannot mean anything: one message at once, that says what would."""

import pytest

import pbpk
from pbpk.errors import PbpkError

MODEL = pbpk.load_model("oral_one_compartment")
DOSE = pbpk.dose("100 mg", into="oral")

CALLS = {
    "a regimen in words": (lambda: pbpk.simulate(MODEL, "245 MBq iv", [1]), "parse_dose"),
    "patients as a number": (lambda: pbpk.simulate(MODEL, DOSE, [1], patients=10), "virtual_patients(model, 10)"),
    "a model by its name": (lambda: pbpk.simulate("iodide", DOSE, [1]), "load_model"),
    "times in words": (lambda: pbpk.simulate(MODEL, DOSE, "1 h"), "a list of hours"),
    "an unknown route": (
        lambda: pbpk.simulate(MODEL, pbpk.dose("1 mg", into="vein"), [1]),
        "no compartment or route `vein`",
    ),
    "a dose without a unit": (lambda: pbpk.dose(245, into="oral"), '"3.7 GBq"'),
    "a list of doses": (lambda: pbpk.dose(["1 mg"], into="oral"), '"3.7 GBq"'),
    "half a further dose": (lambda: pbpk.dose("1 mg", into="oral", addl=1.5, ii=3), "a whole number"),
    "words that are no text": (lambda: pbpk.parse_dose(3), "the form is"),
    "patients of a name": (lambda: pbpk.virtual_patients("nis_body", 3), "load_model"),
    "patients in words": (lambda: pbpk.virtual_patients(MODEL, "x"), "how many"),
    "a study as a number": (lambda: pbpk.fit(3), "a name or a path"),
    "no model": (lambda: pbpk.load_model(None), "a name or a path"),
    "no study": (lambda: pbpk.load_study(None), "a name or a path"),
    "a nuclide as a number": (lambda: pbpk.load_nuclide(211), "At-211"),
    "a run as a number": (lambda: pbpk.vpc(3), "its study's name"),
    "runs of a number": (lambda: pbpk.runs(3), "a name or a path"),
    "data as a number": (lambda: pbpk.read_events(3, compartments=["a"]), "a name or a path"),
    "a value of nothing": (lambda: MODEL.with_values({"CL": None}), "is not a number"),
    "two values": (lambda: MODEL.with_values({"CL": [1, 2]}), "is not a number"),
}


@pytest.mark.parametrize("name", CALLS)
def test_refused_at_once(name):
    call, words = CALLS[name]
    with pytest.raises(PbpkError) as caught:
        call()
    assert words in caught.value.render()


def test_an_observable_that_is_not_there():
    path = pbpk.simulate(MODEL, DOSE, [1.0])
    with pytest.raises(PbpkError, match="no observable `cq`") as caught:
        path["cq"]
    assert "`cp`" in caught.value.hint


def test_values_with_a_unit():
    """Text brings its unit, as it does with `with_values`."""
    a, b = (pbpk.simulate(MODEL, DOSE, [1.0], values={"CL": v})["cp"] for v in ("50 mL/min", 3.0))
    assert float(a[0, 0]) == float(b[0, 0])
