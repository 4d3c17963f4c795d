"""Loaders of tables that a user owns and writers for other programs, on small files made here."""

import json

import numpy as np
import pytest

import pbpk
from pbpk.dosimetry import compartments, read_tiac, write_tiac
from pbpk.dosimetry.absorbed import absorbed_dose
from pbpk.dosimetry.custom_svalues import icrp133_s_values, read_icrp133, read_opendose, read_s_table, table_of
from pbpk.dosimetry.olinda import format_olinda_case
from pbpk.dosimetry.tiac import tiac_from_hours
from pbpk.errors import BadInput

pytestmark = pytest.mark.optimised
HEAD = """Specific absorbed fractions of energy (1/kg)
Adult Male Reference Computational Phantom
{}
  43  79     0.0   0.010   0.100   1.000   10.00  EcutID|
-----
"""
ROWS = """Thyroid   <-Thyroid   0.0   {0} {0} {0} {0}  0
Liver     <-Thyroid   0.0   1.0E-03 2.0E-03 3.0E-03 4.0E-03  0
"""


@pytest.fixture
def saf_files(tmp_path):
    for particle, self_dose in (("alpha", "5.000E+01"), ("electron", "4.000E+01"), ("photon", "1.000E+00")):
        (tmp_path / f"rcp-am_{particle}_x.SAF").write_text(
            HEAD.format(particle) + ROWS.format(self_dose), encoding="utf-8"
        )
    return tmp_path


def test_a_saf_file_is_read(saf_files):
    energy, saf = read_icrp133(saf_files / "rcp-am_photon_x.SAF")
    np.testing.assert_allclose(energy, [0.0, 0.01, 0.1, 1.0, 10.0])
    np.testing.assert_allclose(saf["Liver", "Thyroid"], np.array([0, 1e-3, 2e-3, 3e-3, 4e-3]) / 1e3)


def test_s_values_of_saf_files(saf_files):
    table = icrp133_s_values("At-211", "adult-male", saf_files)
    dose = absorbed_dose({"thyroid": 0.439}, "At-211", table=table)
    full = 0.439 * 3600 * 6.784 * 1.602176634e-13 * 50.0 * 1e9
    assert float(dose.by_radiation["alpha"]["thyroid"][0]) == pytest.approx(full, rel=1e-3)
    with pytest.raises(BadInput, match="these S values are for At-211 in the adult-male"):
        absorbed_dose({"thyroid": 0.439}, "I-131", table=table)


def test_files_that_are_not_there_or_not_saf(tmp_path, saf_files):
    with pytest.raises(BadInput, match=r"no file \*af_alpha"):
        icrp133_s_values("At-211", "adult-female", saf_files)
    (tmp_path / "x.SAF").write_text("nothing", encoding="utf-8")
    with pytest.raises(BadInput, match="is not a SAF file"):
        read_icrp133(tmp_path / "x.SAF")


def test_opendose(tmp_path):
    path = tmp_path / "lu-177_spleen.json"
    path.write_text(
        json.dumps([["Spleen", "1.6e-4", "6e-9", "149.9"], ["Liver", "4.1e-8", "5e-11", "1799"]]), encoding="utf-8"
    )
    s = read_opendose(path, "Spleen")
    assert s["Spleen", "Spleen"] == pytest.approx(1.6e-13)
    dose = absorbed_dose({"spleen": 10.0}, "Lu-177", table=table_of(s, "Lu-177", "adult-male"))
    assert float(dose["spleen"][0]) == pytest.approx(10 * 3600 * 1.6e-4, rel=1e-9)
    path.write_text("{}[", encoding="utf-8")
    with pytest.raises(BadInput, match="is not an OpenDose file"):
        read_opendose(path, "Spleen")


def test_tables_of_s_long_and_wide(tmp_path):
    long, wide = tmp_path / "long.csv", tmp_path / "wide.csv"
    long.write_text("target,source,S,unit\nLiver,Liver,1e-14,Gy/(Bq*s)\n", encoding="utf-8")
    wide.write_text("target,Liver,Spleen\nLiver,1e-5,2e-8\n", encoding="utf-8")
    assert read_s_table(long)["Liver", "Liver"] == pytest.approx(1e-14)
    assert read_s_table(wide) == pytest.approx({("Liver", "Liver"): 1e-14, ("Liver", "Spleen"): 2e-17})
    long.write_text("target,source,S,unit\nLiver,Liver,1e-14,MBq\n", encoding="utf-8")
    with pytest.raises(BadInput, match="cannot be used where"):
        read_s_table(long)


def test_regions_that_are_nobodys():
    with pytest.raises(BadInput, match="no region `urinary_bladder_wall`") as caught:
        table_of({("Urinary bladder wall", "Liver"): 1e-15}, "Lu-177", "adult-male")
    assert "names=" in caught.value.hint
    assert table_of(
        {("Urinary bladder wall", "Liver"): 1e-15}, "Lu-177", "adult-male", {"Urinary bladder wall": "bladder_wall"}
    )


def test_an_alpha_emitter_needs_radiations():
    with pytest.raises(BadInput, match="without radiations"):
        table_of({("Liver", "Liver"): 1e-14}, "At-211", "adult-male")


def test_time_integrated_activities_are_written_and_read(tmp_path):
    model = pbpk.load_model("iodide")
    path = pbpk.simulate(model, pbpk.dose("1 MBq", into="iv"), [0.0], observe=compartments(model), integrate=True)
    dose = absorbed_dose(path)
    file = tmp_path / "tiac.csv"
    file.write_text(write_tiac(dose.tiac), encoding="utf-8")
    again = absorbed_dose(read_tiac(file, "I-131", "adult-male"))
    for target in ("thyroid", "stomach_wall", "bladder_wall", "red_marrow"):
        assert float(again[target][0]) == pytest.approx(float(dose[target][0]), rel=1e-4)
    file.write_text("region,value\nthyroid,1\n", encoding="utf-8")
    with pytest.raises(BadInput, match="no column `unit`"):
        read_tiac(file, "I-131", "adult-male")
    file.write_text("region,value,unit\nthyroid,1,MBq*h\n", encoding="utf-8")
    with pytest.raises(BadInput, match="cannot be used where"):
        read_tiac(file, "I-131", "adult-male")


def test_olinda_case_keeps_all_activity():
    tiac = tiac_from_hours(
        {"thyroid": 5.0, "stomach_wall": 1.0, "bladder_contents": 2.0, "other": 3.0}, "I-131", "adult-male"
    )
    text = format_olinda_case(tiac, "adult-male")
    kinetic = text.split("[BEGIN KINETIC DATA]\n")[1].split("[END KINETIC DATA]")[0].splitlines()
    hours = {k: float(v) for k, v in (line.split("|") for line in kinetic)}
    assert hours["Thyroid"] == 5.0 and hours["Urinary Bladder Contents"] == 2.0 and hours["Total Body"] == 4.0
    assert sum(hours.values()) == pytest.approx(11.0) and "I-131|" in text
    assert text.count("[BEGIN") == text.count("[END")
