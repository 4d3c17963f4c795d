"""The table of numbers: what it reads, and what it says about a row it refuses."""

import pytest

from pbpk.errors import BadInput
from pbpk.model.parameters import read_number, read_parameters

PLAIN = 'value = 2.0, unit = "L/h", about = "clearance", source = "smith2020"'
COVARIATE = '[covariates.WT]\nvalue = 70\nunit = "kg"\nabout = "weight"\nsource = "smith2020"\n'
EFFECT = 'covariate = "WT", form = "power", reference = 70, coefficient = 0.75, source = "smith2020"'


@pytest.fixture
def read(folder):
    return lambda rows: read_parameters(folder(rows=rows) / "parameters.toml")


def refused(read, rows, *words):
    with pytest.raises(BadInput) as caught:
        read(rows)
    error = caught.value
    assert error.exit_code == 3
    assert "parameters.toml" in error.where
    text = error.render()
    for word in words:
        assert word in text, (word, text)


def test_a_row_and_its_unit(read):
    row = read(f"[CL]\n{PLAIN.replace(', ', chr(10)).replace('L/h', 'mL/min')}")["CL"]
    assert (row.value, row.unit, row.status) == (2.0, "mL/min", "measured")
    assert row.internal == pytest.approx(0.12, rel=1e-14)  # L/h


def test_dotted_names_and_settings(read):
    table = read(f'[model]\ntitle = "T"\n[kidney.cortex]\nQ = {{ {PLAIN} }}\n')
    assert list(table) == ["kidney.cortex.Q"]
    assert table.settings == {"title": "T"}


@pytest.mark.parametrize("field", ["value", "unit", "about", "source"])
def test_a_row_must_be_whole(read, field):
    kept = ", ".join(x for x in PLAIN.split(", ") if not x.startswith(field))
    refused(read, f"CL = {{ {kept} }}", "`CL`", f"no `{field}`", "Every number carries")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (f'CL = {{ {PLAIN}, status = "guessed" }}', ['status "guessed"', "`CL`"]),
        (f'CL = {{ {PLAIN}, status = "mesured" }}', ["did you mean `measured`"]),
        ("CL = 2.0", ["`CL` is a bare value", "write CL = {"]),
        ("[kidney]\nQ = 2.0\nV = { " + PLAIN + " }", ["`kidney`"]),
        (f'CL = {{ {PLAIN}, sprread = "x" }}', ["field `sprread`", "did you mean `spread`"]),
        (f"CL = {{ {PLAIN.replace('smith2020', 'smyth2020')} }}", ["cites `smyth2020`", "did you mean `smith2020`"]),
        (f"CL = {{ {PLAIN.replace('smith2020', 'assumed')} }}", ["cites `assumed`", "CL"]),
        (f"CL = {{ {PLAIN.replace('2.0', 'nan')} }}", ["not a finite number"]),
        (f"CL = {{ {PLAIN.replace('2.0', 'true')} }}", ["not a finite number"]),
        (f"CL = {{ {PLAIN.replace('2.0', chr(34) + '2' + chr(34))} }}", ["not a finite number", "'2'"]),
        (f"CL = {{ {PLAIN.replace('L/h', 'L/hours per')} }}", ["cannot be read", "`CL`"]),
    ],
)
def test_rows_refused(read, rows, words):
    refused(read, rows, *words)


def test_an_assumption_says_why(read):
    assert read(f"CL = {{ {PLAIN.replace('smith2020', 'assumed: as in adults')} }}")["CL"].source.endswith("adults")


def test_a_file_that_is_not_toml_is_named_with_its_line(read):
    refused(read, 'CL = { value = 2.0\nunit = "L/h" }', "parameters.toml")


@pytest.mark.parametrize(
    ("distribution", "size", "kept"),
    [("lognormal", "cv = 0.3", (0.3,)), ("normal", "sd = 0.5", (0.5,)), ("uniform", "low = 1, high = 3", (1.0, 3.0))],
)
def test_spreads(read, distribution, size, kept):
    spread = f'{{ distribution = "{distribution}", {size}, source = "jones1999" }}'
    made = read(f"CL = {{ {PLAIN}, spread = {spread} }}")["CL"].spread
    assert made is not None
    assert (made.distribution, made.size, made.source) == (distribution, kept, "jones1999")


