"""Operands with derivatives: functions, equations and saturable windows on them, against JAX's derivatives and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.compile.backend.base import NumpyBackend
from pbpk.compile.backend.forward_mode import ForwardModeBackend
from pbpk.compile.backend.functions import divide
from pbpk.compile.backend.jet import OperandJet, value_of
from pbpk.compile.engine import using_engine
from pbpk.compile.programs.elimination import factor_matrix, plan_pivots, solve_factored
from pbpk.compile.programs.laws import evaluate_expressions, prepare_expression, trace_function
from pbpk.compile.programs.rosenbrock.kernel import integrate_window, integrate_window_forward
from pbpk.compile.programs.rosenbrock.right_hand_side import lay_out_fluxes
from pbpk.compile.programs.rosenbrock.step import step_weights
from pbpk.compile.programs.rosenbrock.window import RosenbrockMethod, RosenbrockWindow
from pbpk.compile.xla.forward import ForwardProgram
from pbpk.errors import Note
from pbpk.linalg.tableau import TABLEAUS
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flow, flux, saturable
from pbpk.model.laws import inhibited_first_order
from pbpk.model.load import load_model
from pbpk.model.system import build_system
from pbpk.solve.interval import Interval
from pbpk.solve.right_hand_side import build_vector_field
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.rosenbrock_window import RosenbrockOptions, StepMemory, choose_first_memory, cross_window
from pbpk.solve.timeline import build_timeline

ORDER = 3


def along(f, arguments, directions):
    """The derivative of f along all directions, one after another."""
    for d in directions:
        f = partial(lambda f, d, *a: jax.jvp(f, a, d)[1], f, d)
    return f(*arguments)


def raised(directions, bits, argument):
    """Part `bits` of an argument that moves along the directions: only the first power of each."""
    return directions[bits.bit_length() - 1][argument] if bits.bit_count() == 1 else 0.0 * directions[0][argument]


X = np.array([0.03, 0.4, 1.0, 1.7, 6.0])
FUNCTIONS = {
    "quotient": (lambda x, y: (x + 2.0 * y) / (1.0 + x * y) - y / x, X, X[::-1]),
    "exp": (lambda x, y: jnp.exp(x * y) - jnp.expm1(-x) * y, X, -X),
    "log": (lambda x, y: jnp.log(x) * jnp.log1p(y * x), X, 0.01 * X),
    "log1p near 0": (lambda x, y: jnp.log1p(x) + y, 1e-8 * X, X),
    "power": (lambda x, y: x**y, X, X[::-1] - 1.0),
    "whole power": (lambda x, y: (x - y) ** 3 + y**-2, X, 2.0 * X),
    "tanh": (lambda x, y: jnp.tanh(x - y), X, X[::-1] + 30.0 * (X > 5)),
    "waves": (lambda x, y: jnp.sin(x * y) - y * jnp.cos(3.0 * x), X, X[::-1]),
    "erf": (lambda x, y: jax.lax.erf(x * y) + y * jax.lax.erfc(x - y), X, 1.0 - X),
    "gamma": (lambda x, y: jax.lax.lgamma(x * y) - y * jnp.round(x) * jax.lax.digamma(x), X, X[::-1]),
    "root": (lambda x, y: jnp.sqrt(x) * jax.lax.rsqrt(y), X, X),
    "corners": (lambda x, y: jnp.abs(x - y) + jnp.maximum(x, 1.0) * jnp.minimum(y, x) + jnp.sign(x), X, X[::-1]),
    "chosen": (lambda x, y: jnp.where(x > y, x * x, y * x * y) + jnp.clip(x, 0.2, 2.0) * y, X, X[::-1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_derivatives_that_jax_gives_them(name):
    """To third order, in two arguments; those along one direction again are other parts of the same."""
    f, *arguments = FUNCTIONS[name]
    rng = np.random.default_rng(3)
    directions = [tuple(rng.standard_normal(X.shape) for _ in arguments) for _ in range(ORDER)]
    m = ForwardModeBackend(NumpyBackend({}), ORDER, {})
    given = {
        k: OperandJet({0: a, **{s: raised(directions, s, k) for s in range(1, 2**ORDER)}})
        for k, a in enumerate(arguments)
    }
    with np.errstate(all="ignore"):
        ((found,),) = evaluate_expressions(m, [(prepare_expression(m, trace_function(f, 2), {}), given)])
    for s in range(2**ORDER):
        chosen = [directions[k] for k in range(ORDER) if s >> k & 1]
        expected = np.asarray(along(f, [jnp.asarray(a) for a in arguments], chosen))
        own = found.parts.get(s, 0.0) * np.ones_like(X)
        np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max() + 1e-300)


def test_powers_of_nothing():
    """x³·⁵ + y² + y at 0, where JAX's third derivative is no number: its way there has 0 · 0⁻¹."""
    m = ForwardModeBackend(NumpyBackend({}), ORDER, {})
    x = OperandJet({0: np.zeros(1), 1: np.ones(1), 2: np.full(1, 3.0), 4: np.ones(1)})
    expression = prepare_expression(m, trace_function(lambda x, y: x**3.5 + y**2.0 + y**1.0, 2), {})
    with np.errstate(all="ignore"):
        ((found,),) = evaluate_expressions(m, [(expression, {0: x, 1: x})])
    assert [float(found.parts[s][0]) for s in range(8)] == [0.0, 1.0, 3.0, 6.0, 1.0, 2.0, 6.0, 0.0]


