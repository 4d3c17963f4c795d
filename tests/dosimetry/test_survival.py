"""Tissues, apportioning and the report beside the beta formalism."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.dosimetry.cells import tissues
from pbpk.dosimetry.cells.apportion import apportion_decays, apportion_shares, filling_share
from pbpk.dosimetry.cells.report import CellBiology, Target, alpha_report, compare, render
from pbpk.errors import BadInput

MAKE = {
    "follicle": tissues.follicle,
    "acinus": tissues.acinus,
    "duct": tissues.duct,
    "tumour": tissues.tumour,
    "stem": tissues.gastric_mucosa,
    "surface": lambda: tissues.gastric_mucosa(10.0),
    "urothelium": tissues.urothelium,
    "marrow": tissues.marrow,
}


@pytest.mark.parametrize("name", MAKE)
def test_filled_evenly_a_nucleus_gets_the_mean_dose(name):
    tissue = MAKE[name]()
    evenly = tissue.hits(beyond={k: 1.0 for k in tissue.beyond})
    assert float(evenly.dose) == pytest.approx(1.0, abs=5e-5)


def test_contents_reach_the_surface_and_not_what_lies_deep():
    # half the dose of the contents at the surface, none beyond 70 µm and a nucleus
    deep = tissues.gastric_mucosa(80.0).hits({"pits": 0.18, "surface": 0.02}, {"contents": 1.0})
    alone = tissues.gastric_mucosa(80.0).hits({"pits": 0.18, "surface": 0.02})
    assert float(deep.dose) == pytest.approx(float(alone.dose), rel=1e-9)
    near = tissues.urothelium(8.0)
    got = float(near.hits(beyond={"contents": 1.0}).dose - near.hits().dose)
    assert 0.25 < got < 0.5
    covered = tissues.urothelium(8.0, gap=100.0)
    assert float(covered.hits(beyond={"contents": 1.0}).dose) == pytest.approx(float(covered.hits().dose), rel=1e-9)


def test_iodine_in_the_lumen_or_the_cells_is_not_the_same():
    lumen = float(tissues.follicle().hits({"lumen": 1.0}).dose)
    cells = float(tissues.follicle().hits({"epithelium": 1.0}).dose)
    assert lumen < 1 < cells
    assert float(tissues.duct().hits({"epithelium": 1.0}).dose) > 5


def test_shares_that_cannot_be():
    with pytest.raises(BadInput, match="no region `colloid`"):
        tissues.follicle().hits({"colloid": 1.0})
    with pytest.raises(BadInput, match=r"add up to 1\.4"):
        tissues.duct().hits({"epithelium": 1.4})
    with pytest.raises(BadInput, match="has nothing else"):
        tissues.marrow().hits({"marrow": 0.5})
    with pytest.raises(BadInput, match="beyond the active marrow"):
        tissues.marrow().hits(beyond={"contents": 1.0})


def test_apportioned_in_time_by_its_integral():
    time = np.linspace(0, 60, 2001)
    rate, half = np.log(2) / 7.0, 2.0
    integral = -np.expm1(-rate * time) / rate
    lumen = filling_share(time, half, 0.9)
    found = apportion_shares(integral, {"lumen": lumen, "epithelium": 1 - lumen})
    fill = np.log(2) / half
    exact = 0.9 * ((1 - np.exp(-rate * 60)) / rate - (1 - np.exp(-(rate + fill) * 60)) / (rate + fill)) / integral[-1]
    assert float(found["lumen"]) == pytest.approx(exact, rel=1e-4)
    assert float(found["lumen"] + found["epithelium"]) == pytest.approx(1.0, rel=1e-12)
    many = apportion_decays(np.stack([integral, 2 * integral], 1), {"lumen": lumen})["lumen"]
    assert float(many[1]) == pytest.approx(2 * float(many[0]), rel=1e-12)


@pytest.fixture(scope="module")
def rows():
    return alpha_report(
        [
            Target("marrow", 0.08, tissues.marrow(), "red_marrow", low=0.01, protraction=0.18),
            Target("duct", 1.0, tissues.duct(), "salivary_glands", shares={"epithelium": 0.8}, protraction=0.18),
        ]
    )


def test_report_says_what_the_parts_say(rows):
    marrow = rows[0]
    hits = tissues.marrow().hits()
    assert float(marrow.alpha.hits) == pytest.approx(0.08 * float(hits.count), rel=1e-9)
    assert float(marrow.alpha.unhit) == pytest.approx(np.exp(-0.08 * float(hits.count)), rel=1e-9)
    assert float(marrow.beta.dose) == pytest.approx(0.09)
    assert marrow.interval[0] < float(marrow.alpha.weighted) < marrow.interval[1]
    assert float(rows[1].alpha.dose) > 4 * float(rows[1].beta.dose)  # where the source is, not the mean of the gland
    assert all(np.isfinite(v) for row in rows for v in row.to_dict().values() if isinstance(v, float))


def test_report_prints_both_formalisms(rows):
    text = render(rows)
    assert text.count("beta formalism") == 2 and "marrow, stem cell" in text
    assert "20" not in {w.strip(",") for w in text.split()}  # w_R


@pytest.mark.slow
def test_vectorised_and_differentiable_over_patients():
    hits = tissues.marrow().hits()

    def weighted(alpha):
        return compare(hits, 3.5, alpha, 0.0, (3.6, 1.2), 10.0, 0.2, CellBiology())[0]

    found = jax.jit(jax.vmap(weighted))(jnp.array([0.05, 0.1, 0.2]))
    assert found.lq.shape == (3,) and bool(jnp.all(jnp.diff(found.lq) < 0))
    slope = jax.grad(lambda a: weighted(a).single_hit)(0.1)
    assert float(slope) < 0


def test_bad_dose():
    with pytest.raises(BadInput, match="the dose of marrow is -1"):
        alpha_report([Target("marrow", -1.0, tissues.marrow(), "red_marrow")])
