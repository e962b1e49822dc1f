"""What is completed where, and that nothing ever goes wrong aloud."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import click
import pytest

from kladml_backends_local.catalog.version import VERSION_TABLE
from kladml_cli.completion.shells import SHELLS
from kladml_cli.main import COMMANDS, kladml
from kladml_cli.options import Invocation

FREE = {
    "--description": "text for people",
    "--fail-if": "a condition",
    "--host": "a machine",
    "--main-process-ip": "a machine",
    "--run-name": "text for people",
    "--target": "a column of a file that is not read yet",
    "--where": "a condition",
    "new_name": "a configuration that is not there yet",
    "text": "text for people",
}
"""Arguments and options that can be anything."""


def leaves(command, path):
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


PARAMETERS = [
    pytest.param(parameter, id=f"{' '.join(path)} {parameter.opts[0]}")
    for name in COMMANDS
    for path, command in leaves(COMMANDS[name].load(), (name,))
    for parameter in command.params
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_argument_and_option_is_completed_or_can_be_anything(parameter):
    """A new one needs `shell_complete=completes(…)`, a type of which click knows the values, or a line in `FREE`."""
    is_flag = isinstance(parameter, click.Option) and parameter.is_flag
    knows = not isinstance(parameter.type, click.types.StringParamType)
    assert is_flag or knows or parameter._custom_shell_complete is not None or parameter.opts[0] in FREE


@pytest.fixture
def complete(monkeypatch):
    """Return what completes a line, without descriptions."""

    def answer(line):
        monkeypatch.setenv("COMP_LINE", line)
        shell = SHELLS["fish"](kladml, {"obj": Invocation()}, "kladml", "_KLADML_COMPLETE")
        kinds_and_values = [text.split("\t")[:2] for text in shell.complete().splitlines()]
        return [value if kind in ("space", "nospace") else kind for kind, value in kinds_and_values]

    return answer


RUN_ARGUMENTS = [
    *("runs show", "runs copy", "runs delete", "compare", "reproduce", "watch"),
    *("checkpoints list", "checkpoints verify", "checkpoints export", "train --resume"),
]


@pytest.mark.parametrize("command", RUN_ARGUMENTS)
def test_every_command_that_takes_a_run_completes_addresses(names, complete, command):
    assert complete(f"kladml {command} my") == ["my exp@"] or command.startswith(("checkpoints", "train"))
    assert "my exp@" in complete(f"kladml {command} my")
    assert [text for text in complete(f"kladml {command} my\\ exp@") if "@" in text] == [
        *("my exp@-1", "my exp@best", "my exp@2", "my exp@1")
    ]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("runs show ", ["digits@", "my exp@", "vision/cnn/twin@", "vision/rnn/twin@"]),
        ("runs show vision/cnn/m", ["vision/cnn/my exp@"]),
        ("runs show tw", []),
        ("runs show vision/rnn/twin@", ["vision/rnn/twin@-1", "vision/rnn/twin@best", "vision/rnn/twin@1"]),
        ("runs show twin@", []),
        ("runs show @", []),
        ("runs show --experiment 'my exp' @", ["@-1", "@best", "@2", "@1"]),
        ("runs show --experiment my\\ exp --metric val_", ["val_acc", "val_loss"]),
        ("compare digits@1 digits@12", ["digits@12"]),
        ("runs list --experiment d", ["digits"]),
        ("runs list --sort=-val", ["--sort=-val_acc", "--sort=-val_loss"]),
        ("runs copy @1 --to ", ["storage=", "tracker="]),
        ("runs copy @1 --to tracker=local,", ["tracker=local,storage="]),
        ("project show ", ["default", "vision"]),
        ("family show vision", ["vision/cnn", "vision/rnn"]),
        ("family list ", ["default", "vision"]),
        ("experiment list vision/", ["vision/cnn", "vision/rnn"]),
        ("experiment show d", ["digits", "default/default/digits"]),
        ("experiment show --set project=vision --set family=cnn m", ["my exp"]),
        ("experiment create vision/", ["vision/cnn/", "vision/rnn/"]),
        ("family create ", ["default/", "vision/"]),
        ("data show ", ["digits", "photos"]),
        ("data show d", ["digits", "digits@3", "digits@1"]),
        ("data remove digits@", ["digits@3", "digits@1"]),
        ("data diff digits@1 dig", ["digits", "digits@3", "digits@1"]),
        ("data add p", ["photos"]),
        ("data sync p", ["photos"]),
        ("train --data dig", ["digits", "digits@3", "digits@1", "file"]),
        ("train q", ["quick", "file"]),
        ("config check q", ["quick", "file"]),
        ("train --profile p", ["prod", "practice"]),
        ("train --tracker=", ["--tracker=local"]),
        ("config show --config-source y", ["yaml"]),
        ("plugins list st", ["storage"]),
        ("plugins check catalog ", ["sql"]),
        ("train --set storage.use=", ["storage.use=local", "storage.use=none"]),
        ("train --set training.c", ["training.checkpoint.enabled="]),
        (
            "train --set training.mixed_precision=",
            [f"training.mixed_precision={name}" for name in ("no", "fp16", "bf16")],
        ),
        ("train --set training.compile=", ["training.compile=true", "training.compile=false"]),
        ("train --set training.early_stopping.monitor=val_a", ["training.early_stopping.monitor=val_acc"]),
        ("train --set data.train=pho", ["data.train=photos"]),
        ("train --set no.such=", []),
        ("completion ", ["bash", "zsh", "fish"]),
        ("runs show --workspace ", ["dir"]),
    ],
)
def test_names(names, complete, monkeypatch, typed, completed):
    found = complete(f"kladml {typed}")
    if "." in typed and not typed.endswith("="):  # there are many keys
        found = [text for text in found if text in completed]
    if "--tracker" in typed or "storage.use" in typed:  # what else is installed beside this distribution
        found = [text for text in found if not text.endswith(("mlflow", "s3"))]
    assert found == completed


def test_commands(complete, install):
    install("a-greeter", {("commands", "greet"): "no_such_module"})
    assert complete("kladml ") == [*COMMANDS, "greet"]
    assert complete("kladml ru") == ["runs"]
    assert sorted(complete("kladml runs ")) == ["copy", "delete", "list", "show"]
    assert "--verbose" in complete("kladml -")
    assert "--json" in complete("kladml runs list --")


def test_the_only_experiment_needs_no_name(workspace, complete, train):
    train("--experiment", "first")
    assert complete("kladml runs show ") == ["@-1", "@best", "first@"]
    assert complete("kladml runs show @") == ["@-1", "@best", "@1"]


def test_the_configured_experiment_needs_no_name(names, complete):
    (names / "kladml.yaml").write_text("project: vision\nfamily: cnn\nexperiment: twin\n")
    assert complete("kladml runs show @") == ["@-1", "@best", "@1"]
    assert complete("kladml experiment show t") == ["twin"]


def test_a_catalog_elsewhere_is_found(names, complete):
    (names / ".kladml/catalog.db").rename(names / "other.db")
    assert complete("kladml project show ") == []
    (names / "kladml.yaml").write_text("catalog: {sql: {url: 'sqlite:///other.db'}}\n")
    assert complete("kladml project show ") == ["default", "vision"]


# Nothing goes wrong aloud


def answered(line, shell="bash", **environment):
    done = subprocess.run(
        [sys.executable, "-m", "kladml_cli"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COMP_LINE": line,
            "_KLADML_COMPLETE": f"{shell}_complete",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def unchanged(folder):
    """Nothing is made and nothing is changed."""

    def state():
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    made = []
    yield lambda: made.append(state())
    assert made == [state()]


ASKED = ("runs show ", "runs show digits@", "data show ", "project show ", "train --profile ", "runs list --sort ")


def test_without_a_workspace_nothing_is_made(unchanged):
    unchanged()
    assert [answered(f"kladml {asked}", "zsh") for asked in ASKED[:5]] == [[]] * 5


def test_an_empty_workspace_gets_no_database(workspace, unchanged):
    unchanged()
    assert [answered(f"kladml {asked}", "zsh") for asked in ASKED[:5]] == [[]] * 5


def test_a_damaged_database_says_nothing(names, unchanged):
    (names / ".kladml/catalog.db").write_bytes(b"no database" * 1000)
    unchanged()
    assert answered("kladml runs show digits@", "zsh") == []


def test_a_locked_database_says_nothing(names, unchanged):
    with closing(sqlite3.connect(names / ".kladml/catalog.db")) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        unchanged()
        assert answered("kladml runs show digits@", "zsh") == []


def test_a_database_of_another_version_says_nothing(names, unchanged):
    with closing(sqlite3.connect(names / ".kladml/catalog.db")) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - a constant
    unchanged()
    assert answered("kladml runs show digits@", "zsh") == []


def test_a_broken_configuration_hides_no_names(names, unchanged):
    (names / "kladml.yaml").write_text("{ no yaml")
    unchanged()
    assert answered("kladml project show v", "zsh") == ["space\tvision\t"]


def test_a_damaged_manifest_hides_no_other(names, unchanged):
    (names / ".kladml/datasets/photos/1.json").write_bytes(b"\xff")
    unchanged()
    assert answered("kladml data show ", "fish")[0] == "space\tdigits\tits latest version"


@pytest.mark.parametrize("line", ["kladml runs show 'open", "kladml runs show a/b/c/d@", "kladml data show @@/"])
def test_what_there_is_not_completes_to_nothing(names, line):
    assert answered(line, "zsh") == []


@pytest.mark.parametrize("line", ["", "\\", "kladml nonsense ", "kladml --nonsense x ", "kladml runs show \"'\\"])
def test_a_line_that_makes_no_sense_is_no_error(names, line):
    answered(line)


def test_a_shell_that_is_not_known_is_told_nothing(names):
    assert answered("kladml ru", "tcsh") == []
    assert answered("kladml ru", KLADML_WORKSPACE="/nowhere") == ["space", "runs"]


def test_a_plugin_that_is_broken_or_talks_is_not_heard(names, install):
    talking = "import sys, warnings\nprint('hello')\nprint('hello', file=sys.stderr)\nwarnings.warn('hello')\n"
    install("a-greeter", {("commands", "greet"): "talking"}, {"talking": talking})
    assert answered("kladml greet ", "zsh") == []


@pytest.mark.parametrize("line", [f"kladml {asked}" for asked in (*ASKED, "train --storage ", "train --set training.")])
def test_nothing_heavy_is_imported(names, line):
    program = """\
import sys
from kladml_cli.main import main
main()
heavy = {"torch", "mlflow", "sqlalchemy", "omegaconf", "numpy", "rich", "structlog", "boto3"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COMP_LINE": line,
            "_KLADML_COMPLETE": "zsh_complete",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert done.stderr == "[]\n"