def test_what_does_not_move_costs_and_gives_nothing():
    m = ForwardModeBackend(NumpyBackend({}), 2, {})
    still = OperandJet({0: X})
    assert (still * still + 1.0 / still - 2.0).parts.keys() == {0}
    assert divide(m, [(1.0, still)])[0].parts.keys() == {0}
    moving = OperandJet({0: X, 2: X})
    assert (moving * still).parts.keys() == {0, 2}
    assert m.fixed(moving).parts.keys() == {0}
    np.testing.assert_array_equal(value_of(moving / 3.0), X / 3.0)


def test_a_loop_does_not_lose_derivatives():
    m = ForwardModeBackend(NumpyBackend({}), 1, {})
    moving = OperandJet({0: X, 1: np.ones_like(X)})
    (power,) = m.loop(3, lambda i, x: [x * moving], [1.0])
    np.testing.assert_allclose(power.parts[1], 3 * X**2)
    with pytest.raises(TypeError, match="began without derivatives"):
        m.loop(3, lambda i, x: [x * moving], [m.fixed(1.0)])
    with pytest.raises(TypeError, match="no derivative"):
        m.coarse(moving)


def hill(c, vmax, half, gamma):
    power = jnp.maximum(c, 0.0) ** gamma
    return vmax * power / (half**gamma + power)


def body():
    """Laws of one and of two compartments, an exponent that is a parameter, linear arrows."""
    depot, central, tissue = (
        Compartment("depot", "mg"),
        Compartment("central", "mg", volume="V"),
        Compartment("tissue", "mg"),
    )
    return build_system(
        Block(
            (depot, central, tissue),
            (
                flux(depot >> central, first_order, a=amount(depot), k="KA"),
                flux(central >> tissue, flow, c=conc(central), q="Q"),
                flux(tissue >> central, inhibited_first_order, a=amount(tissue), rival=amount(depot), k="K", half="H"),
                flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
                flux(central >> OUT, hill, c=conc(central), vmax="VM", half="KM", gamma="G"),
            ),
        )
    )


BODY = body()
VALUES = {"KA": 1.2, "Q": 3.0, "VM": 9.0, "KM": 3.0, "V": 5.0, "K": 0.4, "H": 30.0, "G": 1.7}
STOPS = np.array([0.0, 0.5, 2.0, 2.0, 9.0])
GRID = (0.01, 24.0)


def patients(count):
    rng = np.random.default_rng(0)
    p = np.array([np.full(count, VALUES[name]) for name in BODY.parameter_names])
    p *= np.exp(0.3 * rng.standard_normal(p.shape))
    rate = np.zeros((3, count))
    rate[1, 5:] = 4.0
    return rng.uniform(5, 60, (3, count)), rate, p


