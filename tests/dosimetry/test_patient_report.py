"""3.5 MBq/kg of 211At in 70 kg with three lesions: every number on the page against what it stands for."""

import math

import numpy as np
import pytest

import pbpk
from pbpk.dosimetry import patient_report
from pbpk.dosimetry.cells import tissues
from pbpk.dosimetry.effect.defaults import radiobiology
from pbpk.dosimetry.treatment_plan import dose_rate_times

pytestmark = pytest.mark.slow(seconds=25)
JOULE, ALPHA = 1.602176634e-13, 6.784  # MeV per decay of 211At with 211Po


@pytest.fixture(scope="module")
def page():
    model = pbpk.load_model("nis_body", options={"lesions": "neck,lung,bone"}, values={"WT": 70})
    return patient_report(model, pbpk.parse_dose("3.5 MBq/kg to iv"))


def cell(page, name):
    return next(r for r in page.cells if r.target.name == name)


def test_what_is_given(page):
    assert page.activity == pytest.approx(245.0, rel=1e-12) and page.weight == 70
    assert len(page.organs) == len(page.treatment.dose.targets) > 28
    assert [r.target.name for r in page.cells] == [
        *("marrow", "salivary duct", "gastric mucosa", "lesion_1", "lesion_2", "lesion_3")
    ]


def test_alphas_are_decays_times_energy_over_mass(page):
    """Lesions by hand from their time-integrated activity; salivary glands with their share of the blood's."""
    hours = {k: float(v[0]) for k, v in page.treatment.dose.tiac.hours["At-211"].items()}
    for lesion in ("lesion_1", "lesion_3"):
        decays = hours[lesion] * 3600 * 245e6
        assert page[lesion].mass == pytest.approx(10.0)
        assert page[lesion].alpha == pytest.approx(decays * ALPHA * JOULE / 10e-3, rel=3e-3)
    decays = (hours["salivary_glands"] + 0.0004405357692 * hours["blood"]) * 3600 * 245e6
    assert page["salivary_glands"].alpha == pytest.approx(decays * ALPHA * JOULE / 87.467e-3, rel=4e-3)
    decays = hours["stomach_mucosa"] * 3600 * 245e6
    assert cell(page, "gastric mucosa").target.alpha == pytest.approx(decays * ALPHA * JOULE / 4.639e-3, rel=1e-3)


def test_a_remnant_has_blood_in_proportion_to_its_mass(page):
    hours = {k: float(v[0]) for k, v in page.treatment.dose.tiac.hours["At-211"].items()}
    blood = hours["blood"] * 0.000606 * 1.0 / 23.394
    expected = (hours["thyroid"] + blood) * 3600 * 245e6 * ALPHA * JOULE / 1e-3
    assert page["thyroid"].alpha == pytest.approx(expected, rel=3e-3) and page["thyroid"].mass == pytest.approx(1.0)


def test_each_row_follows_from_its_doses(page):
    for o in page.organs:
        assert o.dose == pytest.approx(float(page.treatment.dose.gray()[o.name][0]), rel=1e-9)
        if o.effect is None or o.biology is None:
            assert o.name == "total_body"
            continue
        j, low, a_b = o.effect, o.electron + o.photon, o.biology["alpha_beta"]
        rbe = o.biology.rbe
        assert j.rbe == pytest.approx(rbe.a * math.exp(math.log(rbe.b) ** 2 / 2), rel=1e-9)
        assert j.rbe_90 == pytest.approx((rbe.a / rbe.b**1.6448536, rbe.a * rbe.b**1.6448536), rel=1e-6)
        assert j.weighted == pytest.approx(j.rbe * o.alpha + low, rel=1e-9)
        assert j.bed == pytest.approx(o.dose * (1 + j.protraction * o.dose / a_b), rel=1e-9)
        assert j.rbe_bed == pytest.approx(j.rbe * o.alpha + low + j.protraction * o.dose**2 / a_b, rel=1e-9)
        assert j.eqd2 == pytest.approx(j.rbe_bed / (1 + 2 / a_b), rel=1e-9)


