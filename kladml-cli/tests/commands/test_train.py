"""`kladml train` in this process: what it selects, records, prints, and says of what goes wrong."""

from __future__ import annotations

import json
import signal
import sys

import pytest

TORCH_MODEL = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        X, y = batch
        return ((self.layer(X)[:, 0] - y) ** 2).mean()

def data(samples=4, targets=None):
    return torch.ones(samples, 1), torch.ones(samples if targets is None else targets)
"""


@pytest.fixture
def net(workspace):
    (workspace / "net.py").write_text(TORCH_MODEL, encoding="utf-8")
    return {"model": "net.py:Net", "data": "net.py:data"}


def one_error(outcome, status):
    """Check that an outcome is one line of an error with this status, and return the line."""
    lines = [line for line in outcome.errors.splitlines() if not line.startswith(("run ", "default/", "  "))]
    assert outcome.status == status
    assert len(lines) == 1, outcome.errors
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in outcome.errors
    return lines[0]


# A run


def test_run_says_first_what_was_selected_and_at_last_what_came_of_it(train, workspace):
    outcome = train("--experiment", "digits")
    assert (outcome.status, outcome.output) == (0, "training\n")
    lines = outcome.errors.splitlines()
    assert lines[0].startswith("run default/default/digits@1 with storage local (kladml-backends-local ")
    assert "publisher console (kladml-backends-console " in lines[0]
    assert lines[1].startswith("default/default/digits@1 FINISHED in ")
    assert lines[-3].split() == ["files", "data/runs/default/default/digits/1"]
    assert lines[-1] == "Next: kladml runs show digits@1"
    assert (workspace / "data/runs/default/default/digits/1/model/model").read_text() == "1.5"


def test_result_as_json_is_all_that_standard_output_has(kladml, workspace, monkeypatch):
    source = (workspace / "model.py").read_text().replace('print("training", flush=True)', "")
    (workspace / "model.py").write_text(source)
    outcome = kladml(
        "train", "--model", "model.py:MeanModel", "--data", "model.py:data", "--json", "--experiment", "a/b/c"
    )
    result = json.loads(outcome.output)
    assert outcome.status == 0
    assert result.pop("run_id")
    assert result.pop("artifacts").keys() == {"config.yaml", "model/model", "run.json"}
    assert result.pop("how_to_view")[-1].startswith("mlflow ui --backend-store-uri")
    assert result == {
        "address": "a/b/c@1",
        "status": "FINISHED",
        "metrics": {"mse": 0.25, "train_mse": 0.125},
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("arguments", "status", "error_type", "run_status"),
    [
        (("--set", "training.max_epochs=x"), 3, "WrongTypeError", None),
        (("--experiment", "a/b"), 3, "AddressError", None),
        (("--storage", "nope"), 4, "UnknownPluginError", None),
        (("--model", "model.py:Nope"), 6, "ModelReferenceError", None),
        (("--model", "model.py:Broken"), 1, "ValueError", "FAILED"),
        (("--resume", "@-1"), 3, "AddressError", None),
    ],
)
def test_failure_as_json(train, workspace, arguments, status, error_type, run_status):
    outcome = train("--json", *arguments)
    found = json.loads(outcome.output)
    assert outcome.status == status
    assert (found["exit_status"], found["error_type"], found["status"]) == (status, error_type, run_status)
    assert found["error"].splitlines()[0] in " ".join(outcome.errors.split())
    assert (found["address"] is None) is (run_status is None)


@pytest.mark.parametrize("resume", ["digits@99", "default/default/digits@99", "@99"])
def test_a_run_to_resume_that_is_not_there_is_answered_with_the_nearest(kladml, train, workspace, resume):
    for _ in range(2):
        assert train("--experiment", "digits", "--publisher", "none").status == 0
    outcome = kladml("train", "--resume", resume, "--model", "model.py:MeanModel", "--data", "model.py:data")
    assert outcome.status == 3
    nearest = "the nearest are default/default/digits@1, default/default/digits@2"
    assert nearest in " ".join(outcome.errors.split())


@pytest.mark.parametrize("resume", ["@-1", "@best", "default@1", "@1"])
def test_short_addresses_are_resumed(kladml, train, net, workspace, resume):
    flags = ("--publisher", "none", "--tracker", "none")
    assert train(*flags, "--set", "training.max_epochs=1", **net).status == 0
    longer = kladml("train", "--resume", resume, *flags, "--set", "training.max_epochs=2", "--json")
    assert longer.status == 0, longer.errors
    assert json.loads(longer.output)["address"] == "default/default/default@1"


def test_without_the_console_the_summary_is_printed_by_the_command(train, workspace):
    outcome = train("--publisher", "none")
    lines = outcome.output.splitlines()
    assert lines[0] == "training"
    assert lines[1].startswith("default/default/default@1 FINISHED in ")
    assert [line.split() for line in lines[2:5]] == [
        ["mse", "0.2500"],
        ["train_mse", "0.1250"],
        ["files", "data/runs/default/default/default/1"],
    ]


def test_flags_and_files_are_layered(kladml, train, workspace):
    (workspace / "kladml.yaml").write_text("experiment: from-workspace\nrun_name: from-workspace\ntracker: none\n")
    (workspace / "train.yaml").write_text(
        "experiment: from-file\nmodel: {ref: model.py:MeanModel}\ndata: {train: model.py:data}\n"
    )
    outcome = kladml("train", "train.yaml", "--run-name", "from-flag", "--set", "model.args.sleep=0.0")
    assert outcome.status == 0
    stored = (workspace / "data/runs/default/default/from-file/1/config.yaml").read_text()
    assert "run_name: from-flag" in stored
    assert "sleep: 0.0" in stored


def test_profile_is_applied(kladml, train, workspace):
    (workspace / "kladml.yaml").write_text("profiles: {other: {experiment: other}}\n")
    assert "run default/default/other@1 with" in train("--profile", "other").errors


def test_everything_can_be_switched_off(train, workspace):
    outcome = train("--storage", "none", "--publisher", "none", "--catalog", "none")
    assert outcome.status == 0
    assert "with config yaml" in outcome.errors
    assert not (workspace / "data").exists()


def test_model_in_a_package_of_the_current_folder_is_found(kladml, workspace):
    (workspace / "my_package").mkdir()
    (workspace / "my_package/__init__.py").touch()
    (workspace / "model.py").rename(workspace / "my_package/models.py")
    arguments = ("--model", "my_package.models:MeanModel", "--data", "my_package.models:data")
    try:
        assert kladml("train", *arguments, "--tracker", "none").status == 0
    finally:
        for name in [name for name in sys.modules if name.startswith("my_package")]:
            del sys.modules[name]


def test_workspace_can_be_another_folder(train, workspace, tmp_path):
    other = tmp_path / "other"
    (other / ".kladml").mkdir(parents=True)
    assert train("--workspace", other, "--experiment", "here").status == 0
    assert (other / "data/runs/default/default/here/1/run.json").exists()
    assert not (workspace / "data").exists()


FAILING_TRACKER = """\
from kladml import TrackerInterface
from kladml.plugins import hookimpl