def method(system, grid=None, rtol=1e-6, integrals=True):
    return RosenbrockMethod(
        build_vector_field(system), TABLEAUS["rodas5p"], rtol, 1e-4 * rtol, 5000, integrals, grid, 400
    )


def test_equations_are_solved_with_their_derivatives():
    """(I − gJ) y = b of the body's Jacobian, whose entries and right side move, against JAX through a dense solution."""
    rng, n, own = np.random.default_rng(5), 3, build_vector_field(BODY)
    pivots = plan_pivots(own.elimination)
    places = [e for e in own.elimination.entries if e[0] != e[1]]
    a, excess, b = (rng.uniform(0.2, 2.0, (len(v), 4)) for v in (places, range(n), range(n)))
    directions = [tuple(rng.standard_normal(v.shape) for v in (a, excess, b)) for _ in range(2)]

    def dense(a, excess, b):
        matrix = jnp.zeros((n, n, 4))
        for k, (i, j) in enumerate(places):
            matrix = matrix.at[i, j].add(-a[k]).at[j, j].add(a[k])
        matrix = matrix + jnp.eye(n)[:, :, None] * excess[None]
        return jnp.linalg.solve(jnp.moveaxis(matrix, -1, 0), b.T[..., None])[..., 0].T

    def jets(which, rows):
        return [
            OperandJet({0: v, **{s: raised(directions, s, which)[k] for s in (1, 2, 3)}}) for k, v in enumerate(rows)
        ]

    m = ForwardModeBackend(NumpyBackend({}), 2, {})
    factors = factor_matrix(m, pivots, dict(zip(places, jets(0, a), strict=True)), jets(1, excess), 2)
    found = solve_factored(m, factors, jets(2, b))
    for s in range(4):
        chosen = [directions[k] for k in range(2) if s >> k & 1]
        expected = along(dense, (a, excess, b), chosen)
        np.testing.assert_allclose(np.stack([y.parts[s] for y in found]), expected, rtol=1e-11, atol=1e-11)


def given(own, x, rate, stops, p):
    fresh = StepMemory(*jnp.zeros((2, x.shape[-1])))
    return x, rate, jnp.reshape(stops, (len(stops), -1)), own.field.bind(p), fresh


def by_kernel(own, x, rate, stops, p):
    found = integrate_window_forward(own, *given(own, x, rate, stops, p))
    return found.amounts, found.integrals


def by_jax(own, x, rate, stops, p):
    options = RosenbrockOptions(own.field, own.tableau, own.rtol, own.atol, own.max_steps, own.integrals, own.grid)
    x, rate, stops, bound, memory = given(own, x, rate, stops, p)
    stops = jnp.broadcast_to(stops, (len(stops), x.shape[-1]))
    fresh = jnp.ones(x.shape[-1], bool)
    return cross_window(
        options, x, rate, stops, bound, choose_first_memory(options, x, Interval(stops, rate, bound, fresh, memory))
    )[:2]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("grid", "shared", "bound"),
    [
        pytest.param(GRID, True, 1e-11, id="grid"),
        pytest.param(GRID, False, 1e-11, id="grid-own-stops", marks=pytest.mark.slow),
        # steps of an adaptive integration are chosen by a rounded error estimate: the two engines' own differ by the tolerance
        pytest.param(None, True, 1e-4, id="own-steps", marks=pytest.mark.slow),
    ],
)
def test_a_window_along_anything_to_third_order_against_jax(grid, shared, bound):
    """In amounts, inflow, times and parameters at once; the same steps on the grid, so the same numbers."""
    x, rate, p = patients(9)
    stops = STOPS if shared else STOPS[:, None] * np.linspace(0.5, 1.5, 9)
    own, rng = method(BODY, grid), np.random.default_rng(1)
    arguments = tuple(jnp.asarray(a) for a in (x, rate, stops, p))
    directions = [tuple(0.3 * rng.standard_normal(a.shape) * (np.abs(a) + 0.1) for a in arguments) for _ in range(3)]
    for order in (1, 3):
        found, expected = (
            jax.jit(partial(along, partial(f, own)))(arguments, directions[:order]) for f in (by_kernel, by_jax)
        )
        for a, b in zip(found, expected, strict=True):
            assert float(jnp.abs(b).max()) > 1.0
            largest = jnp.abs(b).max(axis=-1, keepdims=True)
            assert float(jnp.max(jnp.abs(a - b) / jnp.maximum(largest, 1e-3))) < bound


