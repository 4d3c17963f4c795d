"""The inner problem: every subject's most probable η at given population parameters (the EBEs).

Damped Gauss–Newton for all subjects at once, each with its own damping, which converges linearly; then exact Newton steps
from second-order jets, each of which squares the error that is left: two, as a rule. Deterministic; warm-started by η.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.likelihood.prediction_jets import PredictionJet, first_order_jet, second_order_jet
from pbpk.likelihood.subject import SubjectArrays, SubjectLikelihood, subject_arrays

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_HANDOVER_FALL = 1e-5  # predicted further fall of −2 log p, at which the Newton steps take over
_LARGEST_NEWTON_FALL = (
    1e-2  # the fall that an exact Newton step may promise: about a tenth of the posterior's own spread
)
_ACCEPTED_FALL = 1e-6  # what it may still promise at the end, where the mode counts as found
_NEGLIGIBLE_FALL = 1e-16  # below which another Newton step changes nothing that can be seen
_MAX_DAMPED_STEPS, _MAX_NEWTON_STEPS = 100, 12


class ConditionalModes(NamedTuple):
    """η (q, N), the second-order jet there, the same at η = 0 without interaction, and whether each mode was found."""

    eta: jax.Array
    jet: PredictionJet
    jet_at_zero: PredictionJet | None
    converged: jax.Array


class _NewtonState(NamedTuple):
    """η, its jet, the Newton step from there, the fall it promises, and how many points have been measured."""

    eta: jax.Array
    jet: PredictionJet
    step: jax.Array
    promised: jax.Array
    count: jax.Array


class _DampedState(NamedTuple):
    """The best η so far with what was measured there, and the next one to try."""

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


def find_conditional_modes(problem: Problem, psi: jax.Array, eta: jax.Array, interaction: bool) -> ConditionalModes:
    """Minimise −2 log p(y, η) over η for each subject, from `eta` (q, N), or from 0 where that has no finite value."""
    theta, _, _ = problem.unpack(psi)
    terms = SubjectLikelihood(problem.structure, jnp.asarray(problem.initial), interaction)
    zero = None if interaction else second_order_jet(problem, problem.individual_parameters(theta, jnp.zeros_like(eta)))
    q, n = eta.shape

    def measure(eta):
        """Value, gradient and expected Hessian at η; first derivatives of f are enough for these."""
        jet = first_order_jet(problem, problem.individual_parameters(theta, eta))

        def one(e, s):
            value, gradient = jax.value_and_grad(terms.joint_minus2ll, argnums=1)(psi, e, s)
            return value, gradient, 2 * terms.information(psi, e, s)

        return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subject_arrays(problem, jet, zero))

    def body(loop: _DampedState) -> _DampedState:
        # The solver appears here alone: each pass measures the trial that the last one proposed.
        value, gradient, hessian = measure(loop.trial)
        better = jnp.isfinite(value) & (value <= loop.value) & ~loop.done
        # Nielsen 1999: damping follows the part of the promised fall that came. The expected Hessian can be far from
        # the true one, and a fixed schedule then swings between too much damping and too little, for ever.
        kept = (loop.value - value) / loop.promised
        eased = loop.damping * jnp.clip(1 - (2 * kept - 1) ** 3, 0.1, 2.0)
        damping = jnp.where(better, eased, jnp.maximum(loop.damping, 1e-3) * loop.damping_growth)
        harsher = jnp.where(better, 2.0, loop.damping_growth * 2)
        eta, value, gradient, hessian = (
            jnp.where(better, new, old)
            for new, old in zip(
                (loop.trial, value, gradient, hessian),
                (loop.eta, loop.value, loop.gradient, loop.hessian),
                strict=True,
            )
        )
        damped = hessian + damping * jnp.eye(q)[:, :, None] * jnp.einsum("iin->in", hessian)[None]
        move = -jax.vmap(jnp.linalg.solve, in_axes=-1, out_axes=-1)(damped, gradient)
        slope = jnp.sum(gradient * move, axis=0)
        promised = -slope - 0.5 * jnp.einsum("in,ijn,jn->n", move, hessian, move)
        done = loop.done | (jnp.isfinite(value) & (-slope < _HANDOVER_FALL))
        trial = eta + jnp.where(done, 0.0, move)
        return _DampedState(eta, value, gradient, hessian, trial, promised, damping, harsher, done, loop.count + 1)

    identity = jnp.broadcast_to(jnp.eye(q)[:, :, None], (q, q, n))
    nothing = (jnp.zeros_like(eta), jnp.full(n, jnp.inf), jnp.zeros_like(eta), identity)
    none = jnp.zeros(n)
    start = _DampedState(*nothing, eta, none, none, jnp.full(n, 2.0), none.astype(bool), jnp.array(0))
    loop = jax.lax.while_loop(lambda s: ~jnp.all(s.done) & (s.count < _MAX_DAMPED_STEPS), body, start)

    def polish(now: _NewtonState) -> _NewtonState:
        eta = now.eta + now.step
        jet = second_order_jet(problem, problem.individual_parameters(theta, eta))
        return _NewtonState(eta, jet, *_newton_step(terms, psi, eta, subject_arrays(problem, jet, zero)), now.count + 1)

    def more(now: _NewtonState) -> jax.Array:
        """A flat mode, whose Hessian is nearly singular, takes more than the usual two steps."""
        open_ = (now.promised > _NEGLIGIBLE_FALL) & (now.promised < _LARGEST_NEWTON_FALL)
        return (now.count == 0) | (jnp.any(open_) & (now.count < _MAX_NEWTON_STEPS))

    shapes = jax.eval_shape(lambda e: second_order_jet(problem, problem.individual_parameters(theta, e)), eta)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    last = jax.lax.while_loop(more, polish, _NewtonState(loop.eta, blank, jnp.zeros_like(eta), none, jnp.array(0)))
    return ConditionalModes(last.eta, last.jet, zero, (last.promised < _ACCEPTED_FALL) & (last.jet.result == 0))


def _newton_step(
    terms: SubjectLikelihood, psi: jax.Array, eta: jax.Array, subjects: SubjectArrays
) -> tuple[jax.Array, jax.Array]:
    """An exact Newton step where it is safe, else none; and the fall it promises, ∞ where the Hessian is not positive."""

    def one(e, s):
        gradient = jax.grad(terms.joint_minus2ll, argnums=1)(psi, e, s)
        hessian = jax.hessian(terms.joint_minus2ll, argnums=1)(psi, e, s)
        step = -jnp.linalg.solve(hessian, gradient)
        promised = jnp.where(jnp.all(jnp.linalg.eigvalsh(hessian) > 0), -gradient @ step, jnp.inf)
        return jnp.where(promised < _LARGEST_NEWTON_FALL, step, 0.0), promised

    return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subjects)
