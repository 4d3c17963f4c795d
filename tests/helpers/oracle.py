"""The objectives of FO, FOCE, FOCEI and MAP in NumPy, from their definitions, with predictions in closed form.

Nothing of pbpk is used: derivatives are finite differences, modes are SciPy's. Slow, short and independent. Random effects
are z with η = Lz, LL' = Ω, so that steps of difference quotients fit every scale and ln|Ω| never appears.
"""

import numpy as np
from scipy.optimize import minimize


def slopes(function, x, h=1e-3):
    """∂f/∂x, one column per entry of x, right to h⁴."""
    steps = h * np.eye(len(x))
    ends = [[np.asarray(function(x + k * s)) for k in (-2, -1, 1, 2)] for s in steps]
    return np.stack([(a - 8 * b + 8 * c - d) / (12 * h) for a, b, c, d in ends], axis=-1)


def subject_objective(method, y, predict, variance, omega):
    """One subject's −2 log-likelihood without n·ln 2π; f = predict(η), R = variance(f)."""
    root = np.linalg.cholesky(omega)
    at_zero = variance(predict(np.zeros(len(root))))

    def f(z):
        return predict(root @ z)

    def r(z):
        return at_zero if method == "foce" else variance(f(z))

    def joint(z):
        return np.sum(np.log(r(z)) + (y - f(z)) ** 2 / r(z)) + z @ z

    zero = np.zeros(len(root))
    if method == "fo":
        a = slopes(f, zero)
        v = a @ a.T + np.diag(at_zero)
        residual = y - f(zero)
        return np.linalg.slogdet(v)[1] + residual @ np.linalg.solve(v, residual)
    z = minimize(joint, zero, jac=lambda x: slopes(joint, x), method="BFGS", options={"gtol": 1e-8}).x
    assert np.abs(slopes(joint, z)).max() < 1e-6
    if method == "map":
        return joint(z) + np.linalg.slogdet(omega)[1]
    a = slopes(f, z)
    information = np.eye(len(z)) + a.T @ (a / r(z)[:, None])
    if method == "focei":
        c = slopes(lambda x: np.log(r(x)), z)
        information += 0.5 * c.T @ c
    return joint(z) + np.linalg.slogdet(information)[1]


def bolus(t, doses, CL, V):
    """One compartment; `doses` are (time, amount)."""
    return sum(d / V * np.exp(-CL / V * np.maximum(t - s, 0)) * (t >= s) for s, d in doses)


def oral(t, doses, KA, CL, V):
    """One compartment with first-order absorption."""
    k = CL / V
    waited = [(np.maximum(t - s, 0), d) for s, d in doses]
    return sum(d * KA / (V * (KA - k)) * (np.exp(-k * u) - np.exp(-KA * u)) for u, d in waited)


def biexponential(t, dose, CL, V1, Q, V2):
    """Central and peripheral concentration after one bolus at 0."""
    k10, k12, k21 = CL / V1, Q / V1, Q / V2
    total, product = k10 + k12 + k21, k10 * k21
    fast = (total + np.sqrt(total**2 - 4 * product)) / 2
    slow = product / fast
    central = dose / V1 * ((fast - k21) * np.exp(-fast * t) + (k21 - slow) * np.exp(-slow * t)) / (fast - slow)
    peripheral = dose / V2 * k12 * (np.exp(-slow * t) - np.exp(-fast * t)) / (fast - slow)
    return central, peripheral
