"""The inner problem: every subject's most probable η at given population parameters (the EBEs).

Damped Gauss–Newton for all subjects at once, each with its own damping, which converges linearly; then exact Newton steps
from second-order jets, each of which squares the error that is left: two, as a rule. Deterministic; warm-started by η.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from pbpk.likelihood.prediction_jets import Jet, first_order, second_order
from pbpk.likelihood.subject import Subject, Terms, each_subject

if TYPE_CHECKING:
    from pbpk.likelihood.problem import Problem

_ENOUGH = 1e-5  # predicted further fall of −2 log p, at which the Newton steps take over
_NEAR = 1e-2  # the fall that an exact Newton step may promise: about a tenth of the posterior's own spread
_LEFT = 1e-6  # what it may still promise at the end, where the mode counts as found
_EXACT = 1e-16  # below which another Newton step changes nothing that can be seen
_MOST, _STEPS = 100, 12


class Modes(NamedTuple):
    """η (q, N), the second-order jet there, the same at η = 0 without interaction, and whether each mode was found."""

    eta: jax.Array
    jet: Jet
    zero: Jet | None
    found: jax.Array


class _Polish(NamedTuple):
    """η, its jet, the Newton step from there, the fall it promises, and how many points have been measured."""

    eta: jax.Array
    jet: Jet
    step: jax.Array
    promised: jax.Array
    count: jax.Array


class _Loop(NamedTuple):
    """The best η so far with what was measured there, and the next one to try."""

    eta: jax.Array
    value: jax.Array
    gradient: jax.Array
    hessian: jax.Array
    trial: jax.Array
    promised: jax.Array
    damping: jax.Array
    harsher: jax.Array
    done: jax.Array
    count: jax.Array


def conditional_modes(problem: Problem, psi: jax.Array, eta: jax.Array, interaction: bool) -> Modes:
    """Minimise −2 log p(y, η) over η for each subject, from `eta` (q, N), or from 0 where that has no finite value."""
    theta, _, _ = problem.unpack(psi)
    terms = Terms(problem.spec, jnp.asarray(problem.initial), interaction)
    zero = None if interaction else second_order(problem, problem.mixed(theta, jnp.zeros_like(eta)))
    q, n = eta.shape

    def measure(eta):
        """Value, gradient and expected Hessian at η; first derivatives of f are enough for these."""
        jet = first_order(problem, problem.mixed(theta, eta))

        def one(e, s):
            value, gradient = jax.value_and_grad(terms.joint, argnums=1)(psi, e, s)
            return value, gradient, 2 * terms.information(psi, e, s)

        return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, each_subject(problem, jet, zero))

    def body(loop: _Loop) -> _Loop:
        # The solver appears here alone: each pass measures the trial that the last one proposed.
        value, gradient, hessian = measure(loop.trial)
        better = jnp.isfinite(value) & (value <= loop.value) & ~loop.done
        # Nielsen 1999: damping follows the part of the promised fall that came. The expected Hessian can be far from
        # the true one, and a fixed schedule then swings between too much damping and too little, for ever.
        kept = (loop.value - value) / loop.promised
        eased = loop.damping * jnp.clip(1 - (2 * kept - 1) ** 3, 0.1, 2.0)
        damping = jnp.where(better, eased, jnp.maximum(loop.damping, 1e-3) * loop.harsher)
        harsher = jnp.where(better, 2.0, loop.harsher * 2)
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
        done = loop.done | (jnp.isfinite(value) & (-slope < _ENOUGH))
        trial = eta + jnp.where(done, 0.0, move)
        return _Loop(eta, value, gradient, hessian, trial, promised, damping, harsher, done, loop.count + 1)

    identity = jnp.broadcast_to(jnp.eye(q)[:, :, None], (q, q, n))
    nothing = (jnp.zeros_like(eta), jnp.full(n, jnp.inf), jnp.zeros_like(eta), identity)
    none = jnp.zeros(n)
    start = _Loop(*nothing, eta, none, none, jnp.full(n, 2.0), none.astype(bool), jnp.array(0))
    loop = jax.lax.while_loop(lambda s: ~jnp.all(s.done) & (s.count < _MOST), body, start)

    def polish(now: _Polish) -> _Polish:
        eta = now.eta + now.step
        jet = second_order(problem, problem.mixed(theta, eta))
        return _Polish(eta, jet, *_newton(terms, psi, eta, each_subject(problem, jet, zero)), now.count + 1)

    def more(now: _Polish) -> jax.Array:
        """A flat mode, whose Hessian is nearly singular, takes more than the usual two steps."""
        open_ = (now.promised > _EXACT) & (now.promised < _NEAR)
        return (now.count == 0) | (jnp.any(open_) & (now.count < _STEPS))

    shapes = jax.eval_shape(lambda e: second_order(problem, problem.mixed(theta, e)), eta)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    last = jax.lax.while_loop(more, polish, _Polish(loop.eta, blank, jnp.zeros_like(eta), none, jnp.array(0)))
    return Modes(last.eta, last.jet, zero, (last.promised < _LEFT) & (last.jet.result == 0))


def _newton(terms: Terms, psi: jax.Array, eta: jax.Array, subjects: Subject) -> tuple[jax.Array, jax.Array]:
    """An exact Newton step where it is safe, else none; and the fall it promises, ∞ where the Hessian is not positive."""

    def one(e, s):
        gradient = jax.grad(terms.joint, argnums=1)(psi, e, s)
        hessian = jax.hessian(terms.joint, argnums=1)(psi, e, s)
        step = -jnp.linalg.solve(hessian, gradient)
        promised = jnp.where(jnp.all(jnp.linalg.eigvalsh(hessian) > 0), -gradient @ step, jnp.inf)
        return jnp.where(promised < _NEAR, step, 0.0), promised

    return jax.vmap(one, in_axes=-1, out_axes=-1)(eta, subjects)
