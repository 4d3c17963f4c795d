import numpy as np
import pytest

from pbpk.errors import BadInput, Note
from pbpk.model.load import list_models, load_model


def refused(name, *words, **how):
    with pytest.raises(BadInput) as caught:
        load_model(name, **how)
    assert caught.value.exit_code == 3
    text = caught.value.render()
    for word in words:
        assert word in text, (word, text)


def test_a_folder(folder):
    model = load_model(folder())
    assert model.name == "mine"
    assert model.system.names == ("central",)
    assert dict(zip(model.system.parameter_names, model.values, strict=True)) == {"CL": 2.0, "V": 10.0}
    assert model.remarks == ()
    assert (model.title, model.time_unit) == ("mine", "h")


def test_values_leave_the_structure_shared(folder):
    path = folder()
    model = load_model(path, values={"CL": "50 mL/min"})
    assert model.system is load_model(path).system
    np.testing.assert_allclose(model.values, [3.0, 10.0], rtol=1e-14)
    np.testing.assert_allclose(model.with_values({"V": 20}).values, [3.0, 20.0], rtol=1e-14)


def test_an_edited_file_is_read_again(folder):
    import os

    path = folder()
    assert load_model(path).values[0] == 2.0
    text = (path / "parameters.toml").read_text().replace("2.0", "4.0")
    (path / "parameters.toml").write_text(text)
    os.utime(path / "parameters.toml", ns=(1, 1))
    assert load_model(path).values[0] == 4.0


def test_an_unknown_model():
    refused("iodid", "no model `iodid`", "did you mean `iodide`")


def test_a_folder_that_is_no_model(tmp_path):
    refused(tmp_path, "holds no structure.py")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("import nothing_of_the_kind\n", ["structure.py:1", "ModuleNotFoundError", "nothing_of_the_kind"]),
        ("from pbpk.model import Block\n\nmodel = Block((\n", ["structure.py:3", "SyntaxError"]),
        ("x = 1\ny = x / 0\n", ["structure.py:2", "ZeroDivisionError"]),
        ("x = 1\n", ["structure.py", "no Block called `model`"]),
        (
            'from pbpk.model import Compartment, conc\nc = Compartment("c", "mg")\nconc(c)\n',
            ["structure.py:3", "`c` has no volume"],
        ),
    ],
)
def test_a_broken_structure_is_named_with_its_line(folder, broken, words):
    refused(folder(structure=broken), *words)


def test_a_fault_in_a_flux_is_named_with_its_line(folder):
    made = folder()
    rows = (made / "parameters.toml").read_text().replace("L/h", "1/h")
    refused(folder(rows=rows), "structure.py:6", "central -> out", '"1/h"')


def test_a_structure_may_be_split_over_files(folder):
    """They are read anew when one of them changes, and faults in them are named by their own file and line."""
    made = folder(structure="from .parts import model\n")
    whole = folder(name="whole")
    (made / "parts.py").write_text((whole / "structure.py").read_text())
    assert load_model(made).system.names == load_model(whole).system.names
    assert load_model(made).files == ["structure.py", "parts.py", "parameters.toml"]
    (made / "parts.py").write_text("x = 1\ny = x / 0\n")
    refused(made, "parts.py:2", "ZeroDivisionError")
    (made / "parts.py").write_text("x = (\n")
    refused(made, "parts.py:1", "SyntaxError")


def test_a_missing_table(folder):
    made = folder()
    (made / "parameters.toml").unlink()
    refused(made, "parameters.toml")


def test_the_users_models_come_first(folder, tmp_path, monkeypatch):
    bundled = load_model("iv_one_compartment")
    mine = folder(name="iv_one_compartment")
    assert load_model("iv_one_compartment").folder == bundled.folder
    monkeypatch.chdir(tmp_path)
    with pytest.warns(Note, match="in place of the bundled model of that name"):
        assert load_model("iv_one_compartment").folder == mine.resolve()
    assert "iodide" in list_models()


def test_a_nuclide_sets_the_decay():
    model = load_model("iodide", nuclide="123I")
    assert model.nuclide == "I-123"
    k = model.values[model.system.parameter_index("decay.k")]
    assert k == pytest.approx(np.log(2) / 13.27, rel=1e-14)
    assert "I-123" in model.parameters["decay.k"].about
    assert load_model("iodide").nuclide == "I-131"


def test_a_nuclide_without_decay_or_without_data():
    refused("iv_one_compartment", "no physical decay", "I-131", nuclide="I-131")
    refused("iodide", "unknown nuclide `I-13`", "did you mean", nuclide="I-13")
