"""SAEM's parts one by one: roles, phases, the maximisation, the chains, and resuming."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from pbpk.errors import WrongUsage
from pbpk.estimation.methods import get_method
from pbpk.estimation.saem import SAEM
from pbpk.estimation.state import EstimationState
from pbpk.estimation.stochastic import phases
from pbpk.estimation.stochastic.chains import ProposalTuning, initial_step_lengths, move_chains, tune_step_lengths
from pbpk.estimation.stochastic.iterate import recentre_square
from pbpk.estimation.stochastic.maximise import SaemMoments, average_moments, maximise_centre, maximise_spread
from pbpk.estimation.stochastic.roles import find_roles
from pbpk.likelihood.columns import select_columns
from pbpk.likelihood.parameter_layout import OmegaBlock, ParameterLayout, Theta
from pbpk.run_folders.checkpoint import load_state, save_state
from pbpk.run_folders.claim import OutputFolder
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def problem():
    return load_study("theophylline").problem


def named(problem, places):
    free = [
        n
        for n, held in zip(problem.structure.layout.names, problem.structure.layout.fixed_mask, strict=True)
        if not held
    ]
    return {free[k] for k in places}


ROLES = {  # what is a centre, and what the rest, of each study
    "plain": ("theophylline", {}, {"KA", "CL", "V"}, {"add"}, False),
    "no eta": ("theophylline", {"parameters.KA.iiv": "none"}, {"CL", "V"}, {"KA", "add"}, True),
    "normal": ("theophylline", {"parameters.V.distribution": "normal"}, {"KA", "CL", "V"}, {"add"}, False),
    "held": ("theophylline", {"parameters.CL.fixed": "true"}, {"KA", "V"}, {"add"}, False),
    "covariate": ("phenobarbital", {}, {"CL", "V", "V_APGR"}, {"prop"}, False),
    "two of four": ("indomethacin", {}, {"CL", "Q"}, {"V1", "V2", "prop"}, True),
}


@pytest.mark.parametrize("name", ROLES)
def test_roles(name):
    study, settings, centre, rest, moving = ROLES[name]
    problem = load_study(study, settings=settings).problem
    roles = find_roles(problem)
    assert (named(problem, roles.centre), named(problem, roles.rest), roles.moving) == (centre, rest, moving)
    assert all(n.startswith("OMEGA_") for n in named(problem, roles.spread))
    assert sorted(roles.centre + roles.spread + roles.rest) == list(range(len(problem.initial_unconstrained)))


def test_gains_fall_only_while_smoothing():
    np.testing.assert_array_equal(phases.compute_gains(np.arange(3), -1), 1)
    np.testing.assert_allclose(phases.compute_gains(np.array([40, 41, 139]), 40), [1, 2**-0.7, 100**-0.7])


def test_exploration_ends_without_a_trend():
    noise = np.random.default_rng(1).standard_normal((200, 3))
    drifting = noise + np.linspace(0, 20, 200)[:, None] * [0, 0, 1]
    assert not phases.has_explored(noise[:100])
    assert phases.has_explored(noise)
    assert not phases.has_explored(drifting)
    assert phases.has_explored(np.vstack([drifting] * 5))  # as long as it may


def test_averages_are_of_the_later_half():
    path = np.concatenate([np.full(50, 9.0), np.full(60, 5.0), np.tile([1.0, 3.0], 30)])[:, None]
    assert phases.average_path(path, 50)[0] == 2.0


def test_looks_come_later_and_later():
    looks = [n for n in range(20, 2001, 20) if phases.is_check_due(n)]
    assert looks == [120, 180, 280, 420, 620, 920, 1380, 2000]
    assert phases.is_out_of_iterations(2000) and not phases.is_out_of_iterations(1980)


def moments_of(problem, eta):
    q = eta.shape[1]
    return average_moments(SaemMoments(jnp.zeros(eta.shape[1:]), jnp.zeros((q, q)), jnp.eye(1)), eta, jnp.array(1.0))


def test_centres_are_means_and_spreads_second_moments(problem):
    """With every η known, the maximum is that of a normal sample: θ moves by the mean, Ω is the variance around it."""
    eta = jnp.asarray(np.random.default_rng(3).normal(0.1, 0.4, (5, 3, 12)))
    roles, psi = find_roles(problem), jnp.asarray(problem.initial_unconstrained)
    shift = jnp.asarray(np.eye(3, len(psi))[:, :, None] * np.ones(12))
    now, moments, by, _ = maximise_centre(problem, roles.centre, psi, moments_of(problem, eta), shift)
    np.testing.assert_allclose(now[:3] - psi[:3], eta.mean(axis=(0, 2)), rtol=1e-8)
    np.testing.assert_allclose(by, np.repeat(-(now[:3] - psi[:3])[:, None], 12, axis=1), rtol=1e-8)
    for _ in range(4):
        now, _ = maximise_spread(problem, roles.spread, now, moments, jnp.inf, psi)
    np.testing.assert_allclose(np.diag(problem.unpack(now)[1]), eta.var(axis=(0, 2)), rtol=1e-6)


def test_spreads_keep_their_form():
    """A block is the moment's own; what is outside blocks stays 0; a held variance stays."""
    layout = ParameterLayout((Theta("KA", True),), (OmegaBlock(("KA",), True), OmegaBlock(("CL", "V"))), ())
    natural = np.array([1.5, 0.5, 0.1, 0.02, 0.2])
    problem = load_study("theophylline").problem
    problem = replace(problem, initial=natural, structure=replace(problem.structure, layout=layout))
    second = jnp.array([[0.9, 0.3, 0.2], [0.3, 0.16, 0.05], [0.2, 0.05, 0.3]])
    moments = SaemMoments(jnp.zeros((3, 12)), second, jnp.zeros((0, 0)))
    psi = jnp.asarray(layout.to_unconstrained(natural))
    start = psi
    for _ in range(5):
        psi, _ = maximise_spread(problem, (1, 2, 3), psi, moments, jnp.inf, start)
    np.testing.assert_allclose(
        problem.unpack(psi)[1], [[0.5, 0, 0], [0, 0.16, 0.05], [0, 0.05, 0.3]], rtol=1e-8, atol=1e-12
    )