def test_protraction_is_that_of_the_dose_rate(page):
    """G by trapezoids on a fine grid drawn through the dose rate, of the salivary glands and a lesion."""
    course = page.treatment.course
    for name, tissue in (("salivary_glands", "salivary_glands"), ("lesion_2", "tumour")):
        mu = math.log(2) / radiobiology(tissue)["t_repair"]
        t = np.unique(np.concatenate([np.linspace(0, 0.5, 4000), np.linspace(0.5, 86, 40_000)]))
        rate = np.interp(t, course.time, np.asarray(course.rate(name)[:, 0]))
        left = np.zeros_like(t)
        for i in range(1, len(t)):
            h = t[i] - t[i - 1]
            left[i] = left[i - 1] * math.exp(-mu * h) + h * (rate[i - 1] * math.exp(-mu * h) + rate[i]) / 2
        dose = np.trapezoid(rate, t)
        g = 2 * np.trapezoid(rate * left, t) / dose**2
        assert page[name].effect.protraction == pytest.approx(g, rel=0.02)
    assert page.integrates_to == pytest.approx(1.0, abs=5e-3)


def test_cells_are_hit_as_poisson_says(page):
    for row in page.cells:
        a = row.alpha
        assert float(a.hits) == pytest.approx(float(a.dose) / float(a.zf), rel=1e-9)
        assert float(a.unhit) == pytest.approx(math.exp(-float(a.hits)), rel=1e-9)
        assert float(a.unhit) <= float(a.single_hit) < 1
        assert float(a.sd) == pytest.approx(math.sqrt(float(a.dose) * float(a.zd)), rel=1e-9)
    marrow = cell(page, "marrow")
    assert float(marrow.alpha.unhit) > 0.7 and float(marrow.alpha.dose) == pytest.approx(marrow.target.alpha, rel=0.01)


def test_ducts_take_the_activity_that_the_model_puts_into_them(page):
    row = cell(page, "salivary duct")
    assert sum(row.target.shares.values()) == pytest.approx(0.97, abs=0.02)
    by_hand = tissues.duct().hits(row.target.shares)
    assert float(row.alpha.dose) == pytest.approx(float(by_hand.dose) * row.target.alpha, rel=1e-9)
    assert float(row.alpha.dose) > 5 * row.target.alpha
    assert float(row.alpha.single_hit) < 1e-3 * float(row.beta.survival)


def test_the_beta_formalism_stands_beside(page):
    for row in page.cells:
        c, t, b = row.target.cell, row.target, row.beta
        dose = t.alpha + t.low
        expected = math.exp(-c.alpha0 * dose - t.protraction * c.beta * dose**2)
        assert float(b.survival) == pytest.approx(expected, rel=1e-9)
        assert float(b.dose) == pytest.approx(dose, rel=1e-12)


def test_the_text_says_what_is_assumed(page):
    text = page.text()
    assert "245 MBq of At-211 in 70 kg (3.5 MBq/kg)" in text
    for words in (
        "RBE-BED",
        "un-hit",
        "S beta",
        "lesion_3",
        "(assumed)",
        "Bi-207",
        "target layer",
        "stomach_wall*",
        "striated ducts alone",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= 150 and len(text.splitlines()) < 90
    assert page.text(markdown=True).startswith("# 245 MBq") and "| lesion_1 |" in page.text(markdown=True)


def test_one_object_for_scripts(page):
    found = page.to_dict()
    assert found["organs"]["salivary_glands"]["rbe_status"] == "assumed" and found["uncertainty"] is None
    assert found["organs"]["lesion_1"]["absorbed_dose"] == pytest.approx(page["lesion_1"].dose)
    assert found["cells"][0]["alpha_unhit"] == pytest.approx(float(page.cells[0].alpha.unhit))


def test_times_see_every_dose():
    model = pbpk.load_model("iodide")
    regimen = pbpk.parse_dose("1 GBq iv every 48 h x 3") + pbpk.parse_dose("1 GBq iv at 10 h over 2 h")
    times = dose_rate_times(model, regimen)
    assert (np.diff(times) > 0).all()
    for event in (0.0, 10.0, 12.0, 48.0, 96.0):
        assert event in times and (event == 0 or np.isclose(times, event - 1e-6, atol=1e-9).any())
    assert times[-1] > 96 + 11.9 * 8.02 * 24


def test_betas_have_no_cells_to_be_hit():
    found = patient_report("iodide", pbpk.dose("3.7 GBq", into="iv"))
    assert found.cells == () and found["thyroid"].effect.weighted == pytest.approx(found["thyroid"].dose)
    assert "Cells" not in found.text() and "Endpoints" not in found.text()
