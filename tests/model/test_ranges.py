"""Values that a parameter's role does not allow are refused wherever they come in: table, --set, library, data, patients."""

import numpy as np
import pytest

import pbpk
from pbpk.data.events import read_events
from pbpk.errors import BadInput
from pbpk.model.ranges import list_questionable
from pbpk.population.records import convert_overrides
from pbpk.results import ResultCode

MODEL = pbpk.load_model("oral_one_compartment")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("F1", -0.5, "bioavailability into `depot`"),
        ("ALAG1", -1.0, "lag of doses into `depot`"),
        ("ALAG2", "-30 min", "lag of doses into `central`"),
        ("V", 0.0, "volume of `central`"),
        ("V", -3.0, "volume of `central`"),
        ("CL", -1.0, "`cl` of clearance"),
        ("KA", -0.1, "`k` of first_order"),
        ("R1", -2.0, "rate of infusions into"),
        ("D1", -2.0, "duration of infusions into"),
    ],
)
def test_refused_by_the_table_and_by_the_library(name, value, words):
    with pytest.raises(BadInput, match=words):
        MODEL.with_values({name: value})
    if not isinstance(value, str):
        with pytest.raises(BadInput, match=words):
            pbpk.simulate(MODEL, pbpk.dose("100 mg", into="oral"), [1.0], values={name: value})


def test_what_is_possible_stays_possible():
    """Nothing is absorbed, nothing is lost, and a bioavailability above 1 is asked about and not refused."""
    model = MODEL.with_values({"F1": 0.0, "ALAG1": 0.0, "CL": 0.0, "KA": 0.0})
    assert list_questionable(model.system.block, model.parameters) == []
    [asked] = list_questionable(model.system.block, MODEL.with_values({"F1": 40.0}).parameters)
    assert "`F1` is 40" in asked


def test_a_column_of_the_data(tmp_path):
    """Row and subject are named; an empty cell is the model's own value."""
    file = tmp_path / "data.csv"
    file.write_text("ID,TIME,AMT,DV,F1\n1,0,100,.,\n1,1,.,2,\n2,0,100,.,-0.2\n2,1,.,2,-0.2\n")
    system = MODEL.system
    events = read_events(
        file,
        compartments=system.names,
        parameters=system.parameter_names,
        observables=["cp"],
        default_compartment="depot",
    )
    with pytest.raises(BadInput) as caught:
        convert_overrides(events, MODEL, {})
    assert "row 4 (ID 2)" in caught.value.where and "bioavailability into `depot`, `F1`, is -0.2" in caught.value.what


@pytest.mark.parametrize("engine", ["kernel", "jax"])
@pytest.mark.parametrize("name", ["F1", "ALAG1"])
def test_a_patient_with_an_impossible_value_has_a_result_code(name, engine):
    """Of an array each patient has a number: neighbours keep theirs, and this one has NaN, not a negative concentration."""
    if engine == "kernel":
        pytest.importorskip("llvmlite")
    how = {"values": {name: np.array([0.5, -0.5, 0.4])}, "engine": engine}
    path = pbpk.simulate(
        MODEL, pbpk.dose("100 mg", into="oral"), [1.0], patients=pbpk.virtual_patients(MODEL, 3), **how
    )
    assert np.asarray(path.result).tolist() == [0, ResultCode.BAD_DOSE, 0]
    assert np.isfinite(np.asarray(path["cp"])[0]).tolist() == [True, False, True]
