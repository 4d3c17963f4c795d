"""Likelihoods in one call: against the endpoints' own losses of what the JAX engine says the amounts are; and derivatives."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from event_schedules import BODIES, MIXED, SOLUTION_CASES, SOLVERS, VALUES, VOIDS, assert_close

from pbpk.compile.engine import using_engine
from pbpk.compile.programs.solution.likelihood import LikelihoodTerm, LikelihoodTerms, unsupported_likelihood
from pbpk.compile.xla import jit
from pbpk.likelihood.endpoints.base import Observed
from pbpk.likelihood.endpoints.compiled_terms import make_likelihood_data, make_likelihood_terms
from pbpk.likelihood.endpoints.counts import CountEndpoint
from pbpk.likelihood.endpoints.gaussian import GaussianEndpoint
from pbpk.likelihood.endpoints.grades import BinaryEndpoint, OrdinalEndpoint
from pbpk.likelihood.endpoints.likelihood import arrange_predictions, record_minus2ll
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe
from pbpk.model.system import build_system
from pbpk.observe.readings import observe_all
from pbpk.results import ResultCode
from pbpk.solve.likelihood import minus2ll_of_readings as losses_of
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

pytestmark = pytest.mark.skipif(bool(jit.explain_no_jit()), reason="kernels cannot be compiled here")

TWO = (
    GaussianEndpoint("cp", "cp", (("add", "add"), ("prop", "prop")), "combined2", has_limits=True),
    GaussianEndpoint("all", "all", (("add", "add_all"), ("prop", "prop")), "combined1"),
)
SIGMA = {"add": 0.3, "prop": 0.2, "add_all": 0.5}
KINDS = {
    "additive": GaussianEndpoint("cp", "cp", (("add", "add"),), "additive"),
    "combined1": GaussianEndpoint("cp", "cp", (("add", "add"), ("prop", "prop")), "combined1"),
    "power": GaussianEndpoint("cp", "cp", (("prop", "prop"), ("power", "power")), "power"),
    "log": GaussianEndpoint("cp", "cp", (("add", "add"),), "additive", transform="log", has_limits=True),
    "boxcox": GaussianEndpoint("cp", "cp", (("add", "add"), ("lambda", "lambda")), "additive", transform="boxcox"),
    "yeojohnson": GaussianEndpoint(
        "cp", "cp", (("add", "add"), ("lambda", "lambda")), "additive", transform="yeojohnson"
    ),
    "logit": GaussianEndpoint(
        "cp", "cp", (("add", "add"),), "additive", transform="logit", transform_constants=(-1.0, 90.0)
    ),
    "binary": BinaryEndpoint("cp", "cp", (("intercept", "intercept"), ("slope", "slope"))),
    "counts": CountEndpoint("cp", "cp", ()),
    "overdispersed": CountEndpoint(
        "cp", "cp", (("dispersion", "k"), ("intercept", "intercept")), log_link=True, overdispersed=True
    ),
    "grades": OrdinalEndpoint("cp", "cp", (("cut_1", "cut_1"), ("cut_2", "cut_2")), 2),
}
NUMBERS = {
    "dispersion": 0.3,
    "add": 0.3,
    "prop": 0.2,
    "power": 0.7,
    "lambda": 0.4,
    "intercept": -1.0,
    "slope": 0.3,
    "cut_1": -1,
    "cut_2": -2.5,
}


def observed(timeline, patients, endpoints=TWO, seed=5):
    """Which endpoint each look is of, and what was recorded; a fifth in intervals, below or above limits, or above a floor."""
    rng = np.random.default_rng(seed)
    shape = (len(timeline.output_index), patients)
    seen = np.broadcast_to(timeline.output_mask, shape)
    y = np.exp(rng.normal(1.0, 0.8, shape))
    if not isinstance(endpoints[0], GaussianEndpoint):
        y = rng.integers(0, 2 if isinstance(endpoints[0], BinaryEndpoint) else 3, shape).astype(float)
    low, high, floor = y.copy(), y.copy(), np.full(shape, -np.inf)
    if endpoints[0].has_limits if isinstance(endpoints[0], GaussianEndpoint) else False:
        kind = rng.integers(0, 12, shape)
        low = np.where(kind == 0, -np.inf, low)
        high = np.where(kind == 1, np.inf, np.where(kind == 2, 2 * y, high))
        floor = np.where(kind == 3, 0.5 * y, floor)
    which = rng.integers(0, len(endpoints), shape)
    return which, seen, Observed(y, low, high, floor, np.zeros(shape), np.full(shape, -1))


def in_one(system, solver, timeline, endpoints, given, p, sigma):
    """(Loss of each patient, codes), as one call."""
    judge = make_likelihood_terms(system, endpoints)
    which, seen, o = given
    assert solver.supports_likelihood(system, p, judge)
    return solver.solve_likelihood(
        system, timeline, p, judge, make_likelihood_data(system, endpoints, p, which, seen, o, sigma)
    )


def apart(system, solver, timeline, endpoints, given, p, sigma):
    """The same from all amounts and the endpoints' own losses."""
    which, seen, o = (jax.tree.map(jnp.asarray, x) for x in given)
    path = solver.solve(system, timeline, p)
    f = observe_all(system, [e.observable for e in endpoints], path.amounts, p)
    f = jnp.take_along_axis(f, which[None], axis=0)[0]
    return jnp.sum(
        record_minus2ll(endpoints, which, seen, arrange_predictions(endpoints, f, f, o), o, sigma), axis=0
    ), path.result


