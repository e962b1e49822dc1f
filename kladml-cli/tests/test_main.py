"""The command as a whole: its help, its global options, and names that it does not know."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys

import click
import pytest

import kladml as core
from kladml.log import get_logger
from kladml_cli.exits import EXIT_STATUSES
from kladml_cli.main import COMMANDS
from kladml_cli.options import global_options

GREETING = """\
import click
from kladml.plugins import hookimpl

@click.command()
@click.argument("name")
def greet(name):
    '''Say hello.'''
    click.echo(f"hello {name}")

@hookimpl
def kladml_register_command():
    return greet
"""


def test_help_lists_every_command_and_every_exit_status(kladml):
    outcome = kladml("--help")
    assert (outcome.status, outcome.errors) == (0, "")
    for name, command in COMMANDS.items():
        assert f"  {name:<{max(map(len, COMMANDS))}}  {command.help}" in outcome.output
    flat = " ".join(outcome.output.split())
    for status, meaning in EXIT_STATUSES.items():
        assert f"{status} {meaning}" in flat
    assert max(map(len, outcome.output.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [(), ("plugins",), ("config",), ("runs",), ("family",), ("checkpoints",)])
def test_group_alone_shows_its_help(kladml, arguments):
    assert kladml(*arguments) == kladml(*arguments, "--help")
    assert kladml(*arguments, "-h").output.startswith("Usage: kladml")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_in_the_list_is_that_of_the_command(name):
    assert COMMANDS[name].load().get_short_help_str(limit=100) == COMMANDS[name].help


def _leaves(command, path):
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path


LEAVES = [leaf for name in COMMANDS for leaf in _leaves(COMMANDS[name].load(), (name,))]


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_help_of_every_command_has_an_example_and_fits_80_columns(kladml, command):
    outcome = kladml(*command, "--help")
    assert outcome.status == 0
    assert f"\n    kladml {' '.join(command)}" in outcome.output
    assert "Example" in outcome.output
    assert max(map(len, outcome.output.splitlines())) <= 80


GROUPS = sorted({leaf[0] for leaf in LEAVES if len(leaf) > 1})


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_every_group_has_examples_of_its_commands_and_fits_80_columns(kladml, group):
    lines = kladml(group, "--help").output.splitlines()
    examples = [shlex.split(line) for line in lines if line.startswith(f"    kladml {group} ")]
    assert len(examples) > 1
    for _, _, name, *words in examples:
        _command((group, name)).make_context(name, words).close()  # refuses what the command does not take
    assert max(map(len, lines)) <= 80


def test_reading_commands_have_json():
    reading = {
        *(f"{level} {name}" for level in ("project", "family", "experiment") for name in ("list", "show")),
        *(
            "runs list",
            "checkpoints list",
            "checkpoints verify",
            "config show",
            "config check",
            "config list",
            "config diff",
        ),
        *("plugins list", "plugins show", "plugins check", "version", "runs show", "compare", "watch"),
        *("data list", "data show", "data diff", "data verify"),
    }
    acting = {
        "sync",
        "train",
        "reproduce",
        "runs copy",
        "runs delete",
        "data add",
        "data sync",
        "data push",
        "data pull",
    }
    with_json = {" ".join(leaf) for leaf in LEAVES if any(p.name == "as_json" for p in _command(leaf).params)}
    assert with_json == reading | acting


def _command(leaf):
    command = COMMANDS[leaf[0]].load()
    for name in leaf[1:]:
        command = command.commands[name]
    return command


@pytest.mark.parametrize("leaf", LEAVES, ids=" ".join)
def test_every_command_takes_the_global_options(leaf):
    wanted = {param.name for param in global_options()(lambda: None).__click_params__}
    assert wanted == {"traceback", "verbose", "quiet"}
    assert wanted <= {param.name for param in _command(leaf).params}


GIVEN = {"out": ["o.safetensors"], "runs": ["@1", "@2"], "text": ["text"], "address": None, "kind": ["storage"]}
NEEDS_NONE = {"init", "version", "completion", "ui", "config", "plugins"}


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf[0] not in NEEDS_NONE], ids=" ".join)
def test_every_command_says_what_to_do_where_there_is_no_workspace(kladml, folder, leaf):
    arguments = [p for p in _command(leaf).params if isinstance(p, click.Argument) and p.required]
    address = {"project": ["p"], "family": ["p/f"], "experiment": ["e"]}.get(leaf[0])
    given = [text for p in arguments for text in ((GIVEN | {"address": address}).get(p.name) or ["digits@1"])]
    more = {("runs", "copy"): ["--to", "storage=local"], ("runs", "delete"): ["--yes"]}.get(leaf, [])
    outcome = kladml(*leaf, *given, *more)
    assert (outcome.status, outcome.output) == (3, "")
    assert outcome.errors == f"Error: {folder} lies in no KladML workspace; run kladml init there first\n"


def test_version_is_that_of_the_core(kladml):
    assert kladml("--version").output == f"kladml, version {core.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "there is no command 'trian'; did you mean 'train'? (see 'kladml --help')"),
        (("zzzzzz",), "there is no command 'zzzzzz' (see 'kladml --help')"),
        (("plugins", "lits"), "there is no command 'lits'; did you mean 'list'? (see 'kladml plugins --help')"),
        (("runs", "list", "--limit", "0"), "(see 'kladml runs list --help')"),
        (("train", "a", "b"), "(see 'kladml train --help')"),
        (("--nonsense",), "(see 'kladml --help')"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(kladml, arguments, message):
    outcome = kladml(*arguments)
    assert (outcome.status, outcome.output) == (2, "")
    assert outcome.errors.count("\n") == 1
    assert outcome.errors.startswith("Error: ")
    assert outcome.errors.endswith(message + "\n")


# Commands of plugins


def test_plugin_brings_a_command(kladml, install):
    install("a-greeter", {("commands", "greet"): "greeter"}, {"greeter": GREETING})
    assert kladml("greet", "world").output == "hello world\n"
    assert kladml("greet", "--help").output.startswith("Usage: kladml greet")
    assert "did you mean 'greet'?" in kladml("gret").errors


def test_plugin_cannot_replace_a_command(kladml, install):
    install("a-greeter", {("commands", "version"): "greeter"}, {"greeter": GREETING})
    assert "kladml-core" in kladml("version").output


def test_broken_plugin_command_is_an_error_of_its_owner(kladml, install):
    install("a-greeter", {("commands", "greet"): "greeter"}, {"greeter": "import no_such_module"})
    outcome = kladml("greet", "world")
    assert outcome.status == 4
    assert "commands 'greet' cannot be loaded: ModuleNotFoundError" in outcome.errors
    assert "a-greeter 1.0" in outcome.errors


def test_plugin_command_that_is_none_is_an_error_of_its_owner(kladml, install):
    source = GREETING.replace("return greet", "return 'greet'")
    install("a-greeter", {("commands", "greet"): "greeter"}, {"greeter": source})
    outcome = kladml("greet", "world")
    assert outcome.status == 4
    assert "registers 'greet', which is no click.Command (a-greeter 1.0)" in outcome.errors


def test_return_value_and_exit_of_a_plugin_command(kladml, install):
    source = GREETING.replace('click.echo(f"hello {name}")', "click.get_current_context().exit(7)")
    install("a-greeter", {("commands", "greet"): "greeter"}, {"greeter": source})
    assert kladml("greet", "world").status == 7
    install("another", {("commands", "number"): "number"}, {"number": GREETING.replace("click.echo(", "return len(")})
    assert kladml("number", "world").status == 0


# Logging


LOGGING = """\
import click
from kladml.log import get_logger
from kladml.plugins import hookimpl
from kladml_cli.options import global_options

