import json

import pytest

from kladml.errors import WorkspaceError
from kladml.runner.record import RunRecord


def test_record_reads_back(tmp_path):
    record = RunRecord("digits@1", "0f3c", tracker_runs=[("local", "0f3c"), ("mlflow", "77")], metrics={"loss": 0.1})
    record.write(tmp_path / "new")
    assert RunRecord.read(tmp_path / "new") == record
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


def test_without_a_file_there_is_no_record(tmp_path):
    assert RunRecord.read(tmp_path) is None


def test_fields_of_other_versions_do_not_matter(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"address": "a@1", "run_id": "x", "mood": "good"}))
    record = RunRecord.read(tmp_path)
    assert (record.status, record.started_at) == ("RUNNING", "")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"address": "a@1"}'])
def test_file_that_is_no_record_is_said(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(WorkspaceError, match=r"the record of a run, .*run.json, cannot be read"):
        RunRecord.read(tmp_path)
