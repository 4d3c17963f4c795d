"""The first regimen by gradient: the block in docs/regimen.md, run as it stands with fewer patients, against brute force,
differences, cycles simulated one after another, and fresh patients.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.dosimetry import compartments, dose_over_time, one_cycle
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.dosimetry.effect.sampled import Sampled

pytestmark = pytest.mark.slow(seconds=40)
ROOT = Path(__file__).resolve().parents[2]
PATIENTS = 2_000


def block(page: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    found = [b for b in blocks if "def lagrangian" in b]
    assert len(found) == 1, page
    return found[0]


@pytest.fixture(scope="module")
def ran() -> dict:
    text = block("docs/regimen.md")
    assert "PATIENTS, LIMIT, TIMES = 10_000," in text
    names: dict = {}
    exec(compile(text.replace("10_000", str(PATIENTS)), "docs/regimen.md", "exec"), names)
    return names


def test_it_is_thirty_lines_and_the_same_in_both_places():
    text = block("docs/regimen.md")
    assert len(text.strip().splitlines()) <= 30
    assert max(map(len, text.splitlines())) <= 120
    assert block("README.md") == text


def test_gradients_agree_with_differences(ran):
    """Of the expected gain and of the glands' 95 % quantile, by activity and by interval."""

    def gain(x):
        return ran["outcome"](x, ran["cycle"])[0].mean()

    def burden(x):
        return jnp.quantile(ran["outcome"](x, ran["cycle"])[1], 0.95)

    for at in ([0.0, 1.0], [1.9, 1.9], [2.5, 3.0]):
        for of, step in ((gain, 1e-5), (burden, 1e-7)):  # a quantile has kinks where patients change places
            x = jnp.array(at)
            ours = jax.grad(of)(x)
            differences = [float(of(x.at[i].add(step)) - of(x.at[i].add(-step))) / (2 * step) for i in range(2)]
            np.testing.assert_allclose(ours, differences, rtol=1e-6)


def test_the_optimum_is_that_of_a_grid(ran):
    """Activities 1 % apart and intervals 4 %, with the same patients: none that keeps the limit gains more, and the best
    lies where the gradient led."""
    activity, weeks = np.geomspace(1, 20, 301), np.geomspace(1, 52, 101)

    @jax.jit
    def row(week):
        def at(each):
            lesion, glands = ran["outcome"](jnp.log(jnp.array([each, week])), ran["cycle"])
            return lesion.mean(), (glands > ran["LIMIT"]).mean()

        return jax.lax.map(at, jnp.asarray(activity))

    gain, over = (np.stack(v) for v in zip(*(row(w) for w in weeks), strict=True))
    allowed = np.where(over <= 0.05, gain, -np.inf)
    k, j = np.unravel_index(allowed.argmax(), allowed.shape)
    assert 0 < k < len(weeks) - 1 and 0 < j < len(activity) - 1
    lesion, glands = (np.asarray(v) for v in ran["outcome"](ran["x"], ran["cycle"]))
    assert (glands > ran["LIMIT"]).mean() <= 0.05 + 3 / PATIENTS
    assert allowed[k, j] * (1 - 1e-4) < lesion.mean() < allowed[k, j] * 1.015  # a step of the grid is 1 % of activity
    best_by_week = allowed.max(1)
    near = weeks[best_by_week > best_by_week.max() * (1 - 0.015)]  # the ridge is flat along the interval
    assert near[0] < float(ran["weeks"]) < near[-1] and near[-1] / near[0] < 2
    assert float(ran["activity"]) == pytest.approx(activity[j], rel=0.06)


def test_fresh_patients_keep_the_limit(ran):
    """Within three standard errors, of the patients it was chosen with and of the fresh ones together."""
    share = float((ran["outcome"](ran["x"], ran["draw"](seed=3))[1] > ran["LIMIT"]).mean())
    for over in (float(ran["over"]), share):
        assert abs(over - 0.05) < 3 * np.sqrt(2 * 0.05 * 0.95 / PATIENTS)
    double = ran["x"] + jnp.log(jnp.array([2.0, 1.0]))
    assert (ran["outcome"](double, ran["cycle"])[1] > ran["LIMIT"]).mean() > 0.5


