"""Parameters that follow from others, options, numbered rows, ranges and demands: what a table alone cannot say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.errors import BadInput
from pbpk.model.load import load_model
from pbpk.population.patients import virtual_patients

STRUCTURE = """\
from pbpk.model import OUT, Block, Compartment, amount, clearance, conc, demand, derive, first_order, flux, observe, option
from pbpk.model import rules

options = (
    option("elimination", "renal hepatic", "which organ"),
    option("parts", "a b none", "further compartments", default="none", several=True),
)


def model(chosen):
    central = Compartment("central", "mg", volume="V", initial="start")
    arrows = [flux(central >> OUT, clearance, c=conc(central), cl=f"{chosen.elimination}.CL")]
    places = [central]
    for i, part in enumerate(chosen.parts, start=1):
        own = Compartment(f"part_{i}", "mg")
        places.append(own)
        arrows += [
            flux(central >> own, first_order, a=amount(central), k=f"part_{i}.{part}"),
            flux(own >> central, first_order, a=amount(own), k=f"part_{i}.back"),
        ]
    rows = (  # the first follows from the second
        derive("hepatic.CL", rules.extraction, "well-stirred liver", q="Q.sized", ps="intrinsic"),
        derive("Q.sized", rules.scaled, "liver flow", value="Q", size="size", power="power"),
    )
    if chosen.elimination == "renal":
        rows = ()
    most = demand("the liver clears more than flows through it", rules.difference, a="Q", b="hepatic.CL")
    wanted = (most,) if rows else ()
    return Block(tuple(places), tuple(arrows), (observe("cp", conc(central), "plasma"),), {"iv": central}, rows, wanted)