def test_moments_follow_the_centre():
    eta, by = np.random.default_rng(2).normal(size=(6, 2, 3)), np.array([[0.5, -1, 2], [0.1, 0.2, -0.3]])
    square, moved = (np.einsum("cin,cjn->ijn", e, e) / 6 for e in (eta, eta + by))
    np.testing.assert_allclose(recentre_square(square, eta.mean(axis=0), by), moved, rtol=1e-12)


def test_step_lengths_follow_acceptance():
    lengths = tune_step_lengths(np.ones((2, 2)), np.array([[1, 1], [1, 1], [1, 1], [0.3, 0.9], [0.05, 0.3]]))
    assert lengths[0, 0] == pytest.approx(1) and lengths[1, 1] == pytest.approx(1)
    assert lengths[0, 1] > 1.5 and lengths[1, 0] < 0.7


STUDY = """
model = "iv_one_compartment"
[data]
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
observable = "cp"
dose_into = "central"
[parameters.CL]
initial = 2.0
iiv = 0.3
[parameters.V]
initial = 20.0
[error.cp]
model = "proportional"
prop = 0.3
"""
DATA = {1: (4.1, 2.2, 0.4), 2: (5.5, 4.0, 2.9), 3: (3.5, 1.1, 0.06)}
TIMES = (1.0, 6.0, 20.0)


@pytest.fixture(scope="module")
def small(make):
    rows = []
    for who, ys in DATA.items():
        rows += [f"{who},0,100,.", *(f"{who},{t},.,{y}" for t, y in zip(TIMES, ys, strict=True))]
    return make(STUDY, "ID,TIME,AMT,DV", *rows).problem


@pytest.fixture(scope="module")
def walked(small):
    """η along chains at fixed ψ: `walked(problem, chains, rounds)` (rounds, chains, q, N)."""

    @jax.jit
    def run(problem, psi, eta, tuning, rounds):
        def one(eta, k):
            eta = move_chains(problem, psi, eta, tuning, jax.random.key(4), k)[0]
            return eta, eta

        return jax.lax.scan(one, eta, rounds)[1]

    def walked(problem, chains, rounds):
        n = problem.columns
        tuning = ProposalTuning.from_moments(jnp.zeros((1, n)), jnp.full((1, 1, n), 0.1), initial_step_lengths(1, n))
        return np.asarray(
            run(problem, problem.initial_unconstrained, np.zeros((chains, 1, n)), tuning, np.arange(rounds))
        )

    return walked


def test_chains_draw_from_the_posterior(small, walked):
    """Mean and standard deviation of η against a fine grid."""
    found = walked(small, 20, 400)[20:, :, 0].reshape(-1, 3)
    grid = np.linspace(-3, 3, 4001)
    for i, ys in enumerate(DATA.values()):
        f = oracle.bolus(np.array(TIMES)[:, None], [(0.0, 100.0)], 2.0 * np.exp(grid), 20.0)
        loss = np.sum(2 * np.log(0.3 * f) + ((np.array(ys)[:, None] - f) / (0.3 * f)) ** 2, axis=0) + grid**2 / 0.3
        weight = np.exp(-(loss - loss.min()) / 2)
        weight /= weight.sum()
        mean = weight @ grid
        sd = np.sqrt(weight @ (grid - mean) ** 2)
        assert found[:, i].mean() == pytest.approx(mean, abs=0.04 * sd)
        assert found[:, i].std() == pytest.approx(sd, rel=0.04)


def test_draws_depend_on_the_subject_and_not_on_the_batch(small, walked):
    np.testing.assert_allclose(
        walked(select_columns(small, np.arange(2)), 20, 400)[:3], walked(small, 20, 400)[:3, ..., :2], rtol=1e-9
    )


@pytest.mark.slow
def test_a_resumed_fit_goes_on_bit_for_bit(small, tmp_path):
    method = replace(SAEM, chains=3)
    path, infos = [method.init(small)], []
    for _ in range(3):
        state, info = method.step(small, path[-1])
        path, infos = [*path, state], [*infos, info]
    folder = OutputFolder(tmp_path / "001", tmp_path)
    save_state(folder, path[1], infos[:1])
    state, seen = load_state(folder)
    assert seen == infos[:1] and isinstance(state, EstimationState)
    for _ in range(2):
        state, _ = method.step(small, state)
    np.testing.assert_array_equal(state.psi, path[-1].psi)
    for name, saved in path[-1].more.items():
        np.testing.assert_array_equal(state.more[name], saved)


def test_what_it_cannot_do_is_refused(problem):
    settings = {f"parameters.{n}.iiv": "none" for n in ("KA", "CL", "V")}
    with pytest.raises(WrongUsage):
        get_method("saem").prepare(load_study("theophylline", settings=settings).problem)
    with pytest.raises(WrongUsage, match="mixture"):
        get_method("saem").prepare(replace(problem, structure=replace(problem.structure, classes=2)))
