"""`pbpk demo`: a fit, and three commands that work when typed as shown."""

import shlex

import pytest


def test_demo_fits_and_its_next_commands_work(pbpk, fitted, tmp_path):
    ran = pbpk("demo", "--json")
    assert ran.code == 0
    assert ran.json["ofv"] == fitted[0].json["ofv"], "the demo is the same fit"
    assert (tmp_path / ran.json["run"] / "results.json").exists()
    assert "Next:" in ran.err
    lines = ran.err.split("Next:\n")[1].splitlines()
    commands = [shlex.split(line) for line in lines]
    assert [c[:2] for c in commands] == [["pbpk", "models"], ["pbpk", "simulate"], ["pbpk", "report"]]
    for command in commands:
        assert pbpk(*command[1:]).code == 0, command


@pytest.mark.usefixtures("fitted")
def test_demo_prints_the_table(pbpk):
    ran = pbpk("demo")
    assert ran.code == 0
    assert "OFV 116.803" in ran.out and "Converged; no problems detected." in ran.out
    assert "Next:" not in ran.out, "talk goes to stderr"
