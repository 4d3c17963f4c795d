"""Priors that are assumed, the density that is sampled, and what a run says of its draws."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from pbpk.errors import MissingExtra
from pbpk.estimation.bayes.default_priors import OmegaBlockPrior, assume_priors
from pbpk.estimation.bayes.nuts import Nuts
from pbpk.estimation.bayes.target import build_log_posterior
from pbpk.estimation.methods import get_method
from pbpk.estimation.state import CONVERGED
from pbpk.solve.choose import restore_reverse_mode
from pbpk.study.load import load_study


@pytest.fixture(scope="module")
def problem():
    return load_study("theophylline").problem


@pytest.fixture(scope="module")
def here(problem):
    rng = np.random.default_rng(1)
    return problem.initial_unconstrained + 0.1 * rng.standard_normal(7), 0.3 * rng.standard_normal((3, 12))


def test_assumed_priors_are_named_with_units(problem):
    study = load_study("theophylline")
    stated = {a.name: a.statement for a in assume_priors(problem, study.scale, study.units)}
    assert list(stated) == ["KA", "CL", "V", "OMEGA_KA", "OMEGA_CL", "OMEGA_V", "add"]
    assert stated["CL"] == "log-normal around 2.5 L/h, SD of the logarithm 1.5"
    assert stated["add"] == "half-normal with SD 3 mg/L"
    assert "half-normal" in stated["OMEGA_KA"] and "2.121" in stated["OMEGA_KA"]


def test_density_is_the_sum_of_its_parts(problem, here):
    """−2 ln p is `complete` in η, the priors and the Jacobian, each written out."""
    psi, z = here
    t = build_log_posterior(problem, assume_priors(problem))
    natural = np.asarray(problem.structure.layout.to_natural(psi, problem.initial))
    eta = np.linalg.cholesky(np.diag(natural[3:6])) @ z
    likelihood = -0.5 * np.asarray(jax.jit(type(problem).data_minus2ll)(problem, psi, eta)).sum() - 0.5 * (z**2).sum()
    initial = np.asarray(problem.initial)
    thetas = stats.lognorm.logpdf(natural[:3], 1.5, scale=initial[:3]).sum()
    sds = np.maximum(3 * np.sqrt(initial[3:6]), 1.0)
    omegas = (stats.halfnorm.logpdf(np.sqrt(natural[3:6]), scale=sds) - np.log(2 * np.sqrt(natural[3:6]))).sum()
    sigma = stats.halfnorm.logpdf(natural[6], scale=3 * initial[6])
    # ∂ natural/∂ψ: θ, 2ω² and σ, all of them logarithms in ψ
    jacobian = np.log(natural[:3]).sum() + np.log(2 * natural[3:6]).sum() + np.log(natural[6])
    wanted = likelihood + thetas + omegas + sigma + jacobian
    there = jax.jit(lambda p, x: t.log_density(p, x))
    # up to one constant, so two points are compared
    other = problem.initial_unconstrained, np.zeros_like(z)
    nat0 = np.asarray(problem.structure.layout.to_natural(other[0], problem.initial))
    at0 = -0.5 * np.asarray(jax.jit(type(problem).data_minus2ll)(problem, other[0], other[1])).sum()
    at0 += stats.lognorm.logpdf(nat0[:3], 1.5, scale=initial[:3]).sum()
    at0 += (stats.halfnorm.logpdf(np.sqrt(nat0[3:6]), scale=sds) - np.log(2 * np.sqrt(nat0[3:6]))).sum()
    at0 += stats.halfnorm.logpdf(nat0[6], scale=3 * initial[6])
    at0 += np.log(nat0[:3]).sum() + np.log(2 * nat0[3:6]).sum() + np.log(nat0[6])
    assert float(there(psi, z) - there(*other)) == pytest.approx(wanted - at0, rel=1e-9)


def test_centred_differs_by_the_jacobian_of_eta_alone(problem, here):
    psi, z = here
    plain, centred = (
        build_log_posterior(problem, assume_priors(problem)),
        build_log_posterior(problem, assume_priors(problem), centred=True),
    )
    omega = np.asarray(problem.unpack(psi)[1])
    found = jax.jit(lambda p, x: (plain.log_density(p, x), centred.log_density(p, plain.eta(p, x))))(psi, z)
    assert float(found[0] - found[1]) == pytest.approx(12 * 0.5 * np.linalg.slogdet(omega)[1], rel=1e-9)


def test_gradient_through_the_solver_in_reverse(problem, here):
    t = build_log_posterior(problem, assume_priors(problem))
    assert t.problem.structure.solver == restore_reverse_mode(problem.structure.solver) != problem.structure.solver
    psi, z = here
    value = jax.jit(lambda p, x: t.log_density(p, x))
    slope = jax.jit(jax.grad(lambda p, x: t.log_density(p, x), argnums=(0, 1)))(psi, z)
    for k in range(7):
        h = np.eye(7)[k] * 1e-5
        assert float(slope[0][k]) == pytest.approx(
            float(value(psi + h, z) - value(psi - h, z)) / 2e-5, rel=1e-5, abs=1e-6
        )
    h = np.zeros((3, 12))
    h[1, 4] = 1e-5
    assert float(slope[1][1, 4]) == pytest.approx(float(value(psi, z + h) - value(psi, z - h)) / 2e-5, rel=1e-5)


def test_prior_of_a_block_is_half_normal_times_lkj():
    """Integrated over a 2 × 2 Ω by its standard deviations and correlation it has the moments of its parts."""
    prior = OmegaBlockPrior((0.5, 2.0))
    s1, s2, r = np.meshgrid(
        np.linspace(0.01, 3, 60), np.linspace(0.04, 12, 60), np.linspace(-0.99, 0.99, 41), indexing="ij"
    )
    omega = np.stack([np.stack([s1**2, r * s1 * s2], -1), np.stack([r * s1 * s2, s2**2], -1)], -1)
    logs = np.asarray(jax.vmap(prior.log_density)(jnp.asarray(omega.reshape(-1, 2, 2)))).reshape(s1.shape)
    weight = np.exp(logs) * (s1 * s2) ** 2  # |∂Ω/∂(s, r)| without its 4
    weight /= weight.sum()
    assert (weight * s1**2).sum() ** 0.5 == pytest.approx(0.5, rel=0.02)
    assert (weight * s2**2).sum() ** 0.5 == pytest.approx(2.0, rel=0.02)
    assert (weight * r**2).sum() == pytest.approx(1 / 5, rel=0.03)  # LKJ(2) of two: (r + 1)/2 ~ Beta(2, 2)


def test_without_numpyro_the_way_to_it_is_said(monkeypatch, problem):
    monkeypatch.setitem(sys.modules, "numpyro.infer.hmc", None)
    with pytest.raises(MissingExtra, match="numpyro") as caught:
        get_method("nuts").prepare(problem)
    assert caught.value.exit_code == 4
    assert 'pip install "pbpk[bayes]"' in caught.value.render()


SHORT = Nuts(chains=2, warmup=60, draws=40, seed=2)


@pytest.fixture(scope="module")
def short(problem):
    pytest.importorskip("numpyro")
    states = [SHORT.init(problem)]
    while not states[-1].finished:
        states.append(SHORT.step(problem, states[-1])[0])
    return states


@pytest.mark.slow
def test_blocks_end_where_the_draws_do(short):
    assert [s.iteration for s in short] == [0, 50, 100]
    assert short[-1].more["psi"].shape == (2, 40, 7)
    assert short[-1].more["eta"].shape == (2, 40, 3, 12)
    np.testing.assert_array_equal(short[-1].psi, np.median(short[-1].more["psi"].reshape(-1, 7), axis=0))


@pytest.mark.slow
def test_too_few_draws_are_no_posterior(short):
    assert short[-1].status != CONVERGED
    assert "effective draws" in short[-1].status or "R-hat" in short[-1].status or "diverged" in short[-1].status


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_to_the_same_draws(short, problem, tmp_path):
    from pbpk.run_folders.checkpoint import load_state, save_state
    from pbpk.run_folders.claim import OutputFolder

    folder = OutputFolder(tmp_path / "done", tmp_path)
    save_state(folder, short[1], [])
    again, _ = load_state(folder)
    end, _ = SHORT.step(problem, again)
    for name in ("psi", "eta", "diverged", "log_density"):
        np.testing.assert_array_equal(end.more[name], short[-1].more[name])
    assert end.status == short[-1].status and end.ofv == short[-1].ofv


@pytest.mark.slow
def test_another_seed_gives_other_draws(short, problem):
    method = replace(SHORT, seed=3)
    other, _ = method.step(problem, method.init(problem))
    assert not np.array_equal(other.more["chain.02"], short[1].more["chain.02"])