@click.command()
@global_options()
def talk():
    for level in ("debug", "info", "warning"):
        getattr(get_logger("kladml.test"), level)(f"a {level}")

@hookimpl
def kladml_register_command():
    return talk
"""


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ((), (), ["a info", "warning: a warning"]),
        (("-q",), (), ["warning: a warning"]),
        ((), ("--quiet",), ["warning: a warning"]),
        (("-v",), (), ["a debug", "a info", "warning: a warning"]),
        ((), ("--verbose",), ["a debug", "a info", "warning: a warning"]),
    ],
)
def test_options_before_and_after_the_command_decide_what_is_logged(kladml, install, before, after, shown):
    install("a-talker", {("commands", "talk"): "talker"}, {"talker": LOGGING})
    outcome = kladml(*before, "talk", *after)
    assert (outcome.status, outcome.output, outcome.errors.splitlines()) == (0, "", shown)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("runs", "list"), "no runs yet; 'kladml train CONFIG' makes one\n"),
        (("data", "list"), "no data sets yet; 'kladml data add NAME PATH' adds one\n"),
        (("data", "sync"), "no data sets, and nothing in data/datasets/\n"),
        (("data", "verify"), "no data sets yet; 'kladml data add NAME PATH' adds one\n"),
        (("project", "list"), "no projects yet; 'kladml project create' makes one, and so does 'kladml train'\n"),
        (("sync",), "nothing waits to be delivered\n"),
    ],
    ids=" ".join,
)
def test_quiet_leaves_results_and_errors(kladml, workspace, arguments, hint):
    outcome, quiet = kladml(*arguments), kladml(*arguments, "--quiet")
    assert (outcome.status, outcome.output, outcome.errors) == (0, "", hint)
    assert (quiet.status, quiet.output, quiet.errors) == (0, "", "")
    assert kladml("-q", *arguments) == quiet
    assert kladml("-q", "runs", "show", "@1").errors.startswith("Error: there is no run '@1'")


@pytest.mark.parametrize("name", ["jsn", "JSON", "text"])
def test_unknown_format_of_log_lines_is_refused_with_those_there_are(kladml, workspace, monkeypatch, name):
    monkeypatch.setenv("KLADML_LOG_FORMAT", name)
    outcome = kladml("runs", "list")
    assert (outcome.status, outcome.output) == (3, "")
    assert outcome.errors == (
        f"Error: $KLADML_LOG_FORMAT must be lines or json, not '{name}'; set it to one of them, or unset it, which "
        "means lines\n"
    )
    assert kladml("--help").status == 0


@pytest.mark.parametrize("name", ["lines", ""])
def test_format_of_log_lines_for_people_can_be_named(kladml, workspace, monkeypatch, name):
    monkeypatch.setenv("KLADML_LOG_FORMAT", name)
    assert kladml("runs", "list").errors == "no runs yet; 'kladml train CONFIG' makes one\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("runs", "show", "@1"), 3, "there is no run '@1': there are no runs yet; 'kladml train CONFIG' makes one"),
        (("trian",), 2, "there is no command 'trian'; did you mean 'train'? (see 'kladml --help')"),
    ],
)
def test_errors_are_log_lines_where_those_are_json(kladml, workspace, monkeypatch, arguments, status, message):
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    outcome = kladml(*arguments)
    (line,) = map(json.loads, outcome.errors.splitlines())
    assert line.pop("time").endswith("+00:00")
    wanted = {"level": "error", "logger": "kladml_cli", "message": message, "exit_status": status}
    assert (outcome.status, outcome.output, line) == (status, "", wanted)


def test_every_line_of_a_failed_training_is_json(kladml, train, workspace, monkeypatch):
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    outcome = train("--publisher", "none", model="model.py:Broken")
    *_, last = lines = [json.loads(line) for line in outcome.errors.splitlines()]
    assert len(lines) > 1
    assert last["message"] == "ValueError: the weather is bad; run default/default/default@1 is marked FAILED"
    assert "in _fail" in last["traceback"]


def test_warnings_are_log_lines_where_those_are_json(kladml, workspace, monkeypatch):
    (workspace / "data/configs").mkdir(parents=True)
    (workspace / "data/configs/bad.yaml").write_text("trainig: 3\n")
    assert kladml("config", "list").errors.startswith("not valid: bad: ")
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    (line,) = map(json.loads, kladml("config", "list").errors.splitlines())
    assert line["level"] == "warning"
    assert line["message"].startswith("not valid: bad: ")


def test_quiet_leaves_the_result_of_adding(kladml, workspace):
    (workspace / "digits.csv").write_text("x,y\n1,2\n")
    loud, quiet = kladml("data", "add", "one", "digits.csv"), kladml("data", "add", "two", "digits.csv", "-q")
    assert loud.errors == "Next: kladml config new --data one\n"
    assert (quiet.errors, quiet.output) == ("", loud.output.replace("one", "two"))


def test_what_is_closed_from_the_beginning_is_no_error(run_kladml, workspace):
    program = 'exec "$0" -m kladml_cli runs list >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", program, sys.executable],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0


def test_logging_is_as_it_was_afterwards(kladml, caplog):
    logger = logging.getLogger("kladml")
    before = (logger.level, logger.propagate, logger.handlers)
    kladml("-v", "plugins", "list")
    assert (logger.level, logger.propagate, logger.handlers) == before
    get_logger("kladml.test").warning("heard")
    assert "heard" in caplog.messages
