"""A few hundred inputs of the campaign; `campaign.py` runs as many as one likes."""

import pytest
from campaign import KINDS, run_campaign
from mutate import mutate_table, mutate_toml

SLOW = ("laws", "command")  # these simulate what they can


@pytest.mark.slow(seconds=15)
@pytest.mark.parametrize("kind", SLOW)
def test_spoilt_laws_and_commands_are_answered(kind):
    answers, faults = run_campaign(inputs=24, seed=5, only=[kind])
    assert not faults, "\n".join(f"{f.kind} {f.number}: {f.what}\n{f.content}" for f in faults)
    assert 0 < answers[kind, "read"] < 24, answers


@pytest.mark.slow(seconds=15)
def test_spoilt_inputs_are_answered():
    quick = [kind for kind in KINDS if kind not in SLOW]
    answers, faults = run_campaign(inputs=400, seed=20, only=quick)
    assert not faults, "\n".join(f"{f.kind} {f.number}: {f.what}\n{f.content}" for f in faults)
    for kind in quick:  # an input that is always refused, or never, tests nothing
        assert 0 < answers[kind, "read"] < 50, (kind, answers)


def test_the_same_number_is_the_same_input():
    import random

    for mutate, text in ((mutate_table, "A,B\n1,2\n3,4"), (mutate_toml, "a = 1\n[b]\nc = 2")):
        one, two = (mutate(text, random.Random("1/x/7")) for _ in range(2))
        assert one == two and {mutate(text, random.Random(k)) for k in range(20)} != {text}
