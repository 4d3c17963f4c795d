"""Pharmacodynamic models with production and feedback against SciPy's LSODA: dosed once, by ADDL, at steady state, with resets.

Each right-hand side is written twice: as arrows and laws, and as plain derivatives. All patients of a system differ in their
records alone and are solved by one program.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, zero_order
from pbpk.model.system import build_system
from pbpk.results import ResultCode
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock
from pbpk.solve.timeline import build_timeline

P = {
    **{"KA": 0.9, "V": 12.0, "KEL": 0.18},
    **{"KIN": 4.0, "KOUT": 0.35, "IMAX": 0.9, "IC50": 1.5, "SMAX": 3.0},
    **{"KE0": 0.4, "INDUCE": 2.5, "KENZ": 0.06, "CLI": 1.1},
    **{"KTR": 0.08, "BASE": 5.0, "GAMMA": 0.17, "SLOPE": 0.05},
    **{"KSYN": 1.2, "KDEG": 0.3, "KINT": 0.12, "KSS": 0.8},
    **{"KB": 0.25, "KG": 0.15, "K10": 0.2},
}


def mg(name, **roles):
    return Compartment(name, "mg", **roles)


# --- responses that have a steady state ---------------------------------------------------------------------------------

depot, central, effect = mg("depot"), mg("central", volume="V"), mg("effect")
responses = [mg(f"response{i}") for i in range(1, 5)]
induced, enzyme = mg("induced", volume="V"), mg("enzyme", initial="ONE")
cells = [mg(name, initial="BASE") for name in ("prol", "transit1", "transit2", "transit3", "circ")]
drug, receptor = mg("drug", volume="V"), mg("receptor")
bile, body, gut = mg("bile"), mg("body"), mg("gut")


def inhibited(c, rate, imax, ic50):
    return rate * (1 - imax * c / (ic50 + c))


def stimulated(c, rate, smax, ic50):
    return rate * (1 + smax * c / (ic50 + c))


def inhibited_loss(a, c, k, imax, ic50):
    return k * a * (1 - imax * c / (ic50 + c))


def stimulated_loss(a, c, k, smax, ic50):
    return k * a * (1 + smax * c / (ic50 + c))


def driven(c, v, k):
    return k * c * v


def induced_clearance(c, e, one, cl):
    return cl * c * e / one


def feedback(prol, circ, c, ktr, base, gamma, slope):
    return ktr * prol * (1 - slope * c) * (base / circ) ** gamma


def free(c, r, kss):
    """Free concentration of the quasi-steady-state model of target-mediated disposition, from totals."""
    b = c - r - kss
    return 0.5 * (b + (b * b + 4 * kss * c) ** 0.5)


def drug_loss(c, r, v, kel, kint, kss):
    f = free(c, r / v, kss)
    return (kel * f + kint * (c - f)) * v


def receptor_loss(c, r, v, kdeg, kint, kss):
    f = free(c, r / v, kss)
    return kdeg * r + (kint - kdeg) * r * f / (kss + f)


def first(a, b, k):
    return flux(a >> b, first_order, a=amount(a), k=k)


DRIVE = {"c": conc(central), "ic50": "IC50"}
responding = build_system(
    Block(
        (depot, central, effect, *responses, induced, enzyme, *cells, drug, receptor, bile, body, gut),
        (
            first(depot, central, "KA"),
            first(central, OUT, "KEL"),
            flux(OUT >> effect, driven, c=conc(central), v="V", k="KE0"),
            first(effect, OUT, "KE0"),
            flux(OUT >> responses[0], inhibited, rate="KIN", imax="IMAX", **DRIVE),
            flux(OUT >> responses[1], zero_order, rate="KIN"),
            flux(OUT >> responses[2], stimulated, rate="KIN", smax="SMAX", **DRIVE),
            flux(OUT >> responses[3], zero_order, rate="KIN"),
            first(responses[0], OUT, "KOUT"),
            flux(responses[1] >> OUT, inhibited_loss, a=amount(responses[1]), k="KOUT", imax="IMAX", **DRIVE),
            first(responses[2], OUT, "KOUT"),
            flux(responses[3] >> OUT, stimulated_loss, a=amount(responses[3]), k="KOUT", smax="SMAX", **DRIVE),
            flux(induced >> OUT, induced_clearance, c=conc(induced), e=amount(enzyme), one="ONE", cl="CLI"),
            flux(OUT >> enzyme, stimulated, c=conc(induced), rate="KENZ1", smax="INDUCE", ic50="IC50"),
            first(enzyme, OUT, "KENZ"),
            flux(
                OUT >> cells[0],
                feedback,
                prol=amount(cells[0]),
                circ=amount(cells[4]),
                c=conc(central),
                ktr="KTR",
                base="BASE",
                gamma="GAMMA",
                slope="SLOPE",
            ),
            *(first(a, b, "KTR") for a, b in zip(cells, [*cells[1:], OUT], strict=True)),
            flux(drug >> OUT, drug_loss, c=conc(drug), r=amount(receptor), v="V", kel="KEL", kint="KINT", kss="KSS"),
            flux(OUT >> receptor, zero_order, rate="KSYN"),
            flux(
                receptor >> OUT,
                receptor_loss,
                c=conc(drug),
                r=amount(receptor),
                v="V",
                kdeg="KDEG",
                kint="KINT",
                kss="KSS",
            ),
            *(first(body, bile, "KB"), first(bile, gut, "KG"), first(gut, body, "KA"), first(body, OUT, "K10")),
        ),
    )
)
P |= {"ONE": 1.0, "KENZ1": P["KENZ"]}


def respond(t, y, p=P):
    """The same as derivatives."""
    (a, c, e, r1, r2, r3, r4, i, z, pr, t1, t2, t3, ci, d, r, bi, bo, gu), v = y, p["V"]
    down = 1 - p["IMAX"] * (c / v) / (p["IC50"] + c / v)
    up = 1 + p["SMAX"] * (c / v) / (p["IC50"] + c / v)
    induction = 1 + p["INDUCE"] * (i / v) / (p["IC50"] + i / v)
    b = d / v - r / v - p["KSS"]
    f = 0.5 * (b + np.sqrt(b * b + 4 * p["KSS"] * d / v))
    ktr = p["KTR"]
    return np.array(
        [
            -p["KA"] * a,
            p["KA"] * a - p["KEL"] * c,
            p["KE0"] * (c - e),
            p["KIN"] * down - p["KOUT"] * r1,
            p["KIN"] - p["KOUT"] * down * r2,
            p["KIN"] * up - p["KOUT"] * r3,
            p["KIN"] - p["KOUT"] * up * r4,
            -p["CLI"] * z * i / v,
            p["KENZ"] * (induction - z),
            ktr * pr * ((1 - p["SLOPE"] * c / v) * (p["BASE"] / ci) ** p["GAMMA"] - 1),
            ktr * (pr - t1),
            ktr * (t1 - t2),
            ktr * (t2 - t3),
            ktr * (t3 - ci),
            -(p["KEL"] * f + p["KINT"] * (d / v - f)) * v,
            p["KSYN"] - p["KDEG"] * r - (p["KINT"] - p["KDEG"]) * r * f / (p["KSS"] + f),
            p["KB"] * bo - p["KG"] * bi,
            p["KA"] * gu - (p["KB"] + p["K10"]) * bo,
            p["KG"] * bi - p["KA"] * gu,
        ]
    )


# --- what grows, and what only adds up ----------------------------------------------------------------------------------

G = {"KEL": 0.1, "V": 5.0, "L0": 0.12, "L1": 0.4, "K2": 0.03, "K1": 0.2, "W0": 0.8, "T0": 2.0, "KG": 0.05, "TMAX": 30.0}
G |= {
    "KILL": 0.08,
    "ONE": 1.0,
    "H0": 0.004,
    "SHAPE": 1.6,
    "BETA": 0.5,
    "BEGIN": 1e-3,
}  # at time 0 itself the slope of t^0.6 is infinite
agent, clock, hazard = mg("agent", volume="V"), mg("clock", initial="BEGIN"), mg("hazard")
damaged = [mg("x1", initial="W0"), mg("x2"), mg("x3"), mg("x4")]
tumour = mg("tumour", initial="T0")


def simeoni(x, x2, x3, x4, l0, l1, one):
    w = x + x2 + x3 + x4
    return l0 * x / (one + (l0 / l1 * w) ** 20.0) ** (one / 20.0)


def kill(a, c, k):
    return k * c * a


def logistic(a, k, most):
    return k * a * (1 - a / most)


def weibull(t, c, h, shape, beta, one):
    """β·C multiplies a Weibull hazard h·k·t^(k − 1); the time is what a clock has filled."""
    return h * shape * t ** (shape - one) * (one + beta * c)


_W = {"x": amount(damaged[0]), "x2": amount(damaged[1]), "x3": amount(damaged[2]), "x4": amount(damaged[3])}
growing = build_system(
    Block(
        (agent, *damaged, tumour, clock, hazard),
        (
            first(agent, OUT, "KEL"),
            flux(OUT >> damaged[0], simeoni, **_W, l0="L0", l1="L1", one="ONE"),
            flux(damaged[0] >> damaged[1], kill, a=amount(damaged[0]), c=conc(agent), k="K2"),
            *(first(a, b, "K1") for a, b in zip(damaged[1:], [*damaged[2:], OUT], strict=True)),
            flux(OUT >> tumour, logistic, a=amount(tumour), k="KG", most="TMAX"),
            flux(tumour >> OUT, kill, a=amount(tumour), c=conc(agent), k="KILL"),
            flux(OUT >> clock, zero_order, rate="ONE"),
            flux(OUT >> hazard, weibull, t=amount(clock), c=conc(agent), h="H0", shape="SHAPE", beta="BETA", one="ONE"),
        ),
    )
)


def grow(t, y, p=G):
    """The same as derivatives."""
    (a, x1, x2, x3, x4, n, s, _), c = y, y[0] / p["V"]
    w = x1 + x2 + x3 + x4
    growth = p["L0"] * x1 / (1 + (p["L0"] / p["L1"] * w) ** 20) ** (1 / 20)
    return np.array(
        [
            -p["KEL"] * a,
            growth - p["K2"] * c * x1,
            p["K2"] * c * x1 - p["K1"] * x2,
            p["K1"] * (x2 - x3),
            p["K1"] * (x3 - x4),
            p["KG"] * n * (1 - n / p["TMAX"]) - p["KILL"] * c * n,
            1.0,
            p["H0"] * p["SHAPE"] * s ** (p["SHAPE"] - 1) * (1 + p["BETA"] * c),
        ]
    )


# --- both ways ----------------------------------------------------------------------------------------------------------


def integrate(derivatives, system, values, doses, at, resets=()):
    """Amounts (T, n) by LSODA, restarted at each dose (time, compartment, amount) and at each reset."""
    start = np.array([values[c.initial] if c.initial else 0.0 for c in system.compartments])
    y, now, out = start.copy(), min([t for t, *_ in doses] + list(at) + [0.0]), []
    stops = sorted({*(t for t, *_ in doses), *at, *resets})
    for stop in stops:
        if stop > now:
            ran = solve_ivp(derivatives, (now, stop), y, method="LSODA", rtol=1e-12, atol=1e-13)
            y, now = ran.y[:, -1], stop
        y = start.copy() if stop in resets else y
        for t, place, size in doses:
            if t == stop:
                y[system.index(place)] += size
        if stop in at:
            out.append(y.copy())
    return np.array(out)


def run(system, subjects, values, solver):
    frames = [pd.DataFrame(sorted(records, key=lambda r: r["TIME"])) for records in subjects]
    p = np.array([np.full(len(frames), values[n]) for n in system.parameter_names])[None]
    timeline = build_timeline(frames, system)
    done = jax.jit(lambda q: solver.solve(system, timeline, q))(jnp.asarray(p))
    amounts = [np.asarray(done.amounts)[: m.sum(), :, i] for i, m in enumerate(timeline.output_mask.T)]
    assert np.asarray(done.result).tolist() == [ResultCode.OK] * len(frames)
    return amounts


TIMES = np.array([0.5, 3.0, 10.0, 23.0, 30.0, 60.0])


def test_responses_dosed_once_by_addl_at_steady_state_and_with_resets(dose, seen):
    places = {"depot": 60.0, "induced": 40.0, "drug": 80.0, "body": 50.0}
    ii, before = 12.0, 250  # doses until the slowest, the cells, have forgotten how they began

    def given(t, **how):
        return [dose(t, size, place, **how) for place, size in places.items()]

    def plain(*times):
        return [(t, place, size) for t in times for place, size in places.items()]

    once = [*given(0.0), *seen(*TIMES)]
    unused = [dose(0.0, 60.0, "depot"), *seen(*TIMES)]  # where the other drugs never come
    repeated = [*given(0.0, ADDL=3, II=ii), *seen(*TIMES)]
    reset = [*given(0.0), dose(20.0, 60.0, "depot", EVID=4), *seen(*TIMES)]
    [s1, *_] = given(0.0, SS=1, II=ii, ADDL=1)
    steady = [s1, *seen(*TIMES)]
    solver = Rosenbrock(rtol=1e-9)
    got = run(responding, [once, repeated, reset, unused, steady], P, solver)
    expected = [
        integrate(respond, responding, P, plain(0.0), TIMES),
        integrate(respond, responding, P, plain(0.0, 12.0, 24.0, 36.0), TIMES),
        integrate(respond, responding, P, [*plain(0.0), (20.0, "depot", 60.0)], TIMES, resets=(20.0,)),
    ]
    expected.append(integrate(respond, responding, P, [(0.0, "depot", 60.0)], TIMES))
    spelt = [(ii * k, "depot", 60.0) for k in range(-before, 2)]
    expected.append(integrate(respond, responding, P, spelt, TIMES))
    for amounts, truth in zip(got, expected, strict=True):
        error = np.abs(amounts - truth).max(axis=0) / np.maximum(np.abs(truth).max(axis=0), 1e-3)
        assert error.max() < 2e-8, dict(zip(responding.names, error, strict=True))


def test_growth_and_hazards(dose, seen):
    records = [dose(0.0, 30.0, "agent", ADDL=2, II=15.0), *seen(*TIMES)]
    again = [dose(0.0, 30.0, "agent"), dose(20.0, 25.0, "agent", EVID=4), *seen(*TIMES)]
    got = run(growing, [records, again], G, Rosenbrock(rtol=1e-9))
    truth = [
        integrate(grow, growing, G, [(t, "agent", 30.0) for t in (0.0, 15.0, 30.0)], TIMES),
        integrate(grow, growing, G, [(0.0, "agent", 30.0), (20.0, "agent", 25.0)], TIMES, resets=(20.0,)),
    ]
    for amounts, expected in zip(got, truth, strict=True):
        np.testing.assert_allclose(amounts, expected, rtol=1e-7, atol=1e-9)


# --- a turnover, in closed form -----------------------------------------------------------------------------------------

pool = mg("pool")
turnover = build_system(Block((pool,), (flux(OUT >> pool, zero_order, rate="KIN"), first(pool, OUT, "KOUT"))))
T = {"KIN": 4.8, "KOUT": 0.35}


@pytest.mark.parametrize("solver", [Resolvent(), Rosenbrock(rtol=1e-9), General("tsit5")], ids=lambda s: s.name)
def test_endogenous_production_at_steady_state(dose, seen, solver):
    """SS = 1: kin/kout and the doses of ever. SS = 2 adds the doses alone: what is produced is there already."""
    replaced = [dose(5.0, 10.0, "pool", SS=1, II=8.0), *seen(5.0, 7.0)]
    added = [*seen(0.0), dose(5.0, 10.0, "pool", SS=2, II=8.0), *seen(5.0, 7.0)]
    one, two = run(turnover, [replaced, added], T, solver)
    level, k = T["KIN"] / T["KOUT"], T["KOUT"]
    doses = 10.0 * np.exp(-k * np.array([0.0, 2.0])) / (1 - np.exp(-8 * k))
    close = 1e-10 if solver.name == "resolvent" else 1e-6
    np.testing.assert_allclose(one[:, 0], level + doses, rtol=close)
    filling = level * (1 - np.exp(-k * np.array([0.0, 5.0, 7.0])))
    np.testing.assert_allclose(two[:, 0], filling + np.array([0.0, *doses]), rtol=close, atol=close)


@pytest.mark.parametrize("solver", [Resolvent(), Rosenbrock(rtol=1e-9)], ids=lambda s: s.name)
def test_its_slope(dose, seen, solver):
    """∂/∂kin of the level is 1/kout, and ∂/∂kout −kin/kout² and the doses' share."""
    timeline = build_timeline([pd.DataFrame([dose(0.0, 10.0, "pool", SS=1, II=8.0), *seen(0.0)])], turnover)

    def amount_at_record(values):
        p = jnp.stack([values["KIN"], values["KOUT"]])[None, :, None]
        order = [turnover.parameter_names.index(n) for n in ("KIN", "KOUT")]
        return solver.solve(turnover, timeline, p[:, np.argsort(order)]).amounts[0, 0, 0]

    slope = jax.grad(amount_at_record)({k: jnp.asarray(v) for k, v in T.items()})
    kin, k = T["KIN"], T["KOUT"]
    e = np.exp(-8 * k)
    np.testing.assert_allclose(slope["KIN"], 1 / k, rtol=1e-8)
    np.testing.assert_allclose(slope["KOUT"], -kin / k**2 - 10 * 8 * e / (1 - e) ** 2, rtol=1e-8)
