"""What cannot be used: one message that says what, where and what to do; the right exit code; nothing written."""

import os
from pathlib import Path

import pytest

from .invoke import ROOT, tree

ORAL = ("simulate", "oral_one_compartment")
ONCE = ("--dose", "10 mg oral", "--times", "1 h")
HEADER = "ID,TIME,AMT,DV,EVID,CMT\n"
ROWS = "1,0,100,.,1,depot\n1,1,.,2.0,0,central\n1,2,.,1.5,0,central\n2,0,100,.,1,depot\n2,3,.,1.5,0,central\n"

# -- usage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["similate"], "simulate"),
        (["fit"], "study"),
        (["fit", "theophylline", "--methd", "map"], "--method"),
        (["fit", "theophylline", "--method", "foceii"], "did you mean `focei`"),
        (["fit", "theophylline", "--seed", "one"], "--seed"),
        (["fit", "theophylline", "--device", "tpu"], "cpu or gpu"),
        (["fit", "theophylline", "--set", "CL"], "NAME=VALUE"),
        (["fit", "theophylline", "--set", "CL="], "NAME=VALUE"),
        (["fit", "theophylline", "--resume", "--method", "map"], "leave the other options out"),
        (["fit", "theophylline", "--resume", "--seed", "2"], "leave the other options out"),
        ([*ORAL, "--times", "1 h"], "--dose is missing"),
        ([*ORAL, "--dose", "10 mg oral"], "--times is missing"),
        ([*ORAL, *ONCE, "--patients", "ten"], "--patients"),
        ([*ORAL, *ONCE, "--keep", "all"], "auto, curves or bands"),
        ([*ORAL, *ONCE, "--data", "d.csv"], "leave --dose, --times, --patients out"),
    ],
)
def test_wrong_usage_is_2(refused, words, told):
    refused(2, told)(*words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit", "theophyline"], "did you mean `theophylline`?"),
        (["simulate", "iodid", *ONCE], "did you mean `iodide`?"),
        (["models", "oral_one_compartmnt"], "did you mean `oral_one_compartment`"),
        (["check", "theophyllin"], "did you mean `theophylline`?"),
        (["fit", "theophylline", "--solver", "resolvant"], "did you mean `resolvent`?"),
        ([*ORAL, *ONCE, "--solver", "resolvant"], "did you mean `resolvent`?"),
        ([*ORAL, *ONCE, "--observe", "cpp"], "did you mean `cp`?"),
        ([*ORAL, *ONCE, "--observe", "cpp", "--out", "new/run"], "did you mean `cp`?"),
        ([*ORAL, *ONCE, "--observe", "cpp", "--patients", "4"], "did you mean `cp`?"),
        (["simulate", "iodide", "--dose", "1 MBq oral", "--times", "1", "--nuclide", "I-311"], "did you mean `I-131`"),
        ([*ORAL, *ONCE, "--nuclide", "I-131"], "no physical decay"),
        (["models", "oral_one_compartment", "--nuclide", "I-131"], "no physical decay"),
        ([*ORAL, *ONCE, "--patients", "0"], "at least one"),
        ([*ORAL, *ONCE, "--patients", "2", "--seed", "9" * 30], "64 bits"),
        (["fit", "theophylline", "--resume"], "start one:  pbpk fit theophylline"),
        (["fit", "nothing.partial", "--resume"], "is not an unfinished run"),
    ],
)
def test_unknown_names_are_3(refused, words, told):
    refused(3, told)(*words)


# -- parameters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("Cl=3", "did you mean `CL`?"),
        ("ALG1=3", "did you mean `ALAG1`"),
        ("CL=3 MBq", '"MBq", which cannot be used where "L/h" is needed'),
        ("CL=3 furlongs", '"furlongs" cannot be read'),
        ("CL=fast", "`CL`"),
    ],
)
@pytest.mark.parametrize("words", [(*ORAL, *ONCE), ("fit", "theophylline")], ids=["simulate", "fit"])
def test_set_that_cannot_be_meant(refused, words, given, told):
    refused(3, told)(*words, "--set", given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("CL=0", "must start above zero"),
        ("CL=-1", "must start above zero"),
        ("estimation.methd=map", "did you mean `method`"),
        ("parameters.CL.iiv=-1", "`parameters.CL.iiv`"),
        ("error.cp.model=additve", "did you mean `additive`?"),
        ("data.observable=ccp", "cp"),
        ("data.file=other.csv", "no such file"),
        ("model=oral", "oral_one_compartment"),
        ("nuclide=I-131", "no physical decay"),
    ],
)
def test_settings_of_a_fit_that_cannot_be_meant(refused, given, told):
    refused(3, told)("fit", "theophylline", "--set", given)


