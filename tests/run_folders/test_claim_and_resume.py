"""Run folders: numbers that are never given twice, and what stays of a run that ends before its time."""

import pytest

from pbpk.errors import BadInput
from pbpk.run_folders.claim import claim_folder
from pbpk.run_folders.resumable import BOOTSTRAP, FIT
from pbpk.run_folders.resume import find_unfinished, keep_progress, list_unfinished, partial_of_out, resume_folder


def fail(folder, error, verb=None, progress=None):
    """What stays in `folder` of a block that writes `progress` and ends by `error`."""
    with pytest.raises(error), keep_progress(folder, verb):
        if progress:
            folder.write(progress, "there")
        raise error
    return folder.partial.exists()


def test_unfinished_numbers_are_taken(tmp_path):
    first, second = claim_folder(tmp_path, None), claim_folder(tmp_path, None)
    assert (first.final.name, second.final.name) == ("001", "002")
    assert second.finish() == tmp_path / "002" and claim_folder(tmp_path, None).final.name == "003"


def test_an_abandoned_folder_takes_along_the_parents_made_for_it(tmp_path):
    alone = claim_folder(tmp_path / "a" / "b", None)
    alone.abandon()
    assert not (tmp_path / "a").exists()
    one, other = claim_folder(tmp_path / "c", None), claim_folder(tmp_path / "c", None)
    one.abandon()
    assert other.partial.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_without_a_verb_that_resumes_nothing_stays(tmp_path, error):
    assert not fail(claim_folder(tmp_path, None), error, progress="checkpoint.npz")


@pytest.mark.parametrize(
    ("error", "progress", "stays"),
    [
        (KeyboardInterrupt, None, True),
        (ValueError, None, False),
        (ValueError, "checkpoint.npz", True),
        (ValueError, "ends.npz", True),
    ],
)
def test_a_fit_keeps_what_can_be_resumed(tmp_path, error, progress, stays):
    assert fail(claim_folder(tmp_path, None), error, FIT, progress) == stays


def test_a_bootstrap_that_failed_at_its_first_replicate_leaves_nothing(tmp_path):
    assert not fail(claim_folder(tmp_path, None), ValueError, BOOTSTRAP, "bootstrap.csv")


def test_the_latest_unfinished_folder_is_found_first_and_by_its_out_name(tmp_path):
    places = [claim_folder(tmp_path, None).partial for _ in range(3)]
    assert list_unfinished(tmp_path) == places[::-1]
    assert find_unfinished("study", FIT, list_unfinished(tmp_path), "pbpk fit study") == places[-1]
    assert find_unfinished("a/002.partial", FIT, [], "") == partial_of_out("a/002")
    with pytest.raises(BadInput, match="no unfinished bootstrap of `study`"):
        find_unfinished("study", BOOTSTRAP, [], "pbpk bootstrap study")


def test_a_folder_is_resumed_by_its_own_verb_alone(tmp_path):
    folder = claim_folder(tmp_path, None)
    with pytest.raises(BadInput, match="is not an unfinished run"):
        resume_folder(folder.partial, FIT)
    folder.write_json("run.json", {"verb": "bootstrap", "seed": float("nan")})
    with pytest.raises(BadInput, match="is not an unfinished run"):
        resume_folder(folder.partial, FIT)
    again, record = resume_folder(folder.partial, BOOTSTRAP)
    assert again.final == folder.final and record == {"verb": "bootstrap", "seed": None}


def test_an_unfinished_folder_at_out_is_refused_with_what_to_do(tmp_path):
    claim_folder(tmp_path, tmp_path / "mine")
    with pytest.raises(BadInput) as refused:
        claim_folder(tmp_path, tmp_path / "mine", BOOTSTRAP)
    assert "an unfinished bootstrap is there" in str(refused.value)
    with pytest.raises(BadInput, match="an unfinished folder is there"):
        claim_folder(tmp_path, tmp_path / "mine", None)
