"""Using MLflow without telemetry, warnings and chatter."""

from __future__ import annotations

WATCH_THE_NETWORK = """
import sys, time
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        seen.append(event)
sys.addaudithook(watch)
"""
TRACK = """
from kladml_backends_local import LocalTracker
with LocalTracker("mlflow.db") as tracker:
    run_id = tracker.start_run("digits")
    tracker.log_params({"a": 1})
    tracker.log_metric("loss", 0.5, 1)
    tracker.end_run()
    assert tracker.get_run(run_id).metrics == {"loss": 0.5}
"""
TRACK_WITH_MLFLOW_ITSELF = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    client = MlflowClient("sqlite:///other.db")
    client.create_run(client.create_experiment("digits"))
"""
REPORT = """
time.sleep(1)  # MLflow sends its telemetry from a thread
print(*sorted({event for event in seen}))
"""


def test_tracking_stays_on_this_machine_and_in_its_folder_and_is_silent(run_python, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    options = {"HOME": str(home), "XDG_CONFIG_HOME": "", "APPDATA": str(home)}
    assert run_python(WATCH_THE_NETWORK + TRACK + REPORT, **options) == "\n"
    assert run_python(WATCH_THE_NETWORK + TRACK + REPORT, **options) == "\n", "with a database that is there"
    assert list(home.iterdir()) == []
    ours = {"mlflow.db", "mlflow.db-shm", "mlflow.db-wal", "mlflow.db.lock", "artifacts", "spool"}
    assert {path.name for path in tmp_path.iterdir()} <= {"home", *ours}
    assert not (log := tmp_path / "mlflow.db-wal").exists() or log.stat().st_size == 0, "a copy of mlflow.db has it all"


def test_mlflow_itself_would_leave_both(start_python, tmp_path):
    """The control for the test above: the same watch sees the telemetry of a program that uses MLflow."""
    home = tmp_path / "home"
    home.mkdir()
    options = {"HOME": str(home), "XDG_CONFIG_HOME": "", "APPDATA": str(home)}
    process = start_python(WATCH_THE_NETWORK + TRACK_WITH_MLFLOW_ITSELF + REPORT, **options)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "socket.getaddrinfo" in output
    assert [path.name for path in home.rglob("telemetry.json")] == ["telemetry.json"]


def test_tracking_after_the_program_imported_mlflow_makes_no_network_call(run_python):
    program = f"""
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
{WATCH_THE_NETWORK}{TRACK}{REPORT}"""
    assert run_python(program) == "\n"


def test_environment_and_mlflows_state_are_as_before(run_python):
    program = f"""
import logging, os, warnings
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "false"
os.environ["_RJEM_MALLOC_CONF"] = ""  # polars sets it, which MLflow imports where it is installed
environment = dict(os.environ)
{TRACK}
os.environ["_RJEM_MALLOC_CONF"] = ""
assert dict(os.environ) == environment
assert "error" in [filter[0] for filter in warnings.filters]
import mlflow
assert mlflow.active_run() is None
assert mlflow.get_tracking_uri() != "sqlite:///mlflow.db"
assert logging.getLogger("mlflow").level == logging.INFO
"""
    run_python(program)


def test_error_of_mlflow_writes_no_traceback_of_its_own(start_python):
    program = """
from kladml_backends_local import LocalTracker
tracker = LocalTracker("mlflow.db")
tracker.patience = 5
tracker.start_run("digits")
import sqlite3
with sqlite3.connect("mlflow.db") as connection:
    connection.execute("DROP TABLE metrics")
connection.close()
tracker.log_metric("loss", 0.5)
tracker.end_run()
print([run.events for run in tracker.undelivered()])
"""
    process = start_python(program)
    output, errors = process.communicate(timeout=600)
    assert (process.returncode, output) == (0, "[2]\n")
    assert "there is no table 'metrics'" in errors
    assert "Traceback" not in errors
