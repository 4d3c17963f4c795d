"""`--set NAME=VALUE`: where each lands in a fit.toml."""

import copy
import json

import pytest

from pbpk.errors import BadInput
from pbpk.study.settings import apply_settings, load_spec

DATA = {
    "model": "m",
    "options": {"retention": "nis"},
    "parameters": {"CL": {"initial": 2.0, "iiv": 0.1}, "lesion_1.efflux": {"initial": 0.5}},
    "error": {"lesion_1": {"model": "additive", "add": 1.0}},
}


def after(tmp_path, **settings):
    return apply_settings(copy.deepcopy(DATA), settings, tmp_path)


def one(tmp_path, key, text):
    return after(tmp_path, **{key: text})


@pytest.mark.parametrize(
    ("key", "text", "path", "value"),
    [
        ("CL", "3", ("parameters", "CL", "initial"), 3.0),
        ("CL", "50 mL/min", ("parameters", "CL", "initial"), "50 mL/min"),
        ("lesion_1.efflux", "0.7", ("parameters", "lesion_1.efflux", "initial"), 0.7),
        ("parameters.lesion_1.efflux.iiv", "0.2", ("parameters", "lesion_1.efflux", "iiv"), 0.2),
        ("parameters.lesion_1.binding.initial", "0.3", ("parameters", "lesion_1.binding", "initial"), 0.3),
        ("parameters.CL.fixed", "true", ("parameters", "CL", "fixed"), True),
        ("lesion_1.mass", "5 g", ("values", "lesion_1.mass"), "5 g"),
        ("values.lesion_1.mass", "5", ("values", "lesion_1.mass"), 5.0),
        ("error.lesion_1.add", "2", ("error", "lesion_1", "add"), 2.0),
        ("options.retention", "bound", ("options", "retention"), "bound"),
        ("options.lesions", "2", ("options", "lesions"), "2"),  # words, whatever they look like
        ("options.drivers", "none", ("options", "drivers"), "none"),
        ("data.units.DV", "ng/mL", ("data", "units", "DV"), "ng/mL"),
        ("omega.covariances.CL,lesion_1.efflux", "0.01", ("omega", "covariances", "CL,lesion_1.efflux"), 0.01),
        ("estimation.method", "fo", ("estimation", "method"), "fo"),
        ("nuclide", "I-131", ("nuclide",), "I-131"),
    ],
)
def test_where_it_lands(tmp_path, key, text, path, value):
    data = one(tmp_path, key, text)
    for step in path:
        data = data[step]
    assert data == value and type(data) is type(value)


@pytest.mark.parametrize("key", ["lesion_1.efflux", "parameters.lesion_1.efflux"])
def test_none_takes_a_parameter_out(tmp_path, key):
    data = one(tmp_path, key, "none")
    assert set(data["parameters"]) == {"CL"} and "values" not in data


def test_none_takes_an_entry_out(tmp_path):
    assert one(tmp_path, "parameters.CL.iiv", "none")["parameters"]["CL"] == {"initial": 2.0}
    for key in ("parameters.CL.label", "F1", "nuclide"):
        with pytest.raises(BadInput, match="is not there to be taken out"):
            one(tmp_path, key, "none")


def test_an_entry_below_a_value_leads_nowhere(tmp_path):
    with pytest.raises(BadInput, match=r"`model\.name` leads nowhere"):
        one(tmp_path, "model.name", "x")


def test_a_runs_own_settings_come_first(tmp_path):
    text = 'model = "m"\n[parameters.CL]\ninitial = 2.0\n[error.cp]\nmodel = "additive"\nadd = 1.0\n'
    (tmp_path / "fit.toml").write_text(text)
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"options.retention": "bound", "CL": "3"}}))
    assert load_spec(tmp_path).options == {"retention": "bound"}
    spec = load_spec(tmp_path, {"CL": 4, "options.retention": "nis"})  # type: ignore[dict-item]
    assert spec.options == {"retention": "nis"} and spec.parameters["CL"].initial == 4.0
    for broken in ("{", "[]", '{"settings": 3}'):
        (tmp_path / "run.json").write_text(broken)
        with pytest.raises(BadInput, match="is not the record of a run"):
            load_spec(tmp_path)
