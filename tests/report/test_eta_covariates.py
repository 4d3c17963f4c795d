"""η against covariates: which are found, what is left out, and what is said."""

import numpy as np
import pandas as pd
from scipy import stats

from pbpk.report.eta_covariates import associate_pairs, describe_associations, draw_eta_covariates, read_covariates


def subjects(count=60):
    random = np.random.default_rng(4)
    weight, sex = random.uniform(50, 90, count), np.arange(count) % 2
    known = pd.DataFrame({"WT": weight, "SEX": sex, "SITE": 1.0}, index=[f"{i:03d}" for i in range(count)])
    effect = 0.02 * (weight - 70) + 0.1 * random.normal(size=count)
    etas = {"ETA_CL": effect, "ETA_V": 0.2 * random.normal(size=count), "ETA_CL@1": effect}
    return pd.DataFrame({"ID": known.index, **etas}), known


def test_the_strongest_comes_first_with_scipys_p():
    individual, known = subjects()
    found = associate_pairs(individual, known)
    assert [(p.eta, p.covariate) for p in found[:1]] == [("ETA_CL", "WT")]
    assert {(p.eta, p.covariate) for p in found} == {(e, c) for e in ("ETA_CL", "ETA_V") for c in ("WT", "SEX")}
    r, p = stats.pearsonr(known["WT"], individual["ETA_CL"])
    assert (found[0].r, found[0].p) == (r, p)
    sex = next(p for p in found if (p.eta, p.covariate) == ("ETA_V", "SEX"))
    groups = [individual["ETA_V"][(known["SEX"] == s).to_numpy()] for s in (0, 1)]
    assert sex.p == stats.f_oneway(*groups).pvalue and np.isnan(sex.r)


def test_the_verdict_names_what_is_beyond_chance():
    individual, known = subjects()
    found = associate_pairs(individual, known)
    assert "Associated beyond chance" in describe_associations(found) and "η on CL and WT" in describe_associations(
        found
    )
    assert "η on V" not in describe_associations(found)
    weak = associate_pairs(individual[["ID", "ETA_V"]], known)
    assert describe_associations(weak) == "None of 2 pairs is associated beyond chance (p times 2, 5 %)."
    assert describe_associations([]) == ""


def test_subjects_are_met_by_their_id_not_their_place():
    individual, known = subjects()
    shuffled = known.iloc[::-1]
    assert associate_pairs(individual, shuffled)[0] == associate_pairs(individual, known)[0]


def test_a_panel_for_each_pair():
    individual, known = subjects()
    found = associate_pairs(individual, known)
    panels = draw_eta_covariates(individual, known, found)
    assert len(panels) == 4 and all(p.startswith("<svg") for p in panels)
    assert panels == draw_eta_covariates(individual, known, found), "the same each time"
    assert draw_eta_covariates(individual, pd.DataFrame(), []) == []


def test_covariates_are_read_from_the_runs_data(tmp_path):
    (tmp_path / "fit.toml").write_text(
        'model = "m"\n[data]\nfile = "d.csv"\ncolumns = { ID = "who" }\nignore = ["NOTE"]\n[parameters.CL]\n'
    )
    (tmp_path / "d.csv").write_text("who,TIME,DV,WT,NOTE\n007,0,1,.,x\n007,1,2,70,y\n8,0,3,80,z\n")
    found = read_covariates(tmp_path)
    assert list(found.index) == ["007", "8"] and list(found.columns) == ["WT"]
    assert list(found["WT"]) == [70, 80]
    (tmp_path / "d.csv").unlink()
    assert read_covariates(tmp_path).empty