@pytest.mark.usefixtures("compiled")
def test_machine_code_is_the_program_that_numpy_runs():
    """Every part of every result of the program with two nilpotents."""
    x, rate, p = patients(11)
    own, rng = method(BODY, GRID), np.random.default_rng(2)
    arguments = tuple(jnp.asarray(a) for a in (x, rate, p))
    directions = [tuple(0.3 * rng.standard_normal(a.shape) * np.abs(a) for a in arguments) for _ in range(2)]

    def kernel(x, rate, p):
        return by_kernel(own, x, rate, jnp.asarray(STOPS), p)

    def arrays(x, rate, p):
        bound = build_vector_field(BODY).bind(p)
        rows = jnp.concatenate([a for group in bound.arguments for a in group if a is not None])
        chosen = rows[np.array(lay_out_fluxes(own.field).parameter_rows)]
        linear, constant = (jnp.broadcast_to(a, (len(a), 11)) for a in (bound.linear, bound.constant))
        return {"start": x, "linear": linear, "constant": constant, "law_parameters": chosen, "inflow": rate}

    program = ForwardProgram(
        RosenbrockWindow(own, len(STOPS), True, True),
        2,
        tuple((n, (False,) * 3) for n in ("start", "linear", "constant", "law_parameters", "inflow")),
    )
    table = {"edges": np.concatenate([[0.0], STOPS])[:, None], "step_memory": np.zeros((2, 11))}
    table |= {"step_weights": step_weights(own.tableau)[:, None]}
    for s in range(4):
        chosen = [directions[k] for k in range(2) if s >> k & 1]
        parts = along(arrays, arguments, chosen)
        table |= {name if s == 0 else f"{name}.{s}": np.asarray(a) for name, a in parts.items()}
    machine = NumpyBackend(
        {b.name: np.array(table[b.name], float) for b in program.arguments}
        | {b.name: np.full((*b.shape, 11), np.nan) for b in program.results}
    )
    with np.errstate(all="ignore"):
        program.run(machine)
    for s in (0, 1, 2, 3):
        chosen = [directions[k] for k in range(2) if s >> k & 1]
        found = jax.jit(partial(along, kernel))(arguments, chosen)
        for name, a in zip(("amounts", "integral"), found, strict=True):
            b = machine.buffers[name if s == 0 else f"{name}.{s}"].reshape(a.shape)
            largest = np.abs(b).max(axis=-1, keepdims=True)
            assert np.max(np.abs(a - b) / np.maximum(largest, 1e-3)) < 1e-11


@pytest.mark.usefixtures("compiled")
def test_michaelis_menten_in_closed_form():
    """KM ln(x₀/x) + x₀ − x = VM t, so ∂x/∂VM = −t x/(KM + x) and ∂²x/∂VM² = t² KM x/(KM + x)³; and the solver's own
    derivatives, through its records, are those."""
    central = Compartment("central", "mg")
    system = build_system(Block((central,), (flux(central >> OUT, saturable, c=amount(central), vmax="VM", km="KM"),)))
    times, dose, km = np.array([0.5, 2.0, 6.0]), 20.0, 3.0
    base = {"TIME": times, "AMT": 0.0, "RATE": 0.0, "DUR": 0.0, "EVID": 0, "MDV": 0, "CMT": "central"}
    records = pd.DataFrame(base | {"ADDL": 0, "II": 0.0, "SS": 0})
    first = records.iloc[:1].assign(TIME=0.0, AMT=dose, EVID=1, MDV=1)
    timeline = build_timeline([pd.concat([first, records], ignore_index=True)], system)
    solver = Rosenbrock(rtol=1e-10).forward_mode()

    def amounts(vm):
        p = jnp.stack([vm if name == "VM" else jnp.full_like(vm, km) for name in system.parameter_names])
        return solver.solve(system, timeline, p[None]).amounts[: len(times), 0]

    vm = jnp.asarray([1.0, 2.5, 4.0])
    one = jnp.ones_like(vm)
    t = times[:, None]
    with using_engine("kernel"):
        first_, second = (along(amounts, (vm,), [(one,)] * k) for k in (1, 2))
        x = np.asarray(amounts(vm))
    np.testing.assert_allclose(km * np.log(dose / x) + dose - x, np.asarray(vm) * t, rtol=1e-8)
    np.testing.assert_allclose(first_, -t * x / (km + x), rtol=1e-6)
    np.testing.assert_allclose(second, t**2 * km * x / (km + x) ** 3, rtol=1e-5, atol=1e-9)