# -- doses and times -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "10",
        "mg",
        "10 mg to",
        "10 mg every 24 h",
        "10 mg oral every 24 x 3",
        "10 mg x 3",
        "10 mg oral every 24 h x 0",
        "10 mg oral every 0 h x 3",
        "-5 mg oral",
        "nan mg",
        "inf mg oral",
        "1e400 mg oral",
        "10 parsecs oral",
        "10 ((( oral",
        "1,5 mg oral",
        "10 mg oral oral",
        "10 mg oral at noon",
        "10 mg oral at -1 h",
        "10 mg oral at 1e400 h",
        "10 mg oral over -2 h",
        "10 mg oral at 2 mg",
        "10 mg oral; 5",
    ],
)
@pytest.mark.parametrize("more", [(), ("--patients", "3")], ids=["one", "many"])
def test_a_dose_that_cannot_be_read(refused, text, more):
    ran = refused(3)(*ORAL, "--dose", text, "--times", "1 h", *more)
    assert any(word in ran.err for word in ("dose", "at = ", "over = "))


@pytest.mark.parametrize(
    ("model", "text", "told"),
    [
        ("oral_one_compartment", "10 mg to dpot", "did you mean `depot`?"),
        ("oral_one_compartment", "10 mg orl", "did you mean `oral`?"),
        ("oral_one_compartment", "10 mg", "add one of: iv, oral"),
        ("oral_one_compartment", "10 MBq oral", 'where "mg" is needed'),
        ("oral_one_compartment", "10 mg/L oral", 'where "mg" is needed'),
        ("oral_one_compartment", "10 mg/kg oral", "needs the covariate WT"),
        ("iodide", "10 mg oral", 'where "MBq" is needed'),
        ("iodide", "10 MBq/h to blood", 'where "MBq" is needed'),
    ],
)
@pytest.mark.parametrize("more", [(), ("--patients", "3"), ("--out", "deep/er")], ids=["one", "many", "out"])
def test_a_dose_that_does_not_fit_the_model(refused, model, text, told, more):
    refused(3, told)("simulate", model, "--dose", text, "--times", "1 h", *more)


@pytest.mark.parametrize(
    "text", ["h", "abc", "1,,2 h", "1 parsec", "1,2 mg", "-1 h", "nan", "0:10:0 h", "10:0:1", "1:2 h", "0:1:1e-9 h"]
)
def test_times_that_cannot_be_read(refused, text):
    ran = refused(3, text.split()[-1])(*ORAL, "--dose", "10 mg oral", "--times", text)
    assert "times" in ran.err or "unit" in ran.err


# -- data files ----------------------------------------------------------------------------------------------------------

FAULTS = [
    ("no column TIME", "ID,TME,AMT,DV\n1,0,100,.\n", ("no column TIME", "`TME`")),
    ("no column ID", "subj,TIME,AMT,DV\n1,0,100,.\n", ("no column ID", "did you mean `subj`?")),
    ("time goes back", HEADER + ROWS + "2,1,.,2,0,central\n", ("row 7 (ID 2)", "TIME 1 comes after TIME 3", "<- here")),
    ("compartment", HEADER + ROWS.replace("2,0,100,.,1,depot", "2,0,100,.,1,dpot"), ("row 5 (ID 2)", "`depot`")),
    ("number", HEADER + ROWS.replace("2.0", "2;0"), ("row 3 (ID 1)", '"2;0" is not a number')),
    ("negative dose", HEADER + ROWS.replace("1,0,100", "1,0,-100"), ("row 2 (ID 1)", "negative")),
    ("returning", HEADER + ROWS + "1,9,.,1,0,central\n", ("row 7 (ID 1)", "comes back")),
    ("empty", "", ("the file is empty", "header line")),
    ("header only", HEADER, ("has a header but no rows",)),
    ("separator", HEADER.replace(",", ";") + ROWS.replace(",", ";"), ("separated by commas",)),
    ("twice", "ID,TIME,TIME,AMT\n1,0,0,1\n", ("`TIME` appears twice",)),
    ("not text", b"\xff\xfe\x00ID", ("is not UTF-8 text",)),
]


