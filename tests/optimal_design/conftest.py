"""One small oral study for all of these tests, and its information by a closed form that shares nothing with the engine."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from pbpk.study.load import load_study

STUDY = """
model = "oral_one_compartment"
data = {{ file = "data.csv", observable = "cp", dose_into = "depot" }}
[parameters]
CL = {{ initial = 0.15, iiv = 0.07 }}
V = {{ initial = 8.0, iiv = 0.02 }}
KA = {{ initial = 1.0, iiv = 0.6 }}
[error.cp]
model = "combined2"
prop = 0.1
add = {add}
fixed = ["add"]
{more}
"""
ADD = 0.001**0.5
PLANNED = ("ID,TIME,AMT", "1,0,70", "1,1,", "1,4,", "1,8,")


@pytest.fixture(scope="session")
def planned(tmp_path_factory):
    """`planned(*lines, more="…")`: a study's folder whose data are those lines (default: one subject, at 1, 4 and 8 h)."""

    def write(*lines, text=STUDY, more=""):
        folder = tmp_path_factory.mktemp("planned")
        (folder / "fit.toml").write_text(text.format(add=ADD, more=more))
        (folder / "data.csv").write_text("\n".join(lines or PLANNED) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def oral(planned):
    return load_study(planned(), planned=True)


class Oral:
    """f = D·KA/(V·KA − CL)·(exp(−CL t/V) − exp(−KA t)) with log-normal η: E, A and their derivatives by sympy."""

    def __init__(self):
        cl, v, ka, t, dose = symbols = sympy.symbols("cl v ka t dose", positive=True)
        f = dose * ka / (v * ka - cl) * (sympy.exp(-cl / v * t) - sympy.exp(-ka * t))
        theta = (cl, v, ka)
        a = [x * f.diff(x) for x in theta]
        self.f = sympy.lambdify(symbols, f)
        self.g = sympy.lambdify(symbols, [f.diff(x) for x in theta])
        self.a = sympy.lambdify(symbols, a)
        self.da = sympy.lambdify(symbols, [[row.diff(x) for x in theta] for row in a])

    def information(
        self, times, *, theta=(0.15, 8.0, 1.0), omega=(0.07, 0.02, 0.6), s2=0.01, add2=0.001, dose=70.0, form="reduced"
    ):
        """(7, 7) on CL, V, KA, their variances and the proportional variance."""
        theta, omega, s2, add2 = (0.15, 8.0, 1.0), (0.07, 0.02, 0.6), 0.01, 0.001
        t = np.asarray(times, float)
        values = [
            np.array(x, float) for x in (self.g(*theta, t, dose), self.a(*theta, t, dose), self.da(*theta, t, dose))
        ]
        g, a, da = values
        f = self.f(*theta, t, dose)
        v = a.T @ np.diag(omega) @ a + np.diag(s2 * f**2 + add2)
        inverse = np.linalg.inv(v)
        slopes = []
        for k in range(3):
            both = sum(w * (np.outer(da[i, k], a[i]) + np.outer(a[i], da[i, k])) for i, w in enumerate(omega))
            slopes.append((both + np.diag(2 * s2 * f * g[k])) * (form == "full"))
        slopes += [np.outer(x, x) for x in a] + [np.diag(f**2)]
        m = np.zeros((7, 7))
        m[:3, :3] = g @ inverse @ g.T
        return m + 0.5 * np.array([[np.trace(inverse @ x @ inverse @ y) for y in slopes] for x in slopes])


@pytest.fixture(scope="session")
def closed():
    return Oral()