class Failing(TrackerInterface):
    def start_run(self, experiment_name, run_name=None): return "1"
    def log_params(self, params): pass
    def log_metric(self, key, value, step=None): raise OSError("no network")
    def end_run(self, status="FINISHED"): pass

@hookimpl
def kladml_register_tracker():
    return Failing
"""


def test_one_of_two_trackers_that_fails_is_a_warning_at_the_end(train, workspace, install):
    install("failing", {("tracker", "failing"): "failing"}, {"failing": FAILING_TRACKER})
    outcome = train("--tracker", "local", "--tracker", "failing")
    assert outcome.status == 0
    assert outcome.errors.splitlines()[-1].startswith("warning: tracker failing (failing 1.0): ")
    assert "no network" in outcome.errors.splitlines()[-1]


STOPPING_HOOK = """\
from kladml.errors import StopRun
from kladml.plugins import hookimpl

@hookimpl
def kladml_run_started(run):
    raise StopRun("the budget is spent")
"""


def test_hook_that_stops_the_run_is_status_8(train, workspace, install):
    install("budget", {("hooks", "budget"): "budget"}, {"budget": STOPPING_HOOK})
    line = one_error(train("-q"), 8)
    assert "the budget is spent (budget 1.0)" in line
    assert "default/default/default@1 is marked KILLED" in line


def test_signal_handler_is_put_back(train, workspace):
    before = signal.getsignal(signal.SIGTERM)
    train()
    assert signal.getsignal(signal.SIGTERM) is before


# Going on with a run


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--resume", "train.yaml"), "no run of default/default/from-file can go on"),
        (("train.yaml", "--resume"), "no run of default/default/from-file can go on"),
        (("--resume", "--experiment", "other"), "no run of default/default/other can go on"),
        (("train.yaml", "--resume", "@7"), "there is no run default/default/from-file@7"),
        (("train.yaml", "--resume", "train.yaml"), "there is no whole checkpoint in "),
    ],
)
def test_what_follows_resume_is_a_run_and_not_the_configuration(kladml, net, workspace, arguments, part):
    (workspace / "train.yaml").write_text(
        "experiment: from-file\nmodel: {ref: net.py:Net}\ndata: {train: net.py:data}\n"
    )
    outcome = kladml("train", "--tracker", "none", *arguments)
    assert outcome.status != 0
    assert part in outcome.errors.splitlines()[-1]


def test_run_that_was_stopped_goes_on(kladml, train, net, workspace):
    flags = ("--publisher", "none", "--tracker", "none")
    assert train(*flags, "--set", "training.max_epochs=1", **net).status == 0
    longer = kladml("train", "--resume", "@1", *flags, "--set", "training.max_epochs=2", "--json")
    assert longer.status == 0, longer.errors
    assert json.loads(longer.output)["address"] == "default/default/default@1"


# The user's own code


def test_error_in_the_model_keeps_its_traceback(train, kladml, workspace):
    outcome = train(model="model.py:Broken")
    assert outcome.status == 1
    trace = outcome.errors[outcome.errors.index("Traceback") :]
    assert [line for line in trace.splitlines() if line.strip(" ~^")] == [
        "Traceback (most recent call last):",
        f'  File "{workspace / "model.py"}", line 36, in train',
        "    return self._fail()",
        f'  File "{workspace / "model.py"}", line 39, in _fail',
        '    raise ValueError("the weather is bad")',
        "ValueError: the weather is bad",
        "Error: ValueError: the weather is bad; run default/default/default@1 is marked FAILED",
    ]
    (run,) = json.loads(kladml("runs", "list", "--json").output)
    assert run["status"] == "FAILED"
    assert "experiment: default" in (workspace / "data/runs/default/default/default/1/config.yaml").read_text()


def test_whole_traceback_is_shown_on_request(train, workspace):
    outcome = train("--traceback", model="model.py:Broken")
    assert outcome.status == 1
    assert "experiment_runner.py" in outcome.errors


def test_error_in_the_data_function_keeps_its_traceback(train, workspace):
    (workspace / "bad.py").write_text("def data():\n    return 1 / 0\n")
    outcome = train(data="bad.py:data")
    assert outcome.status == 1
    assert "return 1 / 0" in outcome.errors
    assert outcome.errors.splitlines()[-1] == "Error: ZeroDivisionError: division by zero; the run had not begun"


# Bad input


def test_no_workspace(train, folder):
    line = one_error(train(), 3)
    assert line.endswith(f"{folder} lies in no KladML workspace; run kladml init there first")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "parts"),
    [
        (("--storage", "locl"), 4, ["no storage named 'locl'", "installed: ", "did you mean 'local'?"]),
        (("--publisher", "kafka"), 4, ["no publisher named 'kafka' is installed (installed: console"]),
        (("--config-source", "yml"), 4, ["no config named 'yml'", "did you mean 'yaml'?"]),
        (("--set", "training.max_epochs=many"), 3, ["--set: training.max_epochs must be int, not 'many'"]),
        (("--set", "training.max_epochs=0"), 3, ["training.max_epochs must be at least 1"]),
        (("--set", "training.max_epoch=3"), 3, ["unknown key training.max_epoch", "did you mean training.max_epochs?"]),
        (("--set", "training"), 3, ["--set training is no key=value"]),
        (("--set", "storage.local.rot=x"), 3, ["unknown key storage.local.rot", "kladml-backends-local"]),
        (("--profile", "prod"), 3, ["there is no profile 'prod'"]),
        (("nowhere.yaml",), 3, ["there is no configuration", "nowhere.yaml", "'kladml config list' shows"]),
        (("--experiment", "a/b"), 3, ["'a/b' is no experiment address"]),
        (("--workspace", "/nowhere"), 3, ["lies in no KladML workspace"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_configuration(train, workspace, arguments, status, parts):
    line = one_error(train(*arguments), status)
    assert [part for part in parts if part not in line] == []


def test_missing_setting(train, workspace, install):
    source = (
        "from kladml import PublisherInterface\nfrom kladml.plugins import hookimpl\n"
        "class Mail(PublisherInterface):\n"
        "    def __init__(self, address): pass\n"
        "    def publish(self, channel, message): pass\n"
        "@hookimpl\ndef kladml_register_publisher(): return Mail\n"
    )
    install("mail", {("publisher", "mail"): "mail_plugin"}, {"mail_plugin": source})
    line = one_error(train("--publisher", "mail"), 3)
    assert "the setting publisher.mail.address" in line
    assert "is missing (mail 1.0)" in line


def test_misspelt_key_names_file_and_line(train, workspace):
    (workspace / "train.yaml").write_text("training:\n  batch_size: 3\n  max_epoch: 3\n")
    line = one_error(train("train.yaml"), 3)
    assert "train.yaml:3: unknown key training.max_epoch; did you mean training.max_epochs?" in line


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("model.py:MeanModl", ["defines no MeanModl", "MeanModel", "did you mean model.py:MeanModel?"]),
        ("modl.py:MeanModel", ["names a file that does not exist", "it was looked for in"]),
        ("no_such_package:Net", ["does not import: ModuleNotFoundError"]),
        ("torn.py:Net", ["does not import: SyntaxError", "torn.py:1"]),
        ("MeanModel", ["is no reference", "file.py:Name"]),
        ("model.py:data", ["not a class"]),
        ("model.py:HalfAModel", ["lacks part of the model contract: evaluate, load, predict, save"]),
    ],
)
def test_model_that_cannot_be_used(train, workspace, reference, parts):
    (workspace / "torn.py").write_text("class Net(:\n")
    line = one_error(train(model=reference), 6)
    assert [part for part in parts if part not in line] == []
    assert not (workspace / "data/runs/default").exists()


def test_no_model_at_all(kladml, workspace):
    assert "there is no model" in one_error(kladml("train", "--data", "model.py:data"), 6)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("absent.npz", ["data.train 'absent.npz' does not exist"]),
        ("garbage.npz", ["garbage.npz cannot be read"]),
        ("words.csv", ["words.csv:2 has 'one' in column 'x', which is no number"]),
        ("data.bin", ["neither a data file nor a reference"]),
        ("odd.py:unequal", ["different lengths: 2, 3"]),
        ("odd.py:empty", ["train_data is empty"]),
        ("odd.py:nothing", ["there is no train_data"]),
        ("odd.py:number", ["not a function"]),
    ],
)
def test_data_that_cannot_be_used(train, workspace, reference, parts):
    (workspace / "garbage.npz").write_bytes(b"PK\x03\x04 no archive")
    (workspace / "words.csv").write_text("x,y\none,two\n")
    (workspace / "odd.py").write_text(
        "def unequal(): return [[1.0], [2.0]], [1, 2, 3]\n"
        "def empty(): return [], []\n"
        "def nothing(): return None\n"
        "number = 3\n"
    )
    line = one_error(train(data=reference), 6)
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (("training.mixed_precision=fp16", "training.device=cpu"), ["fp16, which needs a GPU", "choose bf16 or no"]),
        (
            ("training.early_stopping.enabled=true", "training.early_stopping.monitor=val_f1"),
            ["the monitored metric 'val_f1' is not produced by the model", "is marked FAILED)"],
        ),
    ],
    ids=["fp16 on the CPU", "monitored metric that is not produced"],
)
def test_training_that_cannot_begin(train, net, settings, parts):
    flags = [word for setting in settings for word in ("--set", setting)]
    line = one_error(train("-q", "--val-data", "net.py:data", *flags, **net), 7)
    assert [part for part in parts if part not in line] == []


def test_storage_that_refuses_is_said_before_the_first_epoch(train, workspace):
    (workspace / "data").write_text("in the way")
    line = one_error(train(), 5)
    assert f"the folder {workspace / 'data'} cannot be written to" in line
    assert "training" not in train().output


def test_the_name_of_a_configuration_works_as_well_as_a_path(kladml, net, workspace, monkeypatch):
    folder = workspace / "data/configs/small"
    folder.mkdir(parents=True)
    (workspace / "net.py").rename(folder / "net.py")  # looked for beside the configuration first
    (folder / "one.yaml").write_text(
        "model: {ref: net.py:Net}\ndata: {train: net.py:data}\n"
        "training: {max_epochs: 1}\ntracker: none\nstorage: none\n"
    )
    monkeypatch.chdir(workspace / "data")
    assert kladml("train", "small/one").status == 0
    # After --resume, too, it says how to train, and nothing says what to resume.
    assert kladml("train", "--resume", "small/one", "--set", "training.max_epochs=2").status == 7
    assert kladml("train", "small/one", "--resume", "@1", "--set", "training.max_epochs=2").status == 0
    assert "did you mean small/one?" in one_error(kladml("train", "small/on"), 3)
