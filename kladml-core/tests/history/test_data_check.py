"""Whether there is the same data now that a run had."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from kladml.datasets import DatasetStore
from kladml.history.data_check import check_data, check_tags
from kladml.history.pages import RunPage
from kladml.history.reproduction import Recipe, obstacles_at_start
from kladml.interfaces import CatalogRun, ConfigEntry, RunAddress
from kladml.runner.data import fingerprint
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT
from kladml.runner.record import RunRecord
from kladml.workspace import Workspace

ARRAYS = np.ones((4, 2)), np.zeros(4)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    return Workspace.create(tmp_path / "workspace")


def page_of(train, val=None):
    """Return a run that noted these."""
    tags = {"kladml.data_fingerprint": train} | ({} if val is None else {"kladml.val_fingerprint": val})
    run = CatalogRun(RunAddress.parse("shop/nets/digits@1"), "id", "FINISHED", datetime.now(UTC), None, {}, {})
    return RunPage(run, RunRecord(str(run.address), run.run_id, tags=tags), SimpleNamespace())


def checked(workspace, page, **data):
    entries = [ConfigEntry(f"data.{key}", value, "here") for key, value in data.items()]
    return check_data(page, Recipe(entries, workspace.root), workspace)


def test_files_are_read_as_the_run_reads_them(workspace):
    np.savez(workspace.root / "a.npz", X=ARRAYS[0], labels=ARRAYS[1])
    np.savez(workspace.root / "b.npz", X=ARRAYS[0] + 1, labels=ARRAYS[1])
    known = fingerprint(ARRAYS)
    train, val = checked(workspace, page_of(known, known), train="a.npz", val="b.npz", target="labels")
    assert (train.key, train.is_same, train.is_obstacle) == ("train", True, False)
    assert train.text == f"the training data is that of the run: {known[:19]}"
    assert (val.key, val.is_same, val.is_obstacle) == ("val", False, True)
    assert val.text.startswith(f"the validation data differs: its fingerprint was {known[:19]} and is now sha256:")


def test_functions_are_called_with_their_arguments(workspace):
    (workspace.root / "rows.py").write_text(
        "import numpy as np\ndef load(count): return np.ones((count, 2)), np.zeros(count)\n"
    )
    same, _ = checked(workspace, page_of(fingerprint(ARRAYS), NO_DATA), train="rows.py:load", args={"count": 4})
    other, _ = checked(workspace, page_of(fingerprint(ARRAYS), NO_DATA), train="rows.py:load", args={"count": 5})
    assert (same.is_same, other.is_same) == (True, False)


def test_versions_are_not_loaded(workspace):
    np.savez(workspace.root / "a.npz", X=ARRAYS[0], y=ARRAYS[1])
    version, _ = DatasetStore(workspace.state).add("points", workspace.root / "a.npz")
    page = page_of(version.fingerprint, "blake2b:0f")
    train, val = checked(workspace, page, train="points@1", val="points@1")
    assert (train.is_same, val.is_same) == (True, False)
    assert train.text == f"the training data is that of the run: {version.fingerprint[:20]}"
    (gone, _) = checked(workspace, page, train="points@2", val="points@1")
    assert (gone.is_same, gone.is_obstacle) == (None, True)
    assert gone.text.startswith("whether the training data is the same is not known: points@2 is no version of")


def test_what_cannot_be_loaded_is_not_known(workspace):
    (workspace.root / "failing.py").write_text("def load(): raise OSError('the disk is gone')\n")
    page = page_of("sha256:0f", "sha256:0f")
    train, val = checked(workspace, page, train="failing.py:load", val="missing.npz")
    assert (train.is_same, val.is_same) == (None, None)
    assert train.text.endswith("is not known: failing.py:load raised OSError: the disk is gone")
    assert "is not known: data.val 'missing.npz' does not exist; it was looked for in" in val.text


def test_what_had_no_fingerprint_is_not_loaded(workspace):
    (train, _) = checked(workspace, page_of(NO_FINGERPRINT, NO_DATA), train="nowhere.py:load")
    assert train.is_same is None
    assert train.text == "the training data has no fingerprint, so that nothing tells whether it is the same"


@pytest.mark.parametrize(
    ("was", "data", "is_same", "text"),
    [
        (NO_DATA, {}, True, "there is no validation data, as there was none"),
        (KEPT_BACK, {"val_split": 0.5}, True, "the validation data is part of the training data, as it was"),
        ("sha256:0f", {}, False, "the validation data was given as an object, which is not here"),
        (NO_FINGERPRINT, {}, False, "the validation data was given as an object, which is not here"),
        (None, {"val": "v.npz"}, None, "the run is of a version that noted nothing of its validation data"),
    ],
)
def test_validation_data_that_no_reference_stands_for(workspace, was, data, is_same, text):
    _, val = checked(workspace, page_of(NO_FINGERPRINT, was), train="nowhere.npz", **data)
    assert (val.is_same, val.text) == (is_same, text)
    assert val.is_obstacle is (is_same is False)


def test_the_tags_of_a_run_that_began_are_compared():
    page = page_of("sha256:0f", "blake2b:0f")
    tags = {"kladml.data_fingerprint": "sha256:0f", "kladml.val_fingerprint": "blake2b:1f"}
    assert obstacles_at_start(page, tags)[0] == (
        "the validation data differs: its fingerprint was blake2b:0f and is now blake2b:1f"
    )
    assert [check.is_same for check in check_tags(page, tags)] == [True, False]
    same = check_tags(page_of("blake2b:0f", KEPT_BACK), {**tags, "kladml.data_fingerprint": "blake2b:0f"})
    assert [check.is_same for check in same] == [True, False]


def test_validation_data_that_an_older_run_did_not_note_is_not_compared():
    tags = {"kladml.data_fingerprint": "blake2b:0f", "kladml.val_fingerprint": "sha256:1f"}
    assert not any(check.is_obstacle for check in check_tags(page_of("blake2b:0f"), tags))