@pytest.fixture(scope="module")
def few(ran):
    """Four patients, their one cycle of 1 MBq/kg, and how to simulate them otherwise."""
    body, tissues = ran["body"], ran["tissues"]
    who = pbpk.virtual_patients(body, 4, seed=1)
    grams = {"salivary_glands": 87.5 / 73 * who.covariates["WT"].to_numpy()}

    def run(regimen, times=ran["TIMES"], **how):
        path = pbpk.simulate(body, regimen, times, patients=who, observe=compartments(body), integrate=True, **how)
        return path, grams, one_cycle(path, tissues, masses=grams)

    return run(pbpk.dose("1 MBq/kg", into="iv"))[2], run


def test_three_cycles_simulated_are_three_times_the_one(ran, few):
    """Doses, dose rate of each cycle, and BED with one protraction for the whole course, what repairs in between included.

    Where seven weeks have left less than the solver's error, the course goes on from one cycle to the next by its tail."""
    one, run = few
    activity, gap, times = 6.5, 7 * 168.0, np.array(ran["TIMES"], float)
    given = pbpk.dose(f"{activity} MBq/kg", into="iv", ii=gap, addl=2)
    path, masses, three = run(given, np.concatenate([k * gap + times for k in range(3)]))
    course = dose_over_time(path, masses=masses, targets=tuple(ran["tissues"]))
    first = dose_over_time(run(pbpk.dose("1 MBq/kg", into="iv"))[0], masses=masses, targets=course.targets)
    alone = dose_over_time(path, masses=masses, targets=["lesion_1"])
    np.testing.assert_allclose(alone.rate("lesion_1"), course.rate("lesion_1"), rtol=1e-12)
    for target, tissue in ran["tissues"].items():
        total, known = three[target], radiobiology(tissue)
        np.testing.assert_allclose(total.alpha, 3 * activity * one[target].alpha, rtol=1e-8)
        rate = np.array(course.rate(target)).reshape(3, len(times), -1)
        np.testing.assert_allclose(rate, np.broadcast_to(rate[:1], rate.shape), atol=1e-7 * rate.max())
        tail = np.asarray(first.sampled(target).tail)
        left = rate[:, -1:] * np.exp(-tail * (gap - times[-1]))
        rate = np.concatenate([rate, left], axis=1)
        time = np.concatenate([k * gap + np.append(times, gap - 1e-9) for k in range(3)])
        whole = Sampled(time, rate.reshape(len(time), -1), tail)
        dose = total.alpha + total.low
        bed = total.rbe * total.alpha + total.low + whole.protraction(known["t_repair"]) * dose**2 / known["alpha_beta"]
        np.testing.assert_allclose(bed, 3 * one[target].bed(activity), rtol=1e-6)


AT = (6.5, 0.05, 8.0)  # MBq/kg, and values of the model


@pytest.fixture(scope="module")
def through_the_engine(few):
    """Mean BED of the lesion and its gradient by activity, expression and mass, through engine, dose, protraction and BED."""
    _, run = few

    @jax.jit
    def effect(activity, expression, mass):
        values = {"lesion_1.expression": expression, "lesion_1.mass": mass}
        return (
            run(pbpk.dose("1 MBq/kg", into="iv"), values=values, dose_amounts=activity[None])[2]["lesion_1"]
            .bed()
            .mean()
        )

    slopes = jax.jit(jax.value_and_grad(effect, (0, 1, 2)))
    return lambda *at: slopes(*map(jnp.asarray, at))


def test_the_gradient_by_activity_is_that_through_the_engine(few, through_the_engine):
    _, run = few
    values = {"lesion_1.expression": AT[1], "lesion_1.mass": AT[2]}
    one = run(pbpk.dose("1 MBq/kg", into="iv"), values=values)[2]["lesion_1"]
    value, (by_activity, _, _) = through_the_engine(*AT)
    assert float(value) == pytest.approx(float(one.bed(AT[0]).mean()), rel=1e-9)
    assert float(by_activity) == pytest.approx(float(jax.grad(lambda a: one.bed(a).mean())(AT[0])), rel=1e-6)


@pytest.mark.parametrize("which", [1, 2], ids=["expression", "mass"])
def test_gradients_of_bed_by_kinetics_and_mass(through_the_engine, which):
    """Against differences."""
    step = 1e-4 * AT[which]
    ends = [float(through_the_engine(*(v + k * step * (i == which) for i, v in enumerate(AT)))[0]) for k in (1, -1)]
    assert float(through_the_engine(*AT)[1][which]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)
