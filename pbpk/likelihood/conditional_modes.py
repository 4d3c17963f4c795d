"""The inner problem: every subject's most probable η at given population parameters (the EBEs).

Damped Gauss–Newton for all subjects at once, each with its own damping, converges linearly; then come exact Newton steps from
second-order jets, each of which squares the error that is left: two, as a rule. Deterministic; warm-started by η.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.likelihood.prediction_jets import PredictionJet, first_order_jet, second_order_jet
from pbpk.likelihood.subject import SubjectArrays, SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_HANDOVER_FALL = 1e-5  # predicted further fall of −2 log p, at which the Newton steps take over
_LARGEST_NEWTON_FALL = 1e-2  # the fall that a Newton step may promise: about a tenth of the posterior's own spread
_ACCEPTED_FALL = 1e-6  # the fall still promised at the end, below which the mode counts as converged
_NEGLIGIBLE_FALL = 1e-16  # below which another Newton step changes no digit that is shown
_MAX_DAMPED_STEPS, _MAX_NEWTON_STEPS = 100, 12


class ConditionalModes(NamedTuple):
    """η (q, N), the second-order jet there, the same at η = 0 where there is no interaction, and whether each mode converged
    (N,)."""

    eta: jax.Array
    jet: PredictionJet
    jet_at_zero: PredictionJet | None
    converged: jax.Array


class _ModeRefinement(NamedTuple):
    """η, its jet, the Newton step from there, the fall it promises, and how many points have been evaluated."""

    eta: jax.Array
    jet: PredictionJet
    step: jax.Array
    promised: jax.Array
    count: jax.Array


class _ModeDescent(NamedTuple):
    """The best η so far with what was evaluated there, and the next one to try."""

    eta: jax.Array
    value: jax.Array
    gradient: jax.Array
    hessian: jax.Array
    trial: jax.Array
    promised: jax.Array
    damping: jax.Array
    damping_growth: jax.Array
    done: jax.Array
    count: jax.Array


def find_conditional_modes(
    problem: Problem, unconstrained: jax.Array, eta: jax.Array, interaction: bool
) -> ConditionalModes:
    """Minimise −2 log p(y, η) over η for each subject, from `eta` (q, N), or from 0 where that has no finite value."""
    theta, _, _ = problem.unpack(unconstrained)
    likelihood = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction)

    def evaluate_jet_at(eta: jax.Array) -> PredictionJet:
        return second_order_jet(problem, problem.individual_parameters(theta, eta))

    jet_at_zero = None if interaction else evaluate_jet_at(jnp.zeros_like(eta))

    def evaluate(eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Value, gradient and expected Hessian at η; first derivatives of f are enough for these."""
        jet = first_order_jet(problem, problem.individual_parameters(theta, eta))

        def one(e, s):
            value, gradient = jax.value_and_grad(likelihood.joint_minus2ll, argnums=1)(unconstrained, e, s)
            return value, gradient, 2 * likelihood.information(unconstrained, e, s)

        return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subject_arrays(problem, jet, jet_at_zero))

    def take_newton_step(state: _ModeRefinement) -> _ModeRefinement:
        eta = state.eta + state.step
        jet = evaluate_jet_at(eta)
        subjects = subject_arrays(problem, jet, jet_at_zero)
        return _ModeRefinement(eta, jet, *_newton_step(likelihood, unconstrained, eta, subjects), state.count + 1)

    def may_improve(state: _ModeRefinement) -> jax.Array:
        """A flat mode, whose Hessian is nearly singular, takes more than the usual two steps."""
        unfinished = (state.promised > _NEGLIGIBLE_FALL) & (state.promised < _LARGEST_NEWTON_FALL)
        return (state.count == 0) | (jnp.any(unfinished) & (state.count < _MAX_NEWTON_STEPS))

    eta = _descend(evaluate, eta)
    shapes = jax.eval_shape(evaluate_jet_at, eta)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = _ModeRefinement(eta, blank, jnp.zeros_like(eta), jnp.zeros(eta.shape[1]), jnp.array(0))
    last = jax.lax.while_loop(may_improve, take_newton_step, start)
    converged = (last.promised < _ACCEPTED_FALL) & (last.jet.result == 0)
    return ConditionalModes(last.eta, last.jet, jet_at_zero, converged)


