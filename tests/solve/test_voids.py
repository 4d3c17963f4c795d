"""Bladders that are emptied, against algebra by hand, from the words to the amounts."""

import numpy as np
import pandas as pd
import pytest

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, amount, first_order, flux
from pbpk.model.system import build_system
from pbpk.regimen.dose import dose as given
from pbpk.regimen.regimen import Regimen, Void
from pbpk.regimen.void import parse_void, void
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.timeline import build_timeline

blood, bladder, urine = (Compartment(name, "MBq") for name in ("blood", "bladder", "urine"))
K, D = 0.3, 0.1
system = build_system(
    Block(
        (blood, bladder, urine),
        (
            flux(blood >> bladder, first_order, a=amount(blood), k="K"),
            *(flux(c >> OUT, first_order, a=amount(c), k="D") for c in (blood, bladder, urine)),
        ),
    )
)


def one(habit: Regimen) -> Void:
    (v,) = habit.voids
    return v


@pytest.fixture
def run():
    """(T, 3) amounts of one patient with voids."""

    def run(records, voids, solver, **more):
        timeline = build_timeline([pd.DataFrame(records)], system, voids=voids, **more)
        p = np.array([{"K": K, "D": D}[n] for n in system.parameter_names])[None, :, None]
        done = solver.solve(system, timeline, p)
        assert done.result.tolist() == [0]
        return np.asarray(done.amounts)[timeline.output_mask[:, 0], :, 0]

    return run


@pytest.mark.parametrize("solver", [Resolvent(), General("tsit5")], ids=lambda s: s.name)
@pytest.mark.parametrize("moving", [False, True])
def test_every_two_hours_leaving_a_tenth(run, dose, seen, solver, moving):
    """Decay acts on all alike, so that per MBq not decayed it is counting; an observation at a void comes after it."""
    got = run(
        [dose(0, 10, "blood"), *seen(1, 2, 5)],
        [one(void("bladder", into="urine", every=2, left=0.1))],
        solver,
        moving=moving,
    )
    left = np.exp(-K * np.arange(6))  # of the blood, at each hour
    first = 1 - left[2]
    second = 0.1 * first + left[2] - left[4]
    bladder = [1 - left[1], 0.1 * first, 0.1 * second + left[4] - left[5]]
    urine = [0, 0.9 * first, 0.9 * (first + second)]
    expected = 10 * np.exp(-D * np.array([1, 2, 5]))[:, None] * np.stack([left[[1, 2, 5]], bladder, urine], axis=1)
    close = 1e-10 if solver.name == "resolvent" else 1e-6
    np.testing.assert_allclose(got, expected, rtol=close, atol=close)


def test_out_of_the_model_at_times(run, dose, seen):
    got = run([dose(0, 10, "bladder"), *seen(1, 3, 4)], [one(void("bladder", at=["180 min"]))], Resolvent())
    np.testing.assert_allclose(got[:, 1], [10 * np.exp(-D), 0, 0], atol=1e-12)
    np.testing.assert_allclose(got[:, 2], 0, atol=1e-12)


def test_two_habits_and_a_reset(run, dose, seen):
    """Voids are no pending doses: after a reset they go on by the clock, also by one that starts anew."""
    habits = [one(void("bladder", into="urine", every=3, start=1)), one(void("urine", at=[2]))]
    fill = {"EVID": 4}
    records = [
        dose(0, 10, "bladder"), *seen(2), dose(2.5, 10, "bladder", **fill), *seen(3, 4), dose(0, 10, "bladder", **fill),
        *seen(0.5, 1.5, 3),
    ]  # fmt: skip
    got = run(records, habits, Resolvent())
    alive = np.exp(-D * np.array([2, 0.5, 1.5, 0.5, 1.5, 3]))
    np.testing.assert_allclose(got[:, 1], 10 * alive * [0, 1, 0, 1, 0, 0], atol=1e-11)
    np.testing.assert_allclose(got[:, 2], 10 * alive * [0, 0, 1, 0, 1, 0], atol=1e-11)


def test_a_lag_does_not_move_a_void(dose, seen):
    held = Compartment("held", "MBq", lag="L")
    waiting = build_system(Block((held,), (flux(held >> OUT, first_order, a=amount(held), k="D"),)))
    timeline = build_timeline(
        [pd.DataFrame([dose(0, 10, "held"), *seen(2.5, 3.5)])],
        waiting,
        moving=True,
        voids=[one(void("held", at=[3.0]))],
    )
    p = np.array([{"D": D, "L": 2.0}[n] for n in waiting.parameter_names])[None, :, None]
    got = np.asarray(Resolvent().solve(waiting, timeline, p).amounts)[:2, 0, 0]
    np.testing.assert_allclose(got, [10 * np.exp(-D * 0.5), 0.0], atol=1e-11)


def test_times():
    assert one(void("b", every=3.5)).times(0, 12, 99) == [3.5, 7.0, 10.5]
    assert one(void("b", every="30 min", start=0)).times(0.6, 1.5, 99) == [1.0, 1.5]
    assert one(void("b", at=[5, "1 h"])).times(1, 4, 99) == [1.0]
    assert one(void("b", every=0.1)).times(0, 0.3, 99) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("bladder to urine every 3.5 h leaving 5 %", Void("bladder", "urine", every=3.5, start=3.5, left=0.05)),
        ("bladder into urine every 30 min from 2 h", Void("bladder", "urine", every=0.5, start=2.0)),
        ("bladder at 2, 5 h", Void("bladder", None, at=(2.0, 5.0))),
        ("bladder out at 1 d leaving 10%", Void("bladder", None, at=(24.0,), left=0.1)),
        ("bladder to out every 4 h", Void("bladder", None, every=4.0, start=4.0)),
    ],
)
def test_words(words, meant):
    assert one(parse_void(words)) == meant


def test_voids_add_to_doses():
    both = given("1 MBq", into="blood") + void("bladder", every=2) + parse_void("urine at 1 h; urine at 2 h")
    assert len(both.doses) == 1 and [v.compartment for v in both.voids] == ["bladder", "urine", "urine"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: parse_void("bladder sometimes"), "COMPARTMENT [to COMPARTMENT | out]"),
        (lambda: parse_void(" "), "cannot be read"),
        (lambda: void("bladder"), "either `every` or `at`"),
        (lambda: void("bladder", every=2, at=[1]), "either `every` or `at`"),
        (lambda: void("bladder", every=0), "interval above zero"),
        (lambda: void("bladder", every=2, left=1.0), "from 0 to below 1"),
        (lambda: void("bladder", at=[]), "lists no time"),
        (lambda: void("bladder", at=[1], start=2), "goes with `every`"),
    ],
)
def test_words_refused(make, words):
    with pytest.raises(BadInput) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("habit", "record", "words"),
    [
        (void("blader", every=2), {}, "did you mean `bladder`"),
        (void("bladder", into="bladder", every=2), {}, "into itself"),
        (void("bladder", every=1e-4), {}, "over 20,000 events"),
        (void("bladder", every=2), {"SS": 1, "II": 6.0}, "cannot be combined with voids"),
    ],
)
def test_refused_by_the_model(run, seen, habit, record, words):
    first = {**seen(0)[0], "EVID": 1, "AMT": 1.0, "CMT": "blood", "MDV": 1, **record}
    with pytest.raises(BadInput) as caught:
        run([first, *seen(48)], habit.voids, Resolvent())
    assert words in str(caught.value)
