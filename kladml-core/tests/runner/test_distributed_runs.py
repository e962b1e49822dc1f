"""Runs of several real processes: what the main one does alone, what they do together, and how they end."""

from __future__ import annotations

import pytest


def reports(programs):
    return [program.report() for program in programs]


def test_the_main_process_alone_registers_and_writes(start_ranks, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("main"), tmp_path_factory.mktemp("other")]
    main, other = reports(start_ranks(2, folders, training={"distributed": True, "num_processes": 2}))
    for name in ("address", "run_id", "metrics", "status", "weights"):
        assert main[name] == other[name]
    assert (main["tracked"], main["catalogued"]) == (1, 1)
    assert "model/model.safetensors" in main["artifacts"]
    for name in ("tracked", "catalogued", "stored", "messages"):
        assert other[name] == 0
    assert other["artifacts"] == []
    assert list(folders[1].iterdir()) == []
    checkpoints = folders[0] / ".kladml/runs/default/default/default/1/checkpoints"
    assert any(checkpoints.glob("step-*/rank-00001.safetensors"))


def test_more_processes_than_started_are_refused_before_the_run(start_ranks):
    for report in reports(start_ranks(2, training={"distributed": True, "num_processes": 3})):
        assert report["error"] == "TrainingError"
        assert "training.num_processes is 3, and the launcher started 2 processes" in report["message"]


def test_other_models_than_modules_are_refused(start_ranks):
    for report in reports(start_ranks(2, model="Mean")):
        assert report["error"] == "ModelContractError"
        assert "Mean is no nn.Module, and nothing else trains in 2 processes" in report["message"]


def test_an_error_of_the_main_process_ends_the_others_while_it_lives(start_ranks):
    main, other = start_ranks(2, refuse=True, linger=True)
    # The main process does not end until its standard input is closed.
    assert other.process.stdout.readline() != ""
    assert main.process.poll() is None
    refused, lost = main.report(), main.process.returncode
    assert (refused["error"], lost) == ("BackendError", 3)
    assert "nobody there" in refused["message"]


def test_what_the_others_say_of_it(start_ranks):
    main, other = reports(start_ranks(2, refuse=True))
    assert (main["error"], other["error"]) == ("BackendError", "PeerLostError")
    assert "another process of the training ended" in other["message"]


def test_other_data_in_a_process_is_said_before_the_run(start_ranks, tmp_path):
    for report in reports(start_ranks(2, other_data_on=1)):
        assert report["error"] == "DataError"
        assert "process 1 has other data than process 0: sha256:" in report["message"]
    assert not (tmp_path / ".kladml" / "runs").exists()


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_process_ends_all_of_them(start_ranks, tmp_path, failing):
    both = reports(start_ranks(2, at=2, on=failing, how="raise"))
    assert (both[failing]["error"], both[1 - failing]["error"]) == ("ValueError", "PeerLostError")
    record = (tmp_path / ".kladml/runs/default/default/default/1/run.json").read_text()
    assert '"status": "FAILED"' in record


def test_a_killed_run_goes_on_with_as_many_processes(start_ranks, tmp_path, tmp_path_factory):
    uninterrupted = reports(start_ranks(2, [tmp_path_factory.mktemp("uninterrupted")] * 2, alone=True))[0]
    killed = reports(start_ranks(2, alone=True, at=5, on=0, how="SIGKILL"))
    assert killed[0] is None
    main, other = reports(start_ranks(2, alone=True, resume="latest"))
    assert main["weights"] == other["weights"] == uninterrupted["weights"]
    assert main["address"] == other["address"]


def test_another_number_of_processes_has_to_be_allowed(start, start_ranks, tmp_path):
    reports(start_ranks(2, alone=True, at=5, on=0, how="SIGKILL"))
    refused = start(alone=True, resume="latest").report()
    assert "was trained by 2 processes, and is now to be by 1" in refused["message"]
    assert "--allow-world-change" in refused["message"]
    (record,) = tmp_path.rglob("run.json")
    assert '"status": "RUNNING"' in record.read_text()  # as the kill left it
    assert start(alone=True, resume="latest", allow_world_change=True).report()["status"] == "FINISHED"
