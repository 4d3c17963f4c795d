"""Single precision, which GPUs prefer: a solver computes in the dtype of the parameters, and is as right as that allows."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from truth import exponentials

from pbpk.model import OUT, Block, Compartment, conc, flow, flux, saturable
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.contour import Contour
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

SIZE = 5
EDGES = [(0, i) for i in range(1, SIZE)] + [(i, 0) for i in range(1, SIZE)] + [(i, SIZE) for i in range(SIZE)]
TIMES = np.array([0.3, 1.0, 2.5, 3.0, 8.0, 24.0])
LINEAR = {
    "resolvent": Resolvent(),
    "contour": Contour(),
    "rodas5p": Rosenbrock(rtol=1e-6),
    "rodas4": Rosenbrock("rodas4", rtol=1e-6),
}


@pytest.fixture(scope="module")
def rates():
    return 10 ** np.random.default_rng(0).uniform(-2, 1.5, (len(EDGES), 16))


@pytest.fixture(scope="module")
def records(dose, seen):
    return sorted([dose(0, 10, "c0"), dose(1, 6, "c1", RATE=3.0), *seen(*TIMES)], key=lambda r: r["TIME"])


@pytest.fixture(scope="module")
def truth(rates):
    """Amounts and integrals (2, T, n, N) after 10 into c0 at 0 and 3 an hour into c1 from 1 to 3 h."""

    def at(k, t):
        out = np.array(exponentials(SIZE, EDGES, k, t)[:2])[:, :, 0] * 10
        for since, sign in ((t - 1.0, 3.0), (t - 3.0, -3.0)):
            if since > 0:
                out += sign * np.array(exponentials(SIZE, EDGES, k, since)[1:])[:, :, 1]
        return out

    return np.moveaxis(np.array([[at(k, t) for t in TIMES] for k in rates.T]), (0, 1, 2), (3, 1, 0))


@pytest.mark.parametrize("name", list(LINEAR))
def test_linear_models(lanes, graph, records, rates, truth, name):
    """Within 2e-5 of what was given, and OK: a tolerance below the precision is not asked for."""
    system = graph(SIZE, EDGES)
    amounts, areas, result = lanes(system, records, rates.astype(np.float32), LINEAR[name], integrals=True)
    assert amounts.dtype == areas.dtype == np.float32
    assert (result == ResultCode.OK).all()
    error = np.abs(amounts - truth[0]).max() / 16
    assert error < 2e-5
    assert (np.abs(areas - truth[1]) / TIMES[:, None, None]).max() / 16 < 2e-5
    assert error > 1e-9  # it is not double precision that was tested


body, tissue = Compartment("body", "mg", volume="V"), Compartment("tissue", "mg", volume="VT")
bent = build_system(
    Block(
        (body, tissue),
        (
            flux(body >> tissue, flow, c=conc(body), q="Q"),
            flux(tissue >> body, flow, c=conc(tissue), q="Q"),
            flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),
        ),
    )
)


@pytest.mark.parametrize(
    "solver", [Rosenbrock(rtol=1e-5), Rosenbrock(rtol=1e-4, grid=(0.02, 20.0))], ids=["own", "grid"]
)
def test_a_saturable_model(lanes, dose, seen, solver):
    values = {"V": 5.0, "VT": 9.0, "Q": 2.0, "VM": 9.0, "KM": 3.0}
    p = np.array([[values[name]] for name in bent.parameter_names])
    records = [dose(0, 100, "body"), *seen(*TIMES)]
    single, _, result = lanes(bent, records, p.astype(np.float32), solver)
    double, _, _ = lanes(bent, records, p, Rosenbrock(rtol=1e-10, atol=1e-13))
    assert single.dtype == np.float32
    assert result[0] == ResultCode.OK
    assert 1e-9 < np.abs(single - double).max() / 100 < 1e-4


@pytest.mark.parametrize("name", ["resolvent", "rodas5p"])
def test_gradients(graph, records, rates, name):
    """In the same precision, and near those in double precision."""
    system, timeline = graph(SIZE, EDGES), build_timeline([pd.DataFrame(records)], graph(SIZE, EDGES))
    solver = LINEAR[name]
    slope = jax.jit(jax.grad(lambda p: jnp.sum(solver.solve(system, timeline, p[None]).amounts[: len(TIMES)] ** 2)))
    single, double = slope(jnp.asarray(rates, jnp.float32)), slope(jnp.asarray(rates))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, atol=1e-3 * np.abs(double).max())
