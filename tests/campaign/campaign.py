"""A campaign of spoilt inputs: whatever comes in, the answer is a result or one of our errors, never a fault, and in time.

    python tests/campaign/campaign.py --inputs 10000 --seed 1        the nightly form
    python tests/campaign/campaign.py --only toml --inputs 500       one kind of input

Each input is the n-th of its seed, so a fault is found again by its number. Prints a line for each fault and the counts; exit 1
where there is one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from mutate import damage_bytes, mutate_flags, mutate_table, mutate_toml, mutate_words, write_laws  # noqa: E402

from pbpk.errors import BadInput, PbpkError  # noqa: E402

LONGEST = 60.0  # seconds
EVENTS = """ID,TIME,AMT,RATE,II,ADDL,EVID,CMT,DV,MDV,CENS,WT
1,0,100,0,0,0,1,central,.,1,0,70
1,1,.,.,.,.,0,.,3.2,0,0,70
1,4,.,.,.,.,0,.,2.1,0,0,70
2,0,100,50,12,2,1,central,.,1,0,82
2,1,.,.,.,.,0,.,2.9,0,0,82
2,25,.,.,.,.,0,.,0.3,0,1,82"""
VOIS = """subject,voi,time_h,activity_MBq,sd_MBq,volume_mL,administered_MBq,decay_corrected
1,thyroid,1,20,1,15,100,false
1,thyroid,24,12,1,15,100,false
1,kidneys,1,5,0.5,300,100,false"""
TIACS = "region,value,unit\nkidneys,2,h\nliver,1.5,h\nthyroid,3600,s"
FIT = """model = "iv_one_compartment"
title = "a study"
[data]
file = "data.csv"
dose_into = "central"
units = { TIME = "h", AMT = "mg", DV = "mg/L" }
[parameters.CL]
initial = 4.0
iiv = 0.1
covariates = [{ covariate = "WT", form = "power", reference = 70, estimate = "CL_WT", initial = 0.5 }]
[parameters.V]
initial = "25 L"
iiv = 0.1
[omega]
blocks = [["CL", "V"]]
[error.cp]
model = "combined2"
prop = 0.2
add = 0.1
lloq = 0.25
[estimation]
method = "focei"
seed = 3"""
PARAMETERS = """[model]
title = "a model"
time = "h"
[V]
value = 10.0
unit = "L"
about = "a volume"
source = "assumed: for a test"
status = "assumed"
[K]
value = 0.1
unit = "1/h"
about = "a rate"
source = "assumed: for a test"
status = "assumed"
range = [0, 1]
spread = { distribution = "lognormal", cv = 0.3, source = "assumed: for a test" }
covariates = [{ covariate = "WT", form = "power", reference = 70, coefficient = 0.75, source = "assumed: for a test" }]
[covariates.WT]
value = 70
unit = "kg"
about = "a weight"
source = "assumed: for a test"
"""
STRUCTURE = """from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flux, observe

central = Compartment("central", "mg", volume="V")
model = Block((central,), (flux(central >> OUT, first_order, a=amount(central), k="K"),),
              observables=(observe("cp", conc(central), "concentration"),), routes={"iv": central})
"""
MEASUREMENTS = """[thyroid]
kind = "voi"
region = "thyroid"
spill_in = { blood = 0.02 }
recovery = { half = "2 mL", slope = 1.1 }
volume = "20 mL"
decay_corrected = false
noise = { model = "poisson", sensitivity = "68 cps/MBq", duration = "20 min", background = "3 cps" }
[plasma]
kind = "blood"
region = "blood"
region_is = "blood"
sample = "blood"
volume = "5.6 L"
decay_corrected = true
reference = "0 h"
noise = { model = "proportional", prop = 0.05 }
"""


class Fault(NamedTuple):
    """An input that was answered by no error of ours, or too late."""

    kind: str
    number: int
    what: str
    content: str


def read_event_table(folder: Path, rng: random.Random) -> str:
    """An event table of a model's."""
    from pbpk.data.events import read_events
    from pbpk.model.load import load_model
    from pbpk.population.records import convert_overrides

    text = mutate_table(EVENTS, rng)
    (folder / "data.csv").write_text(text, encoding="utf-8")
    model = load_model("iv_one_compartment")
    how = {"compartments": model.system.names, "parameters": model.system.parameter_names, "observables": ["cp"]}
    convert_overrides(read_events(folder / "data.csv", default_compartment="central", **how), model, {})
    return text