"""

ROWS = """\
Q = { value = 1.5, unit = "L/min", about = "liver flow", SOURCE, range = [0, 3] }
intrinsic = { value = 10.0, unit = "L/h", about = "intrinsic clearance", SOURCE, spread = SPREAD }
size = { value = 1.0, unit = "1", about = "size", SOURCE, covariates = [
    { covariate = "WT", form = "power", reference = 70, coefficient = 1, SOURCE },
    { covariate = "SEX", form = "equals", reference = 1, value = 1.2, SOURCE },
] }
power = { value = 0.75, unit = "1", about = "exponent", SOURCE }
V = { value = 10.0, unit = "L", about = "volume", SOURCE }
start = { value = 0.0, unit = "mg", about = "at the beginning", SOURCE }
[renal]
CL = { value = 2.0, unit = "L/h", about = "renal clearance", SOURCE }
[part]
a = { value = 1.0, unit = "1/h", about = "in, a", SOURCE }
b = { value = 2.0, unit = "1/h", about = "in, b", SOURCE }
back = { value = 0.5, unit = "1/h", about = "out", SOURCE }
[covariates.WT]
value = 70
unit = "kg"
about = "weight"
SOURCE
[covariates.SEX]
value = 0
unit = "1"
about = "sex"
SOURCE
""".replace("SPREAD", '{ distribution = "lognormal", cv = 0.5, SOURCE }').replace(
    "SOURCE", 'source = "assumed: a test"'
)


@pytest.fixture
def path(folder):
    return folder(structure=STRUCTURE, rows=ROWS)


def hepatic(q, intrinsic):
    return q * intrinsic / (q + intrinsic)


def test_a_derived_parameter_has_value_unit_and_origin(path):
    row = load_model(path, options={"elimination": "hepatic"}).parameters["hepatic.CL"]
    assert row.internal == pytest.approx(hepatic(90.0, 10.0), rel=1e-14)
    assert row.status == "derived" and "intrinsic" in row.source and "Q.sized" in row.source


def test_it_follows_set_values_and_covariates(path):
    model = load_model(path, options={"elimination": "hepatic"}, values={"Q": "1 L/min", "WT": 35.0, "SEX": 1})
    patient = pbpk.population.patients.build_typical_patient(model)
    found = patient.values[model.system.parameter_index("hepatic.CL"), 0]
    assert found == pytest.approx(hepatic(60 * (0.5 * 1.2) ** 0.75, 10.0), rel=1e-14)


def test_it_follows_each_virtual_patient(path):
    model = load_model(path, options={"elimination": "hepatic"})
    p = virtual_patients(model, 20, seed=3).values
    own = p[model.system.parameter_index("intrinsic")]
    assert np.ptp(own) > 1
    np.testing.assert_allclose(p[model.system.parameter_index("hepatic.CL")], hepatic(90.0, own), rtol=1e-14)


def test_derivatives_go_through_it(path):
    system = load_model(path, options={"elimination": "hepatic"}).system
    p = jnp.asarray(load_model(path, options={"elimination": "hepatic"}).values)[:, None]
    at, to = system.parameter_index("intrinsic"), system.parameter_index("hepatic.CL")
    slope = jax.grad(lambda x: system.derive(p.at[at, 0].set(x))[to, 0])(10.0)
    assert slope == pytest.approx((90.0 / 100.0) ** 2, rel=1e-12)


def test_values_of_a_simulation_reach_it_with_their_derivatives(path):
    model = load_model(path, options={"elimination": "hepatic"})

    def left(intrinsic):
        path = pbpk.simulate(model, pbpk.dose("100 mg", into="iv"), np.array([2.0]), values={"intrinsic": intrinsic})
        return path.observables["cp"].squeeze()

    assert left(20.0) == pytest.approx(10 * np.exp(-0.2 * hepatic(90.0, 20.0)), rel=1e-8)
    slope = -0.2 * (90.0 / 110.0) ** 2 * left(20.0)
    assert jax.grad(left)(20.0) == pytest.approx(float(slope), rel=1e-7)


def test_it_cannot_be_set(path):
    with pytest.raises(BadInput, match="follows from other parameters"):
        load_model(path, options={"elimination": "hepatic"}, values={"hepatic.CL": 3})


def test_only_the_chosen_variant_has_rows(path):
    assert "renal.CL" in load_model(path).parameters
    hepatic_one = load_model(path, options={"elimination": "hepatic"})
    assert "renal.CL" not in hepatic_one.parameters and hepatic_one.remarks == ()
    assert hepatic_one.options == {"elimination": "hepatic", "parts": "none"}


def test_numbered_parts_have_rows_of_their_own(path):
    model = load_model(path, options={"parts": "a,b"}, values={"part_2.back": 0.7})
    assert [model.parameters[n].value for n in ("part_1.a", "part_2.b", "part_1.back", "part_2.back")] == [
        1.0,
        2.0,
        0.5,
        0.7,
    ]


@pytest.mark.parametrize(
    "options, words",
    [({"elimination": "biliary"}, "not a choice"), ({"kind": "renal"}, "no option `kind`"), ({"parts": "a,c"}, '"c"')],
)
def test_a_wrong_option_is_named(path, options, words):
    with pytest.raises(BadInput, match=words):
        load_model(path, options=options)


def test_a_model_without_options_says_so():
    with pytest.raises(BadInput, match="no option `tracer`"):
        load_model("iodide", options={"tracer": "astatide"})


@pytest.mark.parametrize("values, words", [({"Q": "4 L/min"}, "between 0 and 3"), ({"V": -1}, "volume of `central`")])
def test_what_no_body_can_have_is_refused(path, values, words):
    with pytest.raises(BadInput, match=words):
        load_model(path, options={"elimination": "hepatic"}, values=values)


def test_a_demand_is_refused_in_its_own_words(folder):
    tight = STRUCTURE.replace('a="Q", b="hepatic.CL"', 'a="hepatic.CL", b="Q"')
    with pytest.raises(BadInput, match="clears more than flows") as e:
        load_model(folder(structure=tight, rows=ROWS), options={"elimination": "hepatic"})
    assert "hepatic.CL = " in str(e.value)


def test_a_circle_is_refused(folder):
    circle = STRUCTURE.replace('value="Q"', 'value="hepatic.CL"').replace(
        "clearance, c=conc(central)", "clearance, c=conc(central)"
    )
    with pytest.raises(BadInput, match="follows from itself"):
        load_model(folder(structure=circle, rows=ROWS), options={"elimination": "hepatic"})


def test_units_of_a_rule_are_checked(folder):
    wrong = STRUCTURE.replace('ps="intrinsic"', 'ps="V"')
    with pytest.raises(BadInput, match="cannot take these units"):
        load_model(folder(structure=wrong, rows=ROWS), options={"elimination": "hepatic"})


def test_initial_amounts_decay_from_the_first_record_and_come_back_with_a_reset(path):
    """A closed form: start·exp(−CL/V·t), with and without a dose, by every solver."""
    model = load_model(path, values={"start": 50.0})
    t = np.array([0.0, 1.0, 5.0])
    for solver in ("resolvent", "rodas5p", "kvaerno5"):
        seen = pbpk.simulate(model, pbpk.dose("100 mg", into="central"), t, solver=solver).observables["cp"]
        np.testing.assert_allclose(np.asarray(seen).ravel(), 15.0 * np.exp(-0.2 * t), rtol=1e-7)


def test_equations_show_the_rule(path):
    from pbpk.model.equations import write_equations

    lines = write_equations(load_model(path, options={"elimination": "hepatic"}).system)
    assert "hepatic.CL = Q.sized·intrinsic/(Q.sized + intrinsic)" in lines