RECORDS = [*((kind, what) for kind, what, _ in SOLUTION_CASES), ("linear", "voids"), ("saturable", "voids")]


@pytest.mark.parametrize("kind, what", dict.fromkeys(RECORDS))
def test_verdict_and_slopes(kind, what, case):
    """Two endpoints, one with limits, in turn; slopes in all parameters, all doses, and what the residuals have."""
    system, timeline, p = case(kind, what, voids=VOIDS if what == "voids" else ())
    solver, given = SOLVERS[kind], observed(timeline, 9)
    scale = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2.0, 9))

    def run(one, p, doses, sigma):
        loss, code = one(system, solver, replace(timeline, amount=doses), TWO, given, p, sigma)
        return jnp.sum(scale * loss), (loss, code)

    def both(one):
        return jax.value_and_grad(lambda *a: run(one, *a), argnums=(0, 1, 2), has_aux=True)

    asked = p, jnp.asarray(timeline.amount), SIGMA
    (_, (loss, code)), slopes = jax.jit(both(in_one))(*asked)
    value, code_ = jax.jit(lambda *a: run(in_one, *a)[1])(*asked)
    with using_engine(
        "jax" if kind == "linear" else None
    ):  # own steps are chosen by numbers that differ in the last digit
        (_, (loss_, _)), slopes_ = jax.jit(both(apart))(*asked)
    assert not np.any(code) and not np.any(code_)
    assert_close(value, loss, 1e-13)
    assert_close(loss, loss_, 1e-10)
    assert_close(slopes, slopes_, 1e-8 if kind == "linear" else 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_endpoint(kind, case):
    endpoints = (KINDS[kind],)
    system, timeline, p = case("linear", "infusions")
    given = observed(timeline, 9, endpoints)
    sigma = {name: jnp.asarray(float(NUMBERS[own])) for own, name in endpoints[0].parameter_names}

    def both(one):
        def run(p, sigma):
            return jnp.sum(one(system, SOLVERS["linear"], timeline, endpoints, given, p, sigma)[0])

        return jax.jit(jax.value_and_grad(run, argnums=(0, 1)))(p, sigma)

    found, wanted = both(in_one), both(apart)
    assert np.isfinite(float(found[0]))
    assert_close(found, wanted, 1e-10)


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_derivatives_forward_and_second_ones(kind, case):
    system, timeline, p = case(kind, "mixed", patients=5)
    given = observed(timeline, 5)

    def along(one, solver):
        def run(u):
            sigma = {name: s * jnp.exp(u[0]) for name, s in SIGMA.items()}
            return jnp.sum(one(system, solver, timeline, TWO, given, p * jnp.exp(u[:, None]), sigma)[0])

        return run

    u = jnp.zeros(p.shape[1])
    steps = 1e-5 * jnp.eye(len(u))
    solver, ahead = SOLVERS[kind], SOLVERS[kind].forward_mode()
    slope = jax.jit(jax.grad(along(in_one, solver)))
    assert_close(jax.jit(jax.jacfwd(along(in_one, ahead)))(u), slope(u), 1e-10)
    by_steps = np.array([(slope(u + h) - slope(u - h)) / 2e-5 for h in steps])
    found = jax.jit(jax.hessian(along(in_one, solver)))(u)
    assert_close(found, by_steps, 1e-6)
    assert_close(jax.jit(jax.jacfwd(jax.jacfwd(along(in_one, ahead))))(u), found, 1e-9)


def lagged(bent):
    depot, blood = Compartment("depot", "mg", lag="LAG"), Compartment("blood", "mg", volume="V")
    gone = flux(blood >> OUT, first_order, a=amount(blood), k="KE")
    arrows = (flux(depot >> blood, first_order, a=amount(depot), k="KA"), gone)
    if bent:
        arrows += (flux(blood >> OUT, lambda c, vmax, km: vmax * c / (km + c), c=conc(blood), vmax="VM", km="KM"),)
    return build_system(Block((depot, blood), arrows, (observe("cp", conc(blood), "blood"),)))


@pytest.mark.parametrize("kind", ["linear", "saturable"])
def test_slopes_in_times(kind, dose, seen):
    """In a lag, which moves the dose's time, against differences; with slopes in the rest at the same time."""
    system = lagged(kind == "saturable")
    frames = [
        pd.DataFrame([dose(0, 50, "depot"), *seen(1.0, 2.0, 5.0), dose(6, 20 + k, "depot"), *seen(7.0)]) for k in (0, 1)
    ]
    values = VALUES | {"LAG": 0.4}
    p = jnp.asarray(np.array([[[values[n]] * 2 for n in system.parameter_names]]))
    timeline = build_timeline(frames, system, moving=True, typical=p[0])
    endpoints, sigma = (KINDS["combined1"],), {"add": 0.3, "prop": 0.2}
    given = observed(timeline, 2, endpoints)

    def run(p):
        return jnp.sum(in_one(system, SOLVERS[kind], timeline, endpoints, given, p, sigma)[0])

    slope, value = jax.jit(jax.grad(run))(p), jax.jit(run)
    for k in range(p.shape[1]):
        h = 1e-4 * jnp.zeros(p.shape).at[0, k].set(p[0, k])
        assert float(jnp.sum(slope * h)) == pytest.approx(float(value(p + h) - value(p - h)) / 2, rel=1e-4, abs=1e-9)
    assert abs(float(slope[0, system.parameter_index("LAG"), 0])) > 1e-3


@pytest.mark.parametrize("kind, what", [("linear", "infusions"), ("saturable", "mixed")])
def test_whoever_is_beside(kind, what, case):
    """Bit for bit: whatever the batch, and where a neighbour has no numbers. (Of linear windows with stops of each patient's
    own, what follows from stops is XLA's to round.)"""
    count = 41
    system, timeline, p = case(kind, what, patients=count)
    which, seen, o = observed(timeline, count)

    @jax.jit
    def run(p, timeline, which, seen, o):
        def one(p):
            loss, code = in_one(system, SOLVERS[kind], timeline, TWO, (which, seen, o), p, SIGMA)
            return jnp.sum(jnp.where(code == 0, loss, 0.0)), (loss, code)

        return jax.grad(one, has_aux=True)(p)

    every = run(p, timeline, which, seen, o)
    given = (p, timeline, which, seen, o)
    for part in (slice(0, 20), slice(5, 6), slice(10, 37)):
        leaves, tree = jax.tree.flatten(given)
        some = [a if a.shape[-1] == 1 else np.asarray(a)[..., part] for a in leaves]
        found = run(*jax.tree.unflatten(tree, some))
        for one, of in zip(jax.tree.leaves(found), jax.tree.leaves(every), strict=True):
            np.testing.assert_array_equal(one, of[..., part])
    bad = p.at[0, system.parameter_index("KE"), 4].set(jnp.nan)
    slope, (loss, code) = run(bad, timeline, which, seen, o)
    others = np.arange(count) != 4
    assert code[4] & ResultCode.NOT_FINITE and not np.any(np.asarray(code)[others])
    np.testing.assert_array_equal(loss[others], every[1][0][others])
    np.testing.assert_array_equal(slope[..., others], every[0][..., others])


def test_draws_of_parameters_side_by_side(case):
    """A `vmap` over draws, as samplers take them, against one after another; and of gradients."""
    system, timeline, p = case("linear", "mixed")
    given = observed(timeline, 9)
    draws = p[None] * jnp.exp(0.1 * np.random.default_rng(0).standard_normal((3, *p.shape)))

    def run(p, add):
        return jnp.sum(in_one(system, SOLVERS["linear"], timeline, TWO, given, p, SIGMA | {"add": add})[0])

    both = jax.value_and_grad(run, argnums=(0, 1))
    adds = jnp.array([0.2, 0.3, 0.5])
    together = jax.jit(jax.vmap(both))(draws, adds)
    one = jax.jit(both)
    for k in range(3):
        assert_close(jax.tree.map(lambda a: a[k], together), one(draws[k], adds[k]), 1e-13)  # noqa: B023


def test_padding_and_looks_that_nobody_judges_count_for_nothing(case):
    system, timeline, p = case("saturable", "mixed")
    which, seen, o = observed(timeline, 9)
    assert not seen.all()
    spoilt = Observed(*(np.where(seen, a, np.nan) for a in o[:5]), o.previous_record)
    found = in_one(system, SOLVERS["saturable"], timeline, TWO, (which, seen, spoilt), p, SIGMA)
    np.testing.assert_array_equal(
        found.minus2ll, in_one(system, SOLVERS["saturable"], timeline, TWO, (which, seen, o), p, SIGMA).minus2ll
    )
    nobody = in_one(system, SOLVERS["saturable"], timeline, TWO, (which, np.zeros_like(seen), o), p, SIGMA)
    np.testing.assert_array_equal(nobody.minus2ll, np.zeros(9))


def test_losses_of_readings_are_the_endpoints_own(case):
    """What derivatives of derivatives are taken of."""
    system, timeline, p = case("linear", "mixed")
    which, seen, o = observed(timeline, 9)
    judge = make_likelihood_terms(system, TWO)
    path = SOLVERS["linear"].solve(system, timeline, p, readings=judge.readings)
    found = losses_of(judge, make_likelihood_data(system, TWO, p, which, seen, o, SIGMA), path.amounts)
    assert_close(found, apart(system, SOLVERS["linear"], timeline, TWO, (which, seen, o), p, SIGMA)[0], 1e-13)


def test_who_does_not_judge(case):
    """Parameters that change on the way, single precision, other engines, laws and likelihoods that no kernel has, residuals
    that correlate, and where the contour may be needed."""
    system, _, p = case("linear", "mixed")
    judge = make_likelihood_terms(system, TWO)
    for solver in (Resolvent(), Rosenbrock(), Resolvent().forward_mode()):
        assert solver.supports_likelihood(system, p, judge)
        assert not solver.supports_likelihood(system, jnp.concatenate([p, p]), judge)
        assert not solver.supports_likelihood(system, p.astype(jnp.float32), judge)
        for engine in ("jax", "diffrax"):
            with using_engine(engine):
                assert not solver.supports_likelihood(system, p, judge)
    odd = LikelihoodTerms(((0,),), (LikelihoodTerm(lambda f, y: jnp.arctan(f - y) ** 2, (0,), ("y",), ()),), 0)
    assert unsupported_likelihood(odd) == "a likelihood uses `atan`" and not Resolvent().supports_likelihood(
        system, p, odd
    )
    assert (
        make_likelihood_terms(system, (GaussianEndpoint("cp", "cp", (("add", "add"), ("ar1", "rho")), "additive"),))
        is None
    )
    ring = [Compartment(f"c{k}", "mg") for k in range(8)]
    around = [flux(a >> b, first_order, a=amount(a), k="K") for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]
    turning = build_system(Block(tuple(ring), tuple(around), (observe("cp", amount(ring[0]), "c0"),)))
    of_ring = make_likelihood_terms(turning, (GaussianEndpoint("cp", "cp", (("add", "add"),), "additive"),))
    assert Resolvent().supports_likelihood(turning, p, of_ring) and not Resolvent().forward_mode().supports_likelihood(
        turning, p, of_ring
    )


def test_the_cases_are_all_there():
    assert set(MIXED) | {"boluses", "infusions", "resets", "voids"} == {what for _, what in RECORDS}
    assert {kind for kind, _ in RECORDS} == set(BODIES)
