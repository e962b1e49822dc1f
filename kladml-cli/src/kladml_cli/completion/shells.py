"""What each shell is told: its script, and the answer to what it asks."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem, ShellComplete

from kladml_cli.completion.lines import Line, quoted, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Shell(ShellComplete):
    """A shell that gives the line up to the cursor in `COMP_LINE`."""

    def source(self) -> str:
        """Return the script."""
        return script(self.name)

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the arguments before the word that is completed, and this word."""
        line = Line.parse(os.environ["COMP_LINE"])
        return line.words[1:], unquoted(line.raw)[0]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return the completions, each for the whole word, also where that is `--option=value`."""
        option, equals, value = incomplete.partition("=")
        if not (option.startswith("--") and equals):
            return [item for item in super().get_completions(args, incomplete) if not _CONTROL.search(item.value)]
        # A value that begins with a minus would be taken for an option.
        found = super().get_completions([*args, option], "" if value.startswith("-") else value)
        if value.startswith("-"):
            found = [item for item in super().get_completions([*args, option], "") if item.value.startswith(value)]
        return [_prefixed(f"{option}=", item) for item in _listed(found, value) if not _CONTROL.search(item.value)]

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return a line: how it goes on, the word and what it is, with tabs between."""
        kind = item.type if item.type in ("file", "dir") else "nospace" if item.goes_on else "space"
        return "\t".join((kind, item.value, _one_line(item.help)))


class Bash(Shell):
    """Bash, which replaces what follows the last `@`, `=` or `:` of a word, and quotes nothing itself."""

    name = "bash"

    def complete(self) -> str:
        """Return a line that says whether a space follows, and then what replaces the end of the word."""
        args, incomplete = self.get_completion_args()
        raw = Line.parse(os.environ["COMP_LINE"]).raw
        end = os.environ.get("COMP_WORD", raw)
        head, quote = unquoted(raw.removesuffix(end) if raw.endswith(end) else raw)
        found = _listed(self.get_completions(args, incomplete), incomplete)
        replacing = {
            quoted(item.value.removeprefix(head), quote): item for item in found if item.value.startswith(head)
        }
        goes_on = len(replacing) == 1 and all(item.goes_on for item in replacing.values())
        return "\n".join(("nospace" if goes_on else "space", *replacing))


class Zsh(Shell):
    """Zsh, which quotes and shows descriptions itself."""

    name = "zsh"


class Fish(Shell):
    """Fish, which quotes itself, and adds no space after `@`, `=`, `.` and `/`."""

    name = "fish"


SHELLS = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def script(name: str) -> str:
    """Return what a shell has to read."""
    return (files("kladml_cli") / "completion" / f"kladml.{name}").read_text(encoding="utf-8")


def _prefixed(prefix: str, item: CompletionItem[str]) -> CompletionItem[str]:
    return CompletionItem(f"{prefix}{item.value}", item.type, item.help, goes_on=item.goes_on)


def _listed(items: Iterable[CompletionItem[str]], incomplete: str) -> Iterator[CompletionItem[str]]:
    """Replace what the shell would look for among files with what there is."""
    for item in items:
        if item.type in ("file", "dir"):
            yield from _files(incomplete, only_folders=item.type == "dir")
        else:
            yield item


def _files(incomplete: str, *, only_folders: bool) -> Iterator[CompletionItem[str]]:
    folder, slash, name = incomplete.rpartition("/")
    place = Path(f"{folder}{slash}" or ".").expanduser()
    if not place.is_dir():
        return
    for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
        is_folder = entry.is_dir()
        if not entry.name.startswith(name) or (entry.name.startswith(".") and not name) or only_folders > is_folder:
            continue
        text = f"{folder}{slash}{entry.name}"
        yield CompletionItem(f"{text}/" if is_folder else text, goes_on=is_folder)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
