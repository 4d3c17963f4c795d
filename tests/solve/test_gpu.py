"""The same program on a CUDA device: equal to the processor's within 1e-9 of the amount present. Skips without one."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from pbpk.model import OUT, Block, Compartment, conc, first_order, flux, saturable
from pbpk.model.declare import amount
from pbpk.model.system import build_system
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline


def _devices() -> list:
    try:
        return jax.devices("cuda")
    except RuntimeError:
        return []


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _devices(), reason="no CUDA device: JAX finds none on this machine"),
]


@pytest.mark.parametrize(
    ("solver", "law"), [(Resolvent(), "linear"), (Rosenbrock(), "saturable")], ids=["resolvent", "rosenbrock"]
)
def test_amounts_and_gradients_equal_those_of_the_processor(dose, seen, solver, law):
    gut, body = Compartment("gut", "mg"), Compartment("body", "mg", volume="V")
    if law == "linear":
        loss = flux(body >> OUT, first_order, a=amount(body), k="K")
    else:
        loss = flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM")
    system = build_system(Block((gut, body), (flux(gut >> body, first_order, a=amount(gut), k="KA"), loss)), ("V",))
    timeline = build_timeline([pd.DataFrame([dose(0, 100, "gut", ADDL=2, II=8.0), *seen(0.5, 3, 9, 20, 40)])], system)
    p = jnp.asarray(np.random.default_rng(0).uniform(0.3, 2.0, (1, len(system.parameter_names), 64)))

    def total(q):
        found = solver.solve(system, timeline, q)
        return jnp.sum(found.amounts**2), found

    run = jax.jit(jax.grad(total, has_aux=True))
    here, there = (run(jax.device_put(p, d)) for d in (jax.devices("cpu")[0], _devices()[0]))
    np.testing.assert_array_equal(here[1].result, there[1].result)
    np.testing.assert_allclose(here[1].amounts, there[1].amounts, atol=1e-9 * 300, rtol=0)
    np.testing.assert_allclose(here[0], there[0], rtol=1e-8, atol=1e-9 * float(jnp.abs(here[0]).max()))
