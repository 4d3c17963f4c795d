"""What cannot be meant is refused in one message that says what, where, why and what to do."""

import pytest

from pbpk.errors import BadInput
from pbpk.observe.blood import BloodMeasurement
from pbpk.observe.counting import CountingNoise
from pbpk.observe.counts import CountMeasurement
from pbpk.observe.declared import read_measurements
from pbpk.observe.exposure import DoseRateMeasurement
from pbpk.observe.measure import measure
from pbpk.observe.noise import GaussianNoise
from pbpk.observe.voi import Voi

VOI = '[v]\nkind = "voi"\nregion = "thyroid"\ndecay_corrected = false\n'


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "measurements.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["declares no measurement"]),
        ("v = 1", ["`v` is not a table"]),
        ('[v]\nregion = "a"', ["[v]", "needs its `kind`", "blood or voi"]),
        ('[v]\nkind = "vio"\nregion = "a"', ["no kind of measurement `vio`", "did you mean `voi`"]),
        ('[v]\nkind = "voi"\nregion = "a"', ["`decay_corrected` must be said", "differ many times over", "reference"]),
        ('[v]\nkind = "voi"\ndecay_corrected = false', ["a voi measurement needs `region`"]),
        (VOI + "recovry = 0.5", ["`recovry` is not a key", "did you mean `recovery`"]),
        (VOI + "volume = 20", ["`volume` = 20 has no unit", 'volume = "20 mL"']),
        (VOI + 'volume = "20"', ["has no unit"]),
        (VOI + 'volume = "20 MBq"', ["MBq", "cannot be used where"]),
        (VOI + 'volume = "much"', ["is not a number with a unit"]),
        (VOI + 'volume = "-1 mL"', ["`volume`", "must be above 0"]),
        (VOI + "spill_in = { glands = 1.5 }", ["`spill_in` from `glands`", "not between 0 and 1"]),
        (VOI + "spill_in = { thyroid = 0.5 }", ["spills into itself", "recovery"]),
        (VOI + "blood_share = 0.1", ["`blood` and `blood_share` go together"]),
        (VOI + "recovery = { half = '2 mL' }", ["needs the `volume`"]),
        (VOI + "recovery = { slope = 2 }\nvolume = '2 mL'", ["`half`"]),
        (VOI + "reference = 0", ["not decay-corrected"]),
        (VOI.replace("false", "true"), ["needs the time to which", 'reference = "0 h"']),
        (VOI.replace("false", '"yes"'), ["neither true nor false"]),
        (VOI + 'noise = { model = "posson" }', ["no error model `posson`", "did you mean `poisson`"]),
        (VOI + 'noise = { model = "additive" }', ["needs `add`"]),
        (VOI + 'noise = { model = "additive", add = 1, prop = 1 }', ["has no `prop`"]),
        (VOI + 'noise = { model = "additive", add = -1 }', ["no standard deviation"]),
        (VOI + 'noise = { model = "poisson", duration = "1 min" }', ["`sensitivity` or `efficiency`"]),
        (VOI + 'noise = { model = "poisson", sensitivity = "70 cps/MBq" }', ["needs a `duration`"]),
        (
            VOI + 'noise = { model = "poisson", sensitivity = "70 cps/MBq", duration = 5 }',
            ["`duration` = 5 has no unit"],
        ),
        (VOI + 'noise = { model = "poisson", sensitivity = "7 cps/MBq", duration = "0 min" }', ["nothing is counted"]),
        (
            '[b]\nkind = "blood"\nregion = "blood"\ndecay_corrected = false\nregion_is = "blood"\nsample = "plsma"',
            ["plsma"],
        ),
        (
            '[u]\nkind = "urine"\nregion = "urine"\ndecay_corrected = false\ncollected = "voids"',
            ["did you mean `void`"],
        ),
    ],
)
def test_a_file_that_cannot_be_meant(file, text, words):
    path = file(text)
    with pytest.raises(BadInput) as caught:
        read_measurements(path)
    told = caught.value.render()
    assert str(path) in told
    for word in words:
        assert word in told, told


def voi(**how):
    return Voi(**{"name": "v", "region": "thyroid", "decay_corrected": False} | how)


def blood(**how):
    return BloodMeasurement(
        **{"name": "b", "region": "blood", "decay_corrected": False, "region_is": "blood", "sample": "blood"} | how
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (voi(region="thyroyd"), ["no `thyroyd`", "did you mean `thyroid`", "must be simulated"]),
        (voi(at=[3.0]), ["3 h is not among the simulated times", "simulate that time too"]),
        (voi(at=[4.0, 2.0]), ["goes back"]),
        (voi(at=[]), ["`at` is empty"]),
        (voi(unit="mg"), ['"mg"', "cannot be used"]),
        (voi(unit="pct_IA"), ["needs `administered`", "245 MBq"]),
        (voi(unit="kBq/cc"), ["needs `volume`"]),
        (voi(decay_corrected=True, reference=0.0), ["needs the nuclide", "as if corrected"]),
        (blood(), ["is an amount (MBq)", "give the volume of blood"]),
        (voi(noise=CountingNoise("1 min", efficiency=1e-4)), ["needs the photons"]),
        (voi(noise=CountingNoise("1 min", "70 cps/(MBq/L)")), ["cps/(MBq)"]),
        (
            DoseRateMeasurement(name="d", region="blood", decay_corrected=False, distance="1 m"),
            ["needs the nuclide, or its `constant`"],
        ),
    ],
)
def test_what_does_not_fit_the_simulation(simulated, asked, words):
    with pytest.raises(BadInput) as caught:
        measure(simulated(), [asked])
    told = caught.value.render()
    assert f"measurement `{asked.name}`" in told or "`sensitivity`" in told or "photons" in told
    for word in words:
        assert word in told, told


def test_numbers_out_of_range_are_refused_at_once():
    for make in (
        lambda: voi(blood="blood", blood_share=2.0),
        lambda: blood(sample="plasma", haematocrit=1.4, red_cells=1.0),
        lambda: blood(sample="plasma", volume="5 L"),
        lambda: DoseRateMeasurement(name="d", region="blood", decay_corrected=False),
        lambda: DoseRateMeasurement(name="d", region="blood", decay_corrected=False, distance="0 m"),
        lambda: GaussianNoise("proportional", prop=float("nan")),
        lambda: CountingNoise("1 min", efficiency=-1.0),
    ):
        with pytest.raises(BadInput):
            make()


def test_sensitivity_must_be_of_what_is_counted(simulated):
    path = simulated(unit="nmol")
    counts = CountMeasurement(
        name="c", region="thyroid", counting=CountingNoise("1 min", "1 cps/MBq"), decay_corrected=False
    )
    with pytest.raises(BadInput, match="`thyroid`, of which counts are taken"):
        measure(path, [counts])


def test_other_refusals(simulated):
    with pytest.raises(BadInput, match="nothing to measure"):
        measure(simulated(), [])
    with pytest.raises(BadInput, match="two measurements are called `v`"):
        measure(simulated(), [voi(), voi()])
    with pytest.raises(BadInput, match="no photons are on file for Y-90"):
        measure(
            simulated(),
            [DoseRateMeasurement(name="d", region="blood", decay_corrected=False, distance="1 m")],
            nuclide="Y-90",
        )
    with pytest.raises(BadInput, match="noise = true"):
        CountMeasurement(
            name="c",
            region="a",
            counting=CountingNoise("1 min", "1 cps/MBq"),
            noise=CountingNoise("1 min", "1 cps/MBq"),
            decay_corrected=False,
        )
