"""Ctrl-C and worse: what is kept, and that a resumed fit ends bit for bit where an uninterrupted one does."""

import contextlib
import json
import os
import pkgutil
import shutil
import signal
import sys

import pytest
from processes import start_process

from .invoke import ROOT, invoke, tree

SAME = ("ofv", "parameter_estimates", "standard_errors", "individual_estimates", "iterations", "termination_cause")


def numbers(result):
    return {k: result[k] for k in SAME}


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """`pbpk fit theophylline --method pooled --json`, run once: its result, and the folder it was typed in."""
    home = tmp_path_factory.mktemp("pooled")
    return invoke("fit", "theophylline", "--method", "pooled", "--json", cwd=home).json, home


@pytest.fixture
def interrupt(monkeypatch):
    """`interrupt("pbpk.run_folders.checkpoint.save_state", 3)`: Ctrl-C while that function returns from its third call."""

    def arm(target: str, call: int = 1):
        path, name = target.rsplit(".", 1)
        owner = pkgutil.resolve_name(path)
        real, calls = getattr(owner, name), []

        def armed(*args, **kwargs):
            real(*args, **kwargs)
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt

        monkeypatch.setattr(owner, name, armed)
        return lambda: monkeypatch.setattr(owner, name, real)

    return arm


WHEN = [
    ("pbpk.run_folders.checkpoint.save_state", 1, "from iteration 0"),
    ("pbpk.run_folders.checkpoint.save_state", 3, "from iteration 2"),
    ("pbpk.commands.fit._IterationLines.show_errors", 1, "from iteration "),
    ("pbpk.report.page.write_report", 1, "from iteration "),
    ("pbpk.estimation.run.check_start", 1, "from the start"),
]


@pytest.mark.parametrize(
    ("target", "call", "said"), WHEN, ids=["first", "third", "standard errors", "report", "before any"]
)
def test_an_interrupted_fit_goes_on_bit_for_bit(pooled, pbpk, interrupt, tmp_path, target, call, said):
    whole, home = pooled
    shutil.copytree(home / "fits", tmp_path / "fits")
    disarm = interrupt(target, call)
    ran = pbpk("fit", "theophylline", "--method", "pooled", "--json")
    disarm()
    assert ran.code == 130 and ran.out == "" and "Traceback" not in ran.err
    assert ran.err.rstrip().endswith("interrupted; go on with:  pbpk fit fits/theophylline/runs/002.partial --resume")
    partial = tmp_path / "fits/theophylline/runs/002.partial"
    assert (partial / "run.json").exists() and not (partial.parent / "002").exists()
    assert (partial / "checkpoint.npz").exists() == (said != "from the start")

    before = tree(tmp_path / "fits/theophylline/runs/001")
    resumed = pbpk("fit", "theophylline", "--resume", "--json")
    assert resumed.code == 0
    assert f"resuming fits/theophylline/runs/002.partial {said}" in resumed.err
    assert resumed.json["run"] == "fits/theophylline/runs/002"
    assert numbers(resumed.json) == numbers(whole)
    assert not partial.exists()
    assert json.loads((tmp_path / "fits/theophylline/runs/002/results.json").read_text()) == resumed.json
    assert tree(tmp_path / "fits/theophylline/runs/001") == before


def test_a_run_is_resumed_by_its_folder_with_the_options_it_was_started_with(pbpk, interrupt, tmp_path):
    words = ("fit", "theophylline", "--method", "pooled", "--set", "CL=50 mL/min", "--set", "F1=0.9", "--seed", "9")
    whole = pbpk(*words, "--out", "whole", "--json").json
    disarm = interrupt("pbpk.run_folders.checkpoint.save_state", 2)
    ran = pbpk(*words, "--out", "my/run")
    disarm()
    assert ran.code == 130 and "pbpk fit my/run.partial --resume" in ran.err
    resumed = pbpk("fit", "my/run.partial", "--resume", "--json")
    assert resumed.code == 0
    assert (resumed.json["run"], resumed.json["method"], resumed.json["seed"]) == ("my/run", "pooled", 9)
    assert numbers(resumed.json) == numbers(whole)
    assert not (tmp_path / "fits").exists() and not (tmp_path / "my/run.partial").exists()


def test_a_run_started_with_out_is_resumed_by_that_name_too(pbpk, interrupt):
    disarm = interrupt("pbpk.run_folders.checkpoint.save_state", 2)
    pbpk("fit", "theophylline", "--method", "pooled", "--out", "my/run")
    disarm()
    assert pbpk("fit", "my/run", "--resume", "--json").json["run"] == "my/run"


