"""A workspace with names to complete, and real shells on a terminal that complete them."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import sys
from contextlib import suppress

import pytest

from kladml.datasets import DatasetReference, DatasetStore
from kladml.interfaces import ExperimentAddress
from kladml_backends_local.catalog import SqlCatalog
from kladml_cli.completion.shells import script

RUNS = {
    ("default", "default", "digits"): 12,
    ("vision", "cnn", "my exp"): 2,
    ("vision", "cnn", "twin"): 1,
    ("vision", "rnn", "twin"): 1,
}


@pytest.fixture
def names(workspace):
    """Runs of several experiments, data sets, configurations and profiles."""
    with SqlCatalog(workspace / ".kladml/catalog.db") as catalog:
        for experiment, count in RUNS.items():
            for number in range(count):
                address = catalog.add_run(ExperimentAddress(*experiment), f"{number:032x}", {})
                catalog.end_run(address, "FINISHED", {"val_acc": 0.5, "val_loss": 1.0})
    (workspace / "digits.csv").write_text("x,y\n1,2\n")
    store = DatasetStore(workspace / ".kladml")
    for text in ("x,y\n1,2\n", "x,y\n1,3\n", "x,y\n1,4\n"):
        (workspace / "digits.csv").write_text(text)
        store.add("digits", workspace / "digits.csv")
    store.remove(DatasetReference("digits", 2))
    store.add("photos", workspace / "digits.csv")
    (workspace / "kladml.yaml").write_text(
        "profiles:\n  prod: {training: {seed: 1}}\n  practice: {training: {seed: 2}}\n"
    )
    (workspace / "data/configs").mkdir(parents=True)
    (workspace / "data/configs/quick.yaml").write_text("run_name: quick\n")
    (workspace / "train.yaml").write_text("run_name: here\n")
    (workspace / "it's $5.yaml").write_text("run_name: odd\n")
    (workspace / "folder").mkdir()
    return workspace


@pytest.fixture
def command(tmp_path):
    """A folder with the command `kladml`, as a shell finds it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "kladml"
    path = os.pathsep.join(sys.path)
    file.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(path)} exec {shlex.quote(sys.executable)} -m kladml_cli "$@"\n'
    )
    file.chmod(0o755)
    return folder


START = {
    "bash": ("bash", "--noprofile", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
BEFORE = {"bash": "set +o history", "zsh": "autoload -U compinit; compinit -u -D; unsetopt beep", "fish": "true"}
# What a key does: print the line as the shell holds it, and empty it.
SHOW = {
    "bash": """bind -x '"\\C-g": printf "<<%s>>\\n" "$READLINE_LINE"; READLINE_LINE='""",
    "zsh": 'show() { zle -I; print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N show; bindkey "^G" show',
    "fish": 'bind \\cg \'echo "<<"(commandline)">>"; commandline ""\'',
}


class Terminal:
    """A shell on a terminal: types a line and a tab, and says what the line has become."""

    def __init__(self, name, folder, command):
        import pty

        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed; apt-get install {name}")
        (folder / f"complete.{name}").write_text(script(name))
        environment = {**os.environ, "PATH": f"{command}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm", "PS1": "$ "}
        environment |= {"HOME": str(command), "LC_ALL": "C.UTF-8"}
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(program, START[name], environment)  # noqa: S606 - a shell is what is tested
        for line in (BEFORE[name], SHOW[name], f"source complete.{name}", "echo rea''dy"):
            self._type(f"{line}\n")
        self._until(rb"ready\r?\n")

    def complete(self, line):
        """Return the line after a tab."""
        self._type(f"{line}\t\x07")
        found = self._until(rb"<<(.*?)>>")
        return found.group(1).decode()

    def close(self):
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.file)

    def _type(self, text):
        os.write(self.file, text.encode())

    def _until(self, pattern):
        seen = b""
        while not (found := re.search(pattern, seen)):
            ready, _, _ = select.select([self.file], [], [], 60)
            assert ready, seen.decode(errors="replace")
            seen += os.read(self.file, 65_536)
        return found


@pytest.fixture
def terminal(names, command):
    """Start a shell by its name."""
    started = []

    def start(name):
        started.append(Terminal(name, names, command))
        return started[-1]

    yield start
    for one in started:
        one.close()
