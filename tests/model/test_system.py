"""The grouped arrays against derivatives written by hand."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    clearance,
    competitive,
    conc,
    first_order,
    flow,
    flux,
    saturable,
    zero_order,
)
from pbpk.model.system import build_system

gut = Compartment("gut", "mg", lag="LAG")
plasma = Compartment("plasma", "mg", volume="VP")
tissue = Compartment("tissue", "mg", volume="VT")
block = Block(
    (gut, plasma, tissue),
    (
        flux(plasma >> tissue, flow, c=conc(plasma), q="Q"),
        flux(gut >> plasma, first_order, a=amount(gut), k="KA"),
        flux(tissue >> plasma, flow, c=conc(tissue), q="Q"),
        flux(plasma >> OUT, saturable, c=conc(plasma), vmax="VM", km="KM"),
        flux(tissue >> OUT, competitive, c=conc(tissue), rival=conc(plasma), vmax="VM", km="KM", ki="KI"),
        flux(gut >> OUT, first_order, a=amount(gut), k="KD"),
        flux(OUT >> tissue, zero_order, rate="R"),
        flux(plasma >> OUT, clearance, c=conc(plasma), cl="CL"),
    ),
)
VALUES = {"Q": 3.0, "KA": 1.1, "VM": 7.0, "KM": 0.4, "KI": 0.9, "KD": 0.2, "R": 0.6, "CL": 0.5, "VP": 5.0, "VT": 20.0}
system = build_system(block, ("SPARE",))
p = jnp.array([VALUES.get(n, 0.0) for n in system.parameter_names])
y = jnp.array([2.0, 30.0, 11.0])


def by_hand(y):
    v = VALUES
    g, cp, ct = y[0], y[1] / v["VP"], y[2] / v["VT"]
    exchange = v["Q"] * (cp - ct)
    lost = v["VM"] * cp / (v["KM"] + cp) + v["CL"] * cp
    blocked = v["VM"] * ct / (v["KM"] * (1 + cp / v["KI"]) + ct)
    return jnp.stack(
        [-(v["KA"] + v["KD"]) * g, v["KA"] * g - exchange - lost, exchange - blocked + v["R"]],
    )


def test_names():
    assert system.names == ("gut", "plasma", "tissue")
    assert set(system.parameter_names) == {*VALUES, "LAG", "SPARE"}
    assert [system.index(c) for c in (gut, "plasma")] == [0, 1]
    assert system.parameter_names[system.parameter_index("KI")] == "KI"


def test_fluxes_of_one_law_and_kind_are_one_group():
    assert [(g.law.__name__, g.size) for g in system.groups] == [
        ("flow", 2),
        ("first_order", 2),
        ("saturable", 1),
        ("competitive", 1),
        ("zero_order", 1),
        ("clearance", 1),
    ]


def test_vector_field():
    np.testing.assert_allclose(system.vector_field(0.0, y, p), by_hand(y), rtol=1e-14)


def test_vector_field_takes_patients_on_a_trailing_axis():
    scale = jnp.array([0.5, 1.0, 3.0])
    many = system.vector_field(0.0, y[:, None] * scale, jnp.broadcast_to(p[:, None], (len(p), 3)))
    np.testing.assert_allclose(many, jnp.stack([by_hand(y * s) for s in scale], axis=1), rtol=1e-14)


def test_vector_field_is_stoichiometry_times_rates():
    np.testing.assert_allclose(system.stoichiometry @ system.rates(0.0, y, p), by_hand(y), rtol=1e-14)


def test_stoichiometry_columns_say_where_each_flux_goes():
    outside = [OUT in (f.path.source, f.path.target) for f in system.fluxes]
    sums = system.stoichiometry.sum(axis=0)
    assert [s == 0 for s in sums] == [not o for o in outside]
    for f, s in zip(system.fluxes, sums, strict=True):
        assert s == (f.path.source is OUT) - (f.path.target is OUT)


def dense_jacobian(y):
    flux_index, state_index = system.slopes
    entries = system.rate_jacobian(0.0, y, p)
    rates = np.zeros((len(system.fluxes), len(system.names)))
    np.add.at(rates, (flux_index, state_index), np.asarray(entries))
    return system.stoichiometry @ rates


def test_jacobian_against_jax():
    np.testing.assert_allclose(dense_jacobian(y), jax.jacfwd(by_hand)(y), rtol=1e-13, atol=1e-15)


def test_jacobian_against_finite_differences():
    step = 1e-5
    columns = [(by_hand(y + step * e) - by_hand(y - step * e)) / (2 * step) for e in jnp.eye(3)]
    np.testing.assert_allclose(dense_jacobian(y), jnp.stack(columns, axis=1), rtol=1e-8, atol=1e-9)


def test_jacobian_of_patients():
    many = system.rate_jacobian(0.0, jnp.stack([y, 2 * y], axis=1), jnp.stack([p, p], axis=1))
    for i, scale in enumerate((1, 2)):
        np.testing.assert_allclose(many[:, i], system.rate_jacobian(0.0, scale * y, p), rtol=1e-14)


def test_a_system_without_states_in_its_laws_has_an_empty_jacobian():
    filling = build_system(Block((gut,), (flux(OUT >> gut, zero_order, rate="R"),)))
    assert filling.slopes[0].shape == (0,)
    assert filling.rate_jacobian(0.0, jnp.zeros((1, 4)), jnp.ones((len(filling.parameter_names), 4))).shape == (0, 4)


def test_nonlinear_fluxes_are_named():
    assert [f.law.__name__ for f in system.nonlinear] == ["saturable", "competitive"]


@pytest.mark.parametrize("n", [3, 40])
def test_the_program_is_as_long_as_the_list_of_laws(n):
    """Not as the list of compartments: that is what keeps compile time flat."""
    cells = [Compartment(f"c{i}", "mg") for i in range(n)]
    fluxes = tuple(flux(a >> b, first_order, a=amount(a), k="K") for a, b in pairwise(cells))
    chain = build_system(Block(tuple(cells), fluxes))
    traced = jax.make_jaxpr(chain.vector_field)(0.0, jnp.ones(n), jnp.ones(1))
    assert len(traced.jaxpr.eqns) < 40
