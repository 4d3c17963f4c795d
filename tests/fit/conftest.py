"""Studies written for one test, and fits that stop at the estimates."""

import numpy as np
import pytest

from pbpk.fit.study import load_study


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    """A study's folder from the text of fit.toml and the lines of its data: `write(text, "ID,TIME…", "1,0,…")`."""

    def write(text, *lines):
        folder = tmp_path_factory.mktemp("study")
        (folder / "fit.toml").write_text(text)
        (folder / "data.csv").write_text("\n".join(lines) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def make(write):
    """The same, loaded."""
    return lambda text, *lines, **how: load_study(write(text, *lines), **how)


@pytest.fixture(scope="session")
def evaluate():
    """An evaluation on the host, from η = 0."""

    def evaluate(method, problem, psi=None, eta=None):
        psi = problem.psi0 if psi is None else psi
        eta = np.zeros((len(problem.spec.layout.etas), problem.subjects)) if eta is None else eta
        return type(found := method.evaluate(problem, psi, eta))(*(np.asarray(x) for x in found))

    return evaluate


@pytest.fixture(scope="session")
def minimise():
    """The final state of a method on a problem, without standard errors."""

    def minimise(method, problem):
        state = method.init(problem)
        while not state.finished:
            state, _ = method.step(problem, state)
        return state

    return minimise