def test_a_resumed_run_reads_its_own_frozen_model_and_data(pbpk, interrupt, study, tmp_path):
    """What was changed or lost since does not count."""
    folder = study("mine", {'model = "oral_one_compartment"': 'model = "own"', '"focei"': '"pooled"'})
    shutil.copytree(ROOT / "models/oral_one_compartment", folder / "own")
    shutil.copy(ROOT / "models/references.bib", folder)
    whole = pbpk("fit", "fits/mine", "--json").json
    disarm = interrupt("pbpk.run_folders.checkpoint.save_state", 3)
    assert pbpk("fit", "fits/mine").code == 130
    disarm()
    table = folder / "own/parameters.toml"
    table.write_text(table.read_text().replace("value = 1.0\n", "value = 0.5\n"))
    (folder / "data.csv").unlink()
    (folder / "fit.toml").write_text("")
    resumed = pbpk("fit", tmp_path / "fits/mine", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["study"] == "mine" and numbers(resumed.json) == numbers(whole)


def test_an_interrupted_simulation_leaves_nothing(pbpk, interrupt, tmp_path):
    interrupt("pbpk.report.population_bands.draw_bands")
    words = ("--dose", "10 mg oral", "--times", "1,2 h", "--patients", "3")
    ran = pbpk("simulate", "oral_one_compartment", *words)
    assert ran.code == 130 and ran.out == "" and "Traceback" not in ran.err
    assert tree(tmp_path) == {}


# A fit in a process of its own that stops to be interrupted: after it has kept its N-th state it says so and waits, so that
# no test has to be faster than a fit.
WAITING = """
import sys, time
from pbpk.run_folders import checkpoint
save, left = checkpoint.save_state, [int(sys.argv.pop(1))]
def save_and_wait(*args, **kwargs):
    save(*args, **kwargs)
    left[0] -= 1
    if left[0] == 0:
        print("kept and waiting", file=sys.stderr, flush=True)
        time.sleep(3600)
checkpoint.save_state = save_and_wait
from pbpk.commands import main
main()
"""


@pytest.fixture
def waiting(tmp_path):
    """`waiting(3, "fit", "theophylline")` runs that command until it has kept its third state, and gives the process."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as started:

        def start(states, *words):
            command = [sys.executable, "-c", WAITING, states, *words]
            running = started.enter_context(start_process(command, cwd=tmp_path, env=env))
            talk = []
            for line in running.stderr:
                talk.append(line)
                if line == "kept and waiting\n":
                    return running
            raise AssertionError("the fit ended first:\n" + "".join(talk))

        yield start


@pytest.mark.slow
def test_sigint_to_a_real_process_and_resume(waiting, pbpk, fitted, tmp_path):
    running = waiting(1, "fit", "theophylline", "--json")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    assert running.returncode == 130 and out == "" and "Traceback" not in err
    assert "pbpk fit fits/theophylline/runs/001.partial --resume" in err
    assert (tmp_path / "fits/theophylline/runs/001.partial/checkpoint.npz").exists()
    resumed = pbpk("fit", "theophylline", "--resume", "--json")
    assert resumed.code == 0
    assert numbers(resumed.json) == numbers(fitted[0].json)


@pytest.mark.slow
def test_a_killed_process_can_be_resumed(pooled, waiting, pbpk, tmp_path):
    running = waiting(3, "fit", "theophylline", "--method", "pooled")
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert (tmp_path / "fits/theophylline/runs/001.partial/checkpoint.npz").exists()
    another = pbpk("fit", "theophylline", "--method", "map", "--json").json
    assert another["run"].endswith("002"), "the number of an unfinished run is taken"
    resumed = pbpk("fit", "theophylline", "--resume", "--json")
    assert resumed.code == 0 and resumed.json["run"].endswith("001")
    assert numbers(resumed.json) == numbers(pooled[0])


@pytest.fixture
def unfinished(pbpk, interrupt, study, tmp_path):
    """A fit of a study of this test's own, interrupted after its third state: its folder."""
    study("mine", {'"focei"': '"pooled"'})
    disarm = interrupt("pbpk.run_folders.checkpoint.save_state", 3)
    assert pbpk("fit", "fits/mine").code == 130
    disarm()
    return tmp_path / "fits/mine/runs/001.partial"


def change_structure(folder):
    file = folder / "model/oral_one_compartment/structure.py"
    file.write_text(file.read_text() + "\n# changed\n")


def double_data(folder):
    text = (folder / "data.csv").read_text()
    (folder / "data.csv").write_text(text + "".join(text.splitlines(keepends=True)[1:]))


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (double_data, "data.csv"),
        (lambda f: (f / "data.csv").unlink(), "data.csv"),
        (lambda f: (f / "fit.toml").write_text((f / "fit.toml").read_text() + "\n"), "fit.toml"),
        (change_structure, "structure.py"),
        (lambda f: (f / "checkpoint.npz").write_bytes(b""), "checkpoint.npz"),
        (lambda f: (f / "checkpoint.npz").write_bytes((f / "checkpoint.npz").read_bytes()[:200]), "checkpoint.npz"),
        (lambda f: (f / "run.json").write_text(""), "run.json"),
        (lambda f: (f / "run.json").write_text('{"verb": "fit"}'), "run.json"),
    ],
)
def test_a_run_with_changed_inputs_is_not_resumed(pbpk, unfinished, spoil, file):
    spoil(unfinished)
    ran = pbpk("fit", "fits/mine", "--resume")
    assert ran.code == 3 and ran.out == "" and file in ran.err and "hint:" in ran.err
    assert "Aborted" not in ran.err and "Traceback" not in ran.err
    assert unfinished.exists(), "what is there stays"


def test_a_finished_run_with_other_data_is_not_followed_up(pbpk, finished):
    double_data(finished)
    for verb in ("vpc", "bootstrap", "npde"):
        ran = pbpk(verb, "finished")
        assert ran.code == 3 and "data.csv" in ran.err and "not as it was" in ran.err, ran