def _descend(evaluate: Callable[[jax.Array], tuple[jax.Array, ...]], eta: jax.Array) -> jax.Array:
    """η (q, N) near the modes, by damped Gauss–Newton with `evaluate(η)` → value (N,), gradient (q, N), Hessian (q, q, N)."""
    q, n = eta.shape

    def step(state: _ModeDescent) -> _ModeDescent:
        # `evaluate` holds the solver, and stands here alone: each pass evaluates the trial that the last one proposed.
        value, gradient, hessian = evaluate(state.trial)
        better = jnp.isfinite(value) & (value <= state.value) & ~state.done
        # Nielsen 1999: damping follows the part of the promised fall that came. The expected Hessian can be far from
        # the true one, and a fixed schedule then swings between too much damping and too little, for ever.
        gain = (state.value - value) / state.promised
        eased = state.damping * jnp.clip(1 - (2 * gain - 1) ** 3, 0.1, 2.0)
        damping = jnp.where(better, eased, jnp.maximum(state.damping, 1e-3) * state.damping_growth)
        growth = jnp.where(better, 2.0, state.damping_growth * 2)
        eta, value, gradient, hessian = (
            jnp.where(better, new, old)
            for new, old in zip(
                (state.trial, value, gradient, hessian),
                (state.eta, state.value, state.gradient, state.hessian),
                strict=True,
            )
        )
        damped = hessian + damping * jnp.eye(q)[:, :, None] * jnp.einsum("iin->in", hessian)[None]
        move = -jax.vmap(jnp.linalg.solve, in_axes=-1, out_axes=-1)(damped, gradient)
        slope = jnp.sum(gradient * move, axis=0)
        promised = -slope - 0.5 * jnp.einsum("in,ijn,jn->n", move, hessian, move)
        done = state.done | (jnp.isfinite(value) & (-slope < _HANDOVER_FALL))
        trial = eta + jnp.where(done, 0.0, move)
        return _ModeDescent(eta, value, gradient, hessian, trial, promised, damping, growth, done, state.count + 1)

    # No value yet, and no move: whatever the first trial gives is better, and a start without a value falls back to η = 0.
    identity, zero = jnp.broadcast_to(jnp.eye(q)[:, :, None], (q, q, n)), jnp.zeros(n)
    unevaluated = (jnp.zeros_like(eta), jnp.full(n, jnp.inf), jnp.zeros_like(eta), identity)
    start = _ModeDescent(*unevaluated, eta, zero, zero, jnp.full(n, 2.0), zero.astype(bool), jnp.array(0))
    return jax.lax.while_loop(lambda s: ~jnp.all(s.done) & (s.count < _MAX_DAMPED_STEPS), step, start).eta


def _newton_step(
    likelihood: SubjectLikelihood, unconstrained: jax.Array, eta: jax.Array, subjects: SubjectArrays
) -> tuple[jax.Array, jax.Array]:
    """An exact Newton step where it is safe, else none; and the fall it promises, ∞ where the Hessian is not positive."""

    def one(e, s):
        gradient = jax.grad(likelihood.joint_minus2ll, argnums=1)(unconstrained, e, s)
        hessian = jax.hessian(likelihood.joint_minus2ll, argnums=1)(unconstrained, e, s)
        step = -jnp.linalg.solve(hessian, gradient)
        promised = jnp.where(jnp.all(jnp.linalg.eigvalsh(hessian) > 0), -gradient @ step, jnp.inf)
        return jnp.where(promised < _LARGEST_NEWTON_FALL, step, 0.0), promised

    return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subjects)
