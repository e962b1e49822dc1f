"""What the command imports: nothing heavy until it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"textual", "torch", "accelerate", "mlflow", "sqlalchemy", "boto3", "redis", "rich", "numpy", "sklearn"}
NOT_FOR_HELP = HEAVY | {"omegaconf", "pluggy", "yaml", "structlog", "importlib_metadata", "importlib.metadata"}

PROGRAM = """\
import io, json, sys
from contextlib import redirect_stdout
from kladml_cli.main import main
output = io.StringIO()
with redirect_stdout(output):
    status = main(sys.argv[1:])
print(json.dumps([status, output.getvalue(), sorted(sys.modules)]))
"""


@pytest.fixture
def imported(folder):
    def run(*arguments, program=PROGRAM):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        status, output, modules = json.loads(done.stdout)
        assert (status, bool(output)) == (0, True)
        return set(modules)

    return run


def test_help_imports_no_command_and_nothing_heavy(imported):
    modules = imported("--help")
    assert modules & NOT_FOR_HELP == set()
    assert [name for name in modules if name.startswith(("kladml_cli.commands", "kladml_backends"))] == []


def test_version_option_reads_no_metadata(imported):
    assert imported("--version") & NOT_FOR_HELP == set()


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "train",
        "runs list",
        "family create",
        "checkpoints list",
        "config show",
        "plugins check",
        "ui",
        "watch",
        "version",
    ],
)
def test_help_of_a_command_imports_nothing_heavy(imported, command):
    assert imported(*command.split(), "--help") & NOT_FOR_HELP == set()


@pytest.mark.parametrize("arguments", [("plugins", "list"), ("plugins", "list", "--json"), ("version",)])
def test_what_is_installed_is_told_without_importing_it(imported, arguments):
    modules = imported(*arguments)
    assert modules & HEAVY == set()
    assert [name for name in modules if name.startswith("kladml_backends")] == []


def test_init_imports_nothing_heavy_but_what_makes_the_database(imported):
    assert imported("init") & HEAVY == {"sqlalchemy"}


def test_modules_of_the_command_have_no_effect_at_import(imported):
    program = """\
import json, logging, signal, sys
before = signal.getsignal(signal.SIGTERM), list(logging.root.handlers)
import kladml_cli.log_output, kladml_cli.run_watch, kladml_cli.commands.train
after = signal.getsignal(signal.SIGTERM), list(logging.root.handlers)
quiet = not logging.getLogger("kladml").handlers
print(json.dumps([int(before != after or not quiet), "checked", sorted(sys.modules)]))
"""
    imported(program=program)