def read_voi_table(folder: Path, rng: random.Random) -> str:
    """A table of volumes of interest."""
    from pbpk.data.voi import read_voi

    (folder / "voi.csv").write_text(text := mutate_table(VOIS, rng), encoding="utf-8")
    read_voi(folder / "voi.csv", nuclide=rng.choice(["I-131", "Lu177", "At-211"])).events(into="blood")
    return text


def read_tiac_table(folder: Path, rng: random.Random) -> str:
    """A table of time-integrated activities."""
    from pbpk.dosimetry.tiac import read_tiac

    (folder / "tiac.csv").write_text(text := mutate_table(TIACS, rng), encoding="utf-8")
    read_tiac(folder / "tiac.csv", "Lu-177", "adult-male")
    return text


def load_spoilt_study(folder: Path, rng: random.Random) -> str:
    """A study with its data, one of the two spoilt."""
    from pbpk.study.load import load_study

    spoilt = rng.random() < 0.7
    (folder / "fit.toml").write_text(fit := mutate_toml(FIT, rng) if spoilt else FIT, encoding="utf-8")
    (folder / "data.csv").write_text(data := EVENTS if spoilt else mutate_table(EVENTS, rng), encoding="utf-8")
    load_study(folder)
    return fit + "\n---\n" + data


def load_spoilt_model(folder: Path, rng: random.Random) -> str:
    """A model's folder with a spoilt table of parameters."""
    from pbpk.model.load import load_model

    (folder / "structure.py").write_text(STRUCTURE)
    (folder / "parameters.toml").write_text(text := mutate_toml(PARAMETERS, rng), encoding="utf-8")
    load_model(folder)
    return text


def read_spoilt_measurements(folder: Path, rng: random.Random) -> str:
    """A file of measurements."""
    from pbpk.observe.declared import read_measurements

    (folder / "measurements.toml").write_text(text := mutate_toml(MEASUREMENTS, rng), encoding="utf-8")
    read_measurements(folder / "measurements.toml")
    return text


def read_words(folder: Path, rng: random.Random) -> str:
    """Doses, times and values in words, as options of the command line take them."""
    from pbpk.commands.shared import read_pairs
    from pbpk.model.load import load_model
    from pbpk.regimen.dose import parse_dose
    from pbpk.regimen.times import parse_times

    words = mutate_words(rng)
    action = rng.randrange(3)
    if action == 0:
        parse_dose(words)
    elif action == 1:
        parse_times(
            words if rng.random() < 0.5 else f"{rng.choice(['0', '-1', 'x'])}:{rng.choice(['72', 'nan', ''])}:1"
        )
    else:
        model = load_model("oral_one_compartment")
        model.with_values(read_pairs([f"{rng.choice(['CL', 'F1', 'ALAG1', 'x', ''])}={words}"], "--set"))
    return words


def simulate_spoilt_laws(folder: Path, rng: random.Random) -> str:
    """A model with a law that may mean nothing; one that loads is simulated, by whichever engine can."""
    import pbpk

    rows = PARAMETERS + '[T]\nvalue = 2.0\nunit = "h"\nabout = "a time"\nsource = "assumed: for a test"\n'
    (folder / "structure.py").write_text(text := write_laws(rng))
    (folder / "parameters.toml").write_text(rows, encoding="utf-8")
    model = pbpk.load_model(folder)
    pbpk.simulate(model, pbpk.parse_dose("100 mg iv every 4 h x 2"), [1.0, 5.0])
    return text