@pytest.mark.parametrize(("text", "told"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_data_that_cannot_be_used(refused, study, tmp_path, text, told):
    raw = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "trial.csv").write_bytes(raw)
    study("mine", data=raw)
    # DV is not needed for predictions, and what stands in it is not read
    if told[0] != "row 3 (ID 1)":
        refused(3, "trial.csv", *told)(*ORAL, "--data", "trial.csv", "--out", "new")
    refused(3, "trial.csv", *told)("check", "trial.csv", "--model", "oral_one_compartment")
    refused(3, "data.csv", *told)("fit", "mine")
    refused(3, "data.csv", *told)("check", "mine")


def test_no_column_dv(refused, study):
    study("mine", data="ID,TIME,AMT,conc\n1,0,100,.\n1,1,.,2\n")
    refused(3, "data.csv", "no column DV", "did you mean `conc`?")("fit", "mine")


def test_no_observation(refused, study):
    study("mine", data=HEADER + "1,0,100,.,1,depot\n")
    refused(3, "data.csv", "holds no observation")("fit", "mine")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--unit", "AMT=MBq"), '"MBq", which cannot be used where "mg" is needed'),
        (("--unit", "AMT=stones"), '"stones" cannot be read'),
        (("--unit", "AMNT=mg"), "did you mean `AMT`"),
        (("--unit", "KA=L/h"), '"L/h", which cannot be used where "1/h" is needed'),
        (("--column", "ALAG2=lagt"), "no column `lagt`"),
        (("--column", "ALG2=KA"), "`ALG2` is not a reserved column"),
        (("--observe", "cpp"), "did you mean `cp`?"),
        (("--solver", "resolvant"), "did you mean `resolvent`?"),
    ],
)
@pytest.mark.parametrize("out", [(), ("--out", "new/run")], ids=["print", "out"])
def test_options_that_do_not_fit_the_data(refused, tmp_path, words, told, out):
    rows = "".join(f"{line},1.5\n" for line in ROWS.splitlines())
    (tmp_path / "d.csv").write_text(HEADER.replace("CMT", "CMT,KA") + rows)
    refused(3, told)(*ORAL, "--data", "d.csv", *words, *out)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('AMT = "mg"', 'AMT = "MBq"', 'where "mg" is needed'),
        ('DV = "mg/L"', 'DV = "MBq/L"', 'where "mg/L" is needed'),
        ('TIME = "h"', 'TIME = "kg"', 'where "h" is needed'),
    ],
)
def test_units_of_a_study_that_do_not_fit(refused, study, old, new, told):
    study("mine", {old: new})
    refused(3, told)("fit", "mine")


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_the_same_file(pbpk, study):
    plain = (ROOT / "fits/theophylline/data.csv").read_bytes()
    study("windows", data=b"\xef\xbb\xbf" + plain.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    expected = pbpk("fit", "theophylline", "--method", "map", "--json").json
    ran = pbpk("fit", "windows", "--method", "map", "--json")
    assert ran.code == 0
    assert ran.json["ofv"] == expected["ofv"]
    assert ran.json["individual_estimates"] == expected["individual_estimates"]


# -- models --------------------------------------------------------------------------------------------------------------

BARE = 'value = 0.1, unit = "1/h", about = "elimination"'
ROWS_OF_K = [
    (f"{{ {BARE} }}", ("`K`", "has no `source`", "assumed")),
    (f'{{ {BARE}, source = "" }}', ("`K`", "has no `source`", "assumed")),
    (f'{{ {BARE}, source = "smith2020" }}', ("`K`", "cites `smith2020`", "references.bib")),
    (f'{{ {BARE}, source = "assumed: test", spred = 1 }}', ("`K`", "`spred`", "did you mean `spread`")),
    (
        '{ value = 3, unit = "mL/min", about = "elimination", source = "assumed: test" }',
        ("central -> out", 'unit "mL/min" cannot be used where "1/h" is needed', "divide `K` by a volume"),
    ),
    ('{ value = 3, unit = "1/hour2", about = "k", source = "assumed: test" }', ("`K`", '"1/hour2" cannot be read')),
    ('{ value = "3", unit = "1/h", about = "k", source = "assumed: test" }', ("`K`", "not a finite number")),
    ("0.1", ("`K` is a bare value",)),
]


@pytest.mark.parametrize(("row", "told"), ROWS_OF_K)
def test_a_parameter_row_that_cannot_be_used(refused, model, row, told):
    model("mine", K=row)
    refused(3, *told)("check", "mine")
    refused(3, *told)("simulate", "mine", "--dose", "1 mg iv", "--times", "1", "--patients", "2")
    refused(3, *told)("models", "mine")


def test_a_parameter_that_is_not_there(refused, model):
    folder = model("mine")
    text = (folder / "parameters.toml").read_text()
    (folder / "parameters.toml").write_text(text.replace("K = ", "Kel = "))
    refused(3, "no parameter `K`", "structure.py:", "Kel")("check", "mine")


def test_a_structure_that_does_not_run_names_its_line(refused, model):
    folder = model("mine")
    (folder / "structure.py").write_text("from pbpk.model import Block\n\nmodel = Blok()\n")
    refused(3, "structure.py:3", "NameError")("check", "mine")


def test_resolvent_refuses_a_nonlinear_model_and_names_the_flux(refused, pbpk, model):
    model("mine", law="saturable")
    words = ("simulate", "mine", "--dose", "1 mg iv", "--times", "1")
    refused(3, "resolvent", "central -> out (saturable", "leave --solver out")(*words, "--solver", "resolvent")
    assert pbpk(*words).code == 0


# -- the objective at the start ------------------------------------------------------------------------------------------


def test_an_objective_that_is_not_finite_says_which_subjects_and_why(refused, study):
    study("mine", {'model = "additive"': 'model = "proportional"', "add = 1.0": "prop = 0.2", '"focei"': '"map"'})
    ran = refused(1, "not finite at the starting values", "12 of 12 subjects failed", "hint: ")("fit", "mine")
    assert "ID 1 (prediction 0 with zero residual variance at observation 1)" in ran.err
    assert "combined" in ran.err, "the hint names the error model to use instead"
    out = refused(1, "not finite")("fit", "mine", "--out", "else/where")
    assert "wrote" not in out.err


# -- places that cannot be written ---------------------------------------------------------------------------------------

WRITERS = [
    ("fit", "theophylline", "--method", "map"),
    (*ORAL, *ONCE),
    (*ORAL, *ONCE, "--patients", "3"),
    (*ORAL, "--data", "d.csv"),
]


@pytest.mark.parametrize("words", WRITERS, ids=["fit", "one", "many", "data"])
def test_places_that_are_taken_or_cannot_be_made(refused, tmp_path, words):
    (tmp_path / "d.csv").write_text(HEADER + ROWS)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").write_text("mine")
    (tmp_path / "begun.partial").mkdir()
    (tmp_path / "file").write_text("a file")
    refused(3, "taken", "never overwritten", "--out")(*words, "--out", "taken")
    refused(3, "file", "never overwritten", "--out")(*words, "--out", "file")
    refused(3, "begun.partial", "unfinished")(*words, "--out", "begun")
    refused(3, "file/run.partial", "cannot be made", "--out")(*words, "--out", "file/run")


@pytest.mark.parametrize("words", WRITERS, ids=["fit", "one", "many", "data"])
def test_a_folder_without_write_permission(refused, tmp_path, monkeypatch, words):
    """Root may write anywhere, so that the refusal is played."""
    (tmp_path / "d.csv").write_text(HEADER + ROWS)
    before = os.access
    monkeypatch.setattr(
        "pbpk.run_folders.claim.os.access", lambda p, m, **k: False if m == os.W_OK else before(p, m, **k)
    )
    refused(3, "deep/er.partial", "cannot be written to", "--out")(*words, "--out", "deep/er")

    def mkdir(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    refused(3, "deep/er.partial", "cannot be made (Permission denied)", "--out")(*words, "--out", "deep/er")
    if "--data" not in words and words != (*ORAL, *ONCE):
        refused(3, "cannot be made (Permission denied)", "--out")(*words)


def test_a_file_where_the_runs_should_go(refused, tmp_path):
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits/theophylline").write_text("notes")
    refused(3, "fits/theophylline/runs", "cannot be made")("fit", "theophylline", "--method", "map")


def test_a_fault_of_the_program_is_told_apart_and_leaves_nothing(pbpk, monkeypatch, tmp_path):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("pbpk.population.simulate.build_timeline", broken)
    for more in ((), ("--patients", "3"), ("--out", "a/b")):
        ran = pbpk(*ORAL, *ONCE, *more)
        assert ran.code == 1 and ran.out == "" and "Traceback" not in ran.err
        assert ran.err.startswith("error: ZeroDivisionError: by zero\n") and "pbpk --debug" in ran.err
        assert tree(tmp_path) == {}


def test_debug_shows_the_traceback(pbpk, monkeypatch):
    from pbpk.errors import BadInput

    monkeypatch.setenv("PBPK_DEBUG", "")  # so that what --debug sets is taken back
    with pytest.raises(BadInput, match="theophyline"):
        pbpk("--debug", "fit", "theophyline")