@pytest.mark.usefixtures("compiled")
def test_transformations_agree():
    """`jacfwd` and its nesting, `vmap` over patients and over directions, `scan`: one and the same derivative; and a
    patient's own, to the last digit, whoever is beside."""
    x, rate, p = (jnp.asarray(a) for a in patients(9))
    own, row = method(BODY, GRID, integrals=False), BODY.parameter_names.index("VM")

    def last(scale, x, rate, p):
        moved = p.at[row].multiply(scale[0]).at[0].multiply(scale[1])
        return integrate_window_forward(own, *given(own, x, rate, jnp.asarray(STOPS), moved)).amounts[-1]

    at, e = jnp.ones(2), jnp.eye(2)
    slope, bend = (jax.jit(f)(at, x, rate, p) for f in (jax.jacfwd(last), jax.jacfwd(jax.jacfwd(last))))
    for k in range(2):
        single = along(lambda s: last(s, x, rate, p), (at,), [(e[k],)])
        np.testing.assert_allclose(slope[..., k], single, rtol=1e-13, atol=1e-13)
        double = along(lambda s: last(s, x, rate, p), (at,), [(e[k],), (e[1 - k],)])
        np.testing.assert_allclose(bend[..., k, 1 - k], double, rtol=1e-12, atol=1e-12)

    def one(x, rate, p):
        return jax.jacfwd(last)(at, x[:, None], rate[:, None], p[:, None])[:, 0]

    np.testing.assert_array_equal(jax.jit(jax.vmap(one, in_axes=-1, out_axes=1))(x, rate, p), slope)
    amounts = jnp.stack([x, 0.5 * x])  # the value alone has the axis, not what it is differentiated along
    of_both = jax.jit(jax.vmap(jax.jacfwd(last), in_axes=(None, 0, None, None)))(at, amounts, rate, p)
    for k in range(2):
        np.testing.assert_array_equal(of_both[k], jax.jit(jax.jacfwd(last))(at, amounts[k], rate, p))
    halves = [jax.jit(jax.jacfwd(last))(at, *(a[:, part] for a in (x, rate, p))) for part in (slice(4), slice(4, 9))]
    np.testing.assert_array_equal(jnp.concatenate(halves, axis=1), slope)

    def twice(scale):
        return jax.lax.scan(lambda y, _: (last(scale, y, rate, p), None), x, None, length=2)[0]

    def written(scale):
        return last(scale, last(scale, x, rate, p), rate, p)

    np.testing.assert_allclose(jax.jacfwd(twice)(at), jax.jacfwd(written)(at), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("grid", [pytest.param(GRID, id="grid"), pytest.param(None, id="own-steps")])
def test_the_hessian_of_a_window(grid):
    """Forward over backwards: the reverse program on operands with derivatives, against forward over forward. In amounts,
    inflow, times and parameters, by amounts and integrals; under `vmap`, `scan` and jit."""
    x, rate, p = (jnp.asarray(a) for a in patients(6))
    own, rng = method(BODY, grid), np.random.default_rng(4)
    wide = rng.standard_normal((2, len(STOPS), 3, 6))
    along_u = [rng.standard_normal(np.shape(a)) * 0.1 for a in (x, rate, STOPS, p)]

    def loss(cross, u):
        here = (a * (1.0 + u[0] * d + u[1] * d**2) for a, d in zip((x, rate, STOPS, p), along_u, strict=True))
        found = cross(own, *given(own, *here))
        return jnp.sum(wide[0] * found.amounts) + jnp.sum(wide[1] * found.integrals)

    u = jnp.asarray([0.3, -0.2])
    expected = jax.jit(jax.jacfwd(jax.jacfwd(partial(loss, integrate_window_forward))))(u)
    assert float(jnp.abs(expected).min()) > 1e-2
    bound = {"rtol": 1e-9, "atol": 1e-9 * float(jnp.abs(expected).max())}
    np.testing.assert_allclose(jax.jit(jax.hessian(partial(loss, integrate_window)))(u), expected, **bound)

    def total(u):
        return jax.lax.scan(lambda s, k: (s + loss(integrate_window, k * u), None), 0.0, jnp.asarray([1.0, 0.0]))[0]

    several = jax.jit(jax.vmap(jax.hessian(total)))(jnp.stack([u, 0.5 * u]))
    np.testing.assert_allclose(several[0], expected, **bound)


@pytest.mark.slow(seconds=20)
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("grid", [pytest.param(None, id="own"), pytest.param((2e-4, 6.0), id="grid")])
def test_a_whole_body_against_jax(grid):
    """nis_body with competing anions, first and second order along all parameters at once."""
    model = load_model("nis_body", options={"competitors": "kinetic"})
    system, rng = model.system, np.random.default_rng(0)
    values = np.asarray(model.values, float)[:, None]
    p = jnp.asarray(system.derive(values * np.exp(0.02 * rng.standard_normal((len(values), 9)))))
    x = jnp.asarray(np.array(system.initial(p)) * np.ones((1, 9))).at[system.index("plasma")].add(100.0)
    own, direction = method(system, grid, integrals=False), p * 0.1 * rng.standard_normal(p.shape)

    def solve_by(way, p):
        return way(own, x, None, jnp.asarray([0.3, 2.0, 9.0]), p)[0]

    # On a grid too coarse for some of them (nobody would be given those), what runs away need not do so alike.
    good = integrate_window_forward(own, *given(own, x, None, jnp.asarray([0.3, 2.0, 9.0]), p)).code == 0
    assert good.sum() >= 7
    for order in (1, 2):
        found, expected = (
            jax.jit(partial(along, partial(solve_by, f)))((p,), [(direction,)] * order)[..., good]
            for f in (by_kernel, by_jax)
        )
        largest = jnp.abs(expected).max(axis=-1, keepdims=True)
        assert float(jnp.max(jnp.abs(found - expected) / jnp.maximum(largest, 1e-6))) < (1e-9 if grid else 1e-3)


def odd(c, k):
    return k * jnp.arctan(c)


@pytest.mark.usefixtures("compiled")
def test_a_law_that_no_kernel_has_is_differentiated_by_jax_with_a_note():
    central = Compartment("central", "mg")
    system = build_system(Block((central,), (flux(central >> OUT, odd, c=amount(central), k="K"),)))
    row = {"TIME": 0.0, "AMT": 1.0, "EVID": 1, "MDV": 1, "CMT": "central", "RATE": 0.0, "DUR": 0.0}
    row |= {"ADDL": 0, "II": 0.0, "SS": 0}
    timeline = build_timeline([pd.DataFrame([row, row | {"TIME": 1.0, "AMT": 0.0, "EVID": 0, "MDV": 0}])], system)

    def at_one(k):
        return Rosenbrock(rtol=1e-9).forward_mode().solve(system, timeline, k[None, None, None]).amounts[0, 0, 0]

    with using_engine("kernel"), pytest.warns(Note, match="atan"):
        slope = jax.jvp(at_one, (jnp.asarray(0.7),), (jnp.asarray(1.0),))[1]
    step = 1e-5
    with using_engine("jax"):
        differences = (at_one(jnp.asarray(0.7 + step)) - at_one(jnp.asarray(0.7 - step))) / (2 * step)
    np.testing.assert_allclose(slope, differences, rtol=1e-6)