def run_spoilt_command(folder: Path, rng: random.Random) -> str:
    """`pbpk simulate` with flags that may mean nothing: a contract's exit code, one message, and no file after a failure."""
    sys.path[:0] = [str(ROOT / "tests")]
    from commands.invoke import invoke

    flags = mutate_flags(rng)
    ran = invoke("simulate", "oral_one_compartment", *flags, cwd=folder)
    said = ran.out + ran.err
    left = [p.name for p in folder.rglob("*") if not p.name.endswith(".partial")]
    if ran.code not in (0, 1, 2, 3, 4) or "Traceback" in said or "fault of pbpk" in said:
        raise RuntimeError(f"exit code {ran.code} of {flags}: {said[-300:]}")
    if ran.code > 1 and left:
        raise RuntimeError(f"{left} left by {flags}")
    if ran.code:
        raise BadInput(said[-100:])
    return " ".join(flags)


def read_damaged_run(folder: Path, rng: random.Random) -> str:
    """A run folder in which one file is damaged."""
    from pbpk.run_folders.checkpoint import load_state
    from pbpk.run_folders.claim import OutputFolder
    from pbpk.run_folders.read import read_run

    source = _make_run()
    run = Path(shutil.copytree(source, folder / "run"))
    file = rng.choice(sorted(p for p in run.rglob("*") if p.is_file()))
    file.write_bytes(damage_bytes(file.read_bytes(), rng))
    read_run(run)
    load_state(OutputFolder(run, run))
    return str(file.relative_to(run))


_runs: list[Path] = []


def _make_run() -> Path:
    """A finished run, made once: theophylline evaluated by naive pooling."""
    if not _runs:
        import contextlib
        import io
        import os

        from pbpk.commands.fit import fit_study

        place, before = Path(tempfile.mkdtemp()), Path.cwd()
        os.chdir(place)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                folder, _ = fit_study("theophylline", method="pooled", evaluate=True)
        finally:
            os.chdir(before)
        _runs.append(place / folder)
    return _runs[0]


KINDS: dict[str, Callable[[Path, random.Random], str]] = {
    "events": read_event_table,
    "voi": read_voi_table,
    "tiac": read_tiac_table,
    "study": load_spoilt_study,
    "model": load_spoilt_model,
    "measurements": read_spoilt_measurements,
    "words": read_words,
    "run": read_damaged_run,
    "laws": simulate_spoilt_laws,
    "command": run_spoilt_command,
}


def try_input(kind: str, seed: int, number: int) -> tuple[str, Fault | None]:
    """How the n-th input of a kind was answered: "read", the name of our error, or "fault"; and the fault."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    folder = Path(tempfile.mkdtemp())
    started = time.monotonic()
    answer, what = "read", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KINDS[kind](folder, rng)
    except PbpkError as e:
        answer = type(e).__name__
        if e.exit_code not in (1, 2, 3, 4) or not e.what:
            what = f"exit code {e.exit_code} of {e!r}"
    except Exception as e:
        what = f"{type(e).__name__}: {e}"
    if (took := time.monotonic() - started) > LONGEST:
        what = what or f"took {took:.0f} s"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".csv", ".toml"))
    content = (
        "\n".join(f"== {p.name}\n{p.read_text(encoding='utf-8', errors='replace')}" for p in files[:2]) if what else ""
    )
    shutil.rmtree(folder, ignore_errors=True)
    return ("fault", Fault(kind, number, what, content)) if what else (answer, None)


def run_campaign(inputs: int, seed: int, only: list[str] | None = None) -> tuple[Counter[tuple[str, str]], list[Fault]]:
    """So many inputs, shared among the kinds; how they were answered, and the faults."""
    kinds, answers, faults = only or list(KINDS), Counter(), []
    for number in range(inputs):
        kind = kinds[number % len(kinds)]
        answer, fault = try_input(kind, seed, number)
        answers[kind, answer] += 1
        if fault:
            faults.append(fault)
    return answers, faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=KINDS)
    parser.add_argument("--show", action="store_true", help="print the content of faulty inputs")
    asked = parser.parse_args()
    answers, faults = run_campaign(asked.inputs, asked.seed, asked.only)
    for fault in faults:
        print(f"fault {fault.kind} {fault.number}: {fault.what}")
        if asked.show:
            print(fault.content)
    for (kind, answer), count in sorted(answers.items()):
        print(f"{kind:<13} {answer:<14} {count}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
