"""The code on the pages runs: each page in order, in one namespace and one folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from types import ModuleType

import click

from kladml.config import BACKEND_SECTIONS, backend_settings, read_yaml, resolve
from kladml.plugins import PluginRegistry

LANGUAGES = {"python", "yaml", "toml", "json", "console", "sh", "text"}
COMMAND = [sys.executable, "-c", "import sys; from kladml_cli.main import main; sys.exit(main())"]


def test_every_block_has_a_known_language(blocks):
    assert [block.place for block in blocks if block.language not in LANGUAGES] == []


def test_blocks_run(blocks, folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "documentation", ModuleType("documentation"))
    run = {
        "python": run_python,
        "yaml": check_configuration,
        "toml": lambda block, _: tomllib.loads(block.text),
        "json": lambda block, _: json.loads(block.text),
        "console": run_session,
        "sh": check_commands,
        "text": lambda block, _: None,
    }
    for block in blocks:
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        if block.is_run:
            run[block.language](block, folder)


def run_python(block, _):
    """Run a block in the page's namespace; a file of its own is only compiled."""
    # The empty lines before it make a traceback show the line of the page.
    code = compile("\n" * block.line + block.text, str(block.page), "exec")
    if block.title is None:
        exec(code, vars(sys.modules["documentation"]))  # noqa: S102 - our own pages


def check_configuration(block, folder):
    """Resolve a configuration file, with each of its profiles, and check the settings of what it selects.

    Another file than `kladml.yaml` goes over the one of the same page, as in `kladml train FILE`.
    """
    assert block.title is not None, f"{block.place} has no title"
    file, below = folder / block.title, folder / "kladml.yaml"
    entries = [*(read_yaml(below) if below != file and below.exists() else []), *read_yaml(file)]
    profiles = {entry.key.split(".")[1] for entry in entries if entry.key.startswith("profiles.")}
    registry = PluginRegistry()
    for profile in (None, *sorted(profiles)):
        config = resolve(entries, profile=profile)
        for kind in BACKEND_SECTIONS:
            for name in config.selected(kind) or []:
                if registry.is_installed(kind, name):
                    backend_settings(config, kind, name, registry.load(kind, name))


def run_session(block, folder):
    """Run the commands of a console session and compare what they print, but for numbers and the length of logs."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "kladml", f"{block.place}: only kladml is run here, mark the block as not run"
        shorter = {"KLADML_TRAINING__MAX_EPOCHS": "2"} if arguments[0] == "train" else {}
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env={**os.environ, **shorter, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = "".join(f"{line}\n" for line in masked(done.stdout))
        assert re.fullmatch(pattern_of(masked(shown)), printed), f"{block.place} prints: {done.stdout}"


def pattern_of(lines):
    """Return a pattern for lines in which `...` stands for anything, and alone for any lines."""
    anything = re.escape("...")
    return "".join(r"(.*\n)*" if line == "..." else re.escape(line).replace(anything, ".*") + r"\n" for line in lines)


def masked(text):
    """Return lines with `#` for every number and duration, each repetition of a line once."""
    text = re.sub(r"\d+ min |\d+ h ", "", text)
    lines = [re.sub(r"[\d.:-]*\d", "#", line) for line in text.strip().splitlines()]
    lines = [re.sub(r"\s+", " ", line).strip() for line in lines]
    return [line for line, before in zip(lines, [None, *lines], strict=False) if line != before]


def check_commands(block, _):
    """Check that the commands and options that a block of shell commands uses exist."""
    from kladml_cli.main import kladml

    for line in block.text.replace("\\\n", " ").splitlines():
        for part in line.partition("#")[0].split("&&"):
            words = part.split()
            if "kladml" in words:
                arguments = words[words.index("kladml") + 1 :]
                assert unknown_words(kladml, arguments) == [], f"{block.place}: {part}"


def unknown_words(command, arguments):
    """Return what is neither a command nor an option of the command line."""
    context = click.Context(command)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        if found is None:
            return [arguments[0]]
        command, arguments = found, arguments[1:]
        context = click.Context(command, parent=context)
    known = {name for parameter in command.get_params(context) for name in parameter.opts}
    return [word for word in arguments if word.startswith("-") and word.partition("=")[0] not in known]
