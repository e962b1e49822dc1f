"""The code on the pages runs: each page in order, in one namespace and one folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from types import ModuleType

import click
import pytest

from kladml.config import BACKEND_SECTIONS, backend_settings, read_yaml, resolve
from kladml.plugins import PluginRegistry

LANGUAGES = {"python", "yaml", "toml", "json", "console", "sh", "text"}
COMMAND = [sys.executable, "-c", "import sys; from kladml_cli.main import main; sys.exit(main())"]


def test_every_block_has_a_known_language(blocks):
    assert [block.place for block in blocks if block.language not in LANGUAGES] == []


def test_blocks_run(blocks, folder, monkeypatch):
    module = ModuleType("documentation")
    monkeypatch.setitem(sys.modules, "documentation", module)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for block in blocks:
        if not block.is_run:
            continue
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        match block.language:
            case "python":
                # The empty lines before it make a traceback show the line of the page.
                code = compile("\n" * block.line + block.text, str(block.page), "exec")
                if block.title is None:
                    exec(code, vars(module))  # noqa: S102 - our own pages
            case "yaml":
                check_configuration(folder / (block.title or pytest.fail(f"{block.place} has no title")))
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case "console":
                run_session(block, folder)
            case "sh":
                check_commands(block)


def check_configuration(file):
    """Resolve a configuration file, with each of its profiles, and check the settings of what it selects."""
    entries = read_yaml(file)
    profiles = {entry.key.split(".")[1] for entry in entries if entry.key.startswith("profiles.")}
    registry = PluginRegistry()
    for profile in (None, *sorted(profiles)):
        config = resolve(entries, profile=profile)
        for kind in BACKEND_SECTIONS:
            for name in config.selected(kind) or []:
                if registry.is_installed(kind, name):
                    backend_settings(config, kind, name, registry.load(kind, name))


def run_session(block, folder):
    """Run the commands of a console session and compare what they print; `...` stands for anything."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        program, *arguments = line.split()
        assert program == "kladml", f"{block.place}: only kladml is run here, mark the block as not run"
        done = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        printed = done.stdout + done.stderr
        pattern = re.escape(expected.strip()).replace(re.escape("..."), ".*?")
        assert re.search(rf"\A\s*{pattern}\s*\Z", printed, flags=re.DOTALL), f"{block.place}: {printed}"


def check_commands(block):
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
