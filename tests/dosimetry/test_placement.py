"""Every model that says where its compartments lie leaves none out, in all of its variants."""

import itertools

import pytest

import pbpk
from pbpk.dosimetry.phantom.body import PHANTOMS
from pbpk.dosimetry.region_map import Lesion, read_region_map
from pbpk.errors import BadInput

PLACED = sorted(name for name, folder in pbpk.list_models().items() if (folder / "dosimetry.toml").exists())


def test_the_models_of_radiopharmaceuticals_are_placed():
    assert {"iodide", "pertechnetate", "astatide_reference", "nis_body", "icrp78_iodine"} <= set(PLACED)


@pytest.mark.parametrize("name", PLACED)
@pytest.mark.parametrize("phantom", PHANTOMS)
def test_each_compartment_is_in_one_place(name, phantom):
    model = pbpk.load_model(name)
    placement = read_region_map(model, phantom)
    places = [n for by_region in placement.compartments.values() for names in by_region.values() for n in names]
    assert len(places) == len(set(places))
    assert set(places) == {c.name for c in model.system.compartments if c.unit.endswith("Bq")}


@pytest.mark.parametrize(
    "tracer, thyroid, daughters",
    list(itertools.product(("astatide", "iodide"), ("remnant", "intact", "none"), ("none",))),
)
def test_variants_of_the_whole_body(tracer, thyroid, daughters):
    model = pbpk.load_model("nis_body", options={"tracer": tracer, "thyroid": thyroid, "daughters": daughters})
    placement = read_region_map(model, "adult-male")
    assert ("thyroid" in placement.compartments[str(model.nuclide)]) == (thyroid != "none")


def test_lesions_lie_where_the_option_says():
    model = pbpk.load_model("nis_body", options={"lesions": "lung,bone"})
    assert read_region_map(model, "adult-male").lesions == (
        Lesion("lesion_1", "lesion_1.mass", "lungs"),
        Lesion("lesion_2", "lesion_2.mass", "cortical_volume"),
    )


def test_a_daughter_with_kinetics_of_its_own():
    placement = read_region_map(pbpk.load_model("nis_body", options={"daughters": "bismuth"}), "adult-male")
    assert set(placement.compartments) == {"At-211", "Bi-207"} and placement.activity_rows == {
        "Bi-207": "bismuth.activity"
    }


def test_a_compartment_left_out_is_refused(tmp_path):
    folder = pbpk.load_model("icrp78_iodine").folder
    mine = tmp_path / "models" / "mine"
    mine.mkdir(parents=True)
    (mine.parent / "references.bib").write_text(
        (folder.parent / "references.bib").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for file in ("structure.py", "parameters.toml", "README.md"):
        (mine / file).write_text((folder / file).read_text(encoding="utf-8"), encoding="utf-8")
    placed = '[regions]\nthyroid = ["thyroid"]\nblood = ["blood"]\noutside = ["urine", "faeces", "decayed"]\n'
    (mine / "dosimetry.toml").write_text(placed, encoding="utf-8")
    with pytest.raises(BadInput, match="lie in no region: rest, bladder_contents"):
        read_region_map(pbpk.load_model(mine), "adult-male")
    (mine / "dosimetry.toml").write_text('[regions]\nthyroyd = ["thyroid"]\n', encoding="utf-8")
    with pytest.raises(BadInput, match="has no region `thyroyd`"):
        read_region_map(pbpk.load_model(mine), "adult-male")