@pytest.mark.parametrize(
    ("spread", "words"),
    [
        ('{ distribution = "lognorml", cv = 0.3, source = "smith2020" }', ["'lognorml'", "did you mean `lognormal`"]),
        ('{ distribution = "lognormal", sd = 0.3, source = "smith2020" }', ["lognormal spread needs exactly", "cv"]),
        ('{ distribution = "normal", sd = 0.3 }', ["normal spread needs exactly", "source"]),
        ('{ distribution = "normal", sd = -0.3, source = "smith2020" }', ["spread cannot be"]),
        ('{ distribution = "uniform", low = 3, high = 1, source = "smith2020" }', ["spread cannot be (3.0, 1.0)"]),
        ('{ distribution = "normal", sd = "wide", source = "smith2020" }', ["wide"]),
        ('{ distribution = "normal", sd = 1, source = "nobody1900" }', ["cites `nobody1900`"]),
        ("0.3", ["spread", "distribution"]),
    ],
)
def test_spreads_refused(read, spread, words):
    refused(read, f"CL = {{ {PLAIN}, spread = {spread} }}", "`CL`", *words)


def test_a_log_normal_needs_a_value_above_zero(read):
    spread = '{ distribution = "lognormal", cv = 0.3, source = "smith2020" }'
    refused(read, f"CL = {{ {PLAIN.replace('2.0', '0.0')}, spread = {spread} }}", "above zero")


def test_covariate_effects(read):
    (effect,) = read(f"CL = {{ {PLAIN}, covariates = [ {{ {EFFECT} }} ] }}\n{COVARIATE}")["CL"].effects
    assert (effect.covariate, effect.form, effect.reference, effect.coefficient) == ("WT", "power", 70.0, 0.75)


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (EFFECT.replace('"WT"', '"WGT"'), ["no covariate `WGT`", "did you mean `WT`"]),
        (EFFECT.replace("smith2020", "nobody1900"), ["cites `nobody1900`"]),
        (EFFECT.replace(", coefficient = 0.75", ""), ["needs exactly", "coefficient"]),
        (EFFECT.replace("70", '"adult"'), ["adult"]),
    ],
)
def test_covariate_effects_refused(read, effect, words):
    refused(read, f"CL = {{ {PLAIN}, covariates = [ {{ {effect} }} ] }}\n{COVARIATE}", "`CL`", *words)


def test_an_effect_of_an_undeclared_covariate_says_where_to_declare_it(read):
    refused(read, f"CL = {{ {PLAIN}, covariates = [ {{ {EFFECT} }} ] }}", "no covariate `WT`", "[covariates]")


def test_covariates_that_are_not_rows(read):
    refused(read, f'CL = {{ {PLAIN}, covariates = "WT" }}\n{COVARIATE}', "`CL`", "covariate")


@pytest.mark.parametrize(("given", "kept"), [(3, 3.0), ("3", 3.0), ("50 mL/min", 3.0), ("72 L/d", 3.0)])
def test_with_values_takes_numbers_and_units(read, given, kept):
    table = read(f"CL = {{ {PLAIN} }}")
    assert table.with_values({"CL": given})["CL"].value == pytest.approx(kept, rel=1e-14)
    assert table["CL"].value == 2.0


def test_with_values_reaches_covariates(read):
    assert read(COVARIATE).with_values({"WT": "80000 g"}).covariates["WT"].value == pytest.approx(80.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cl": 3}, ["no parameter `cl`", "did you mean `CL`"]),
        ({"WGT": 3}, ["no parameter `WGT`", "`WT`"]),
        ({"CL": "3 1/h"}, ["`CL`", '"1/h"', '"L/h"']),
        ({"CL": "three"}, ['"three" is not a number', "L/h"]),
        ({"CL": float("inf")}, ["not a finite number", "`CL`"]),
        ({"CL": "3 furlongs"}, ["furlongs"]),
    ],
)
def test_with_values_refuses(read, values, words):
    table = read(f"CL = {{ {PLAIN} }}\n{COVARIATE}")
    with pytest.raises(BadInput) as caught:
        table.with_values(values)
    assert caught.value.exit_code == 3
    assert all(word in caught.value.render() for word in words), caught.value.render()


def test_read_number():
    assert read_number(" 3.7e2 GBq ") == (370.0, "GBq")
    assert read_number("-.5") == (-0.5, "")
    with pytest.raises(ValueError):
        read_number("GBq 3")
