"""Completing files, folders, configurations and data sets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from kladml.workspace import config_names
from kladml_cli.completion.surroundings import item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kladml_cli.completion.surroundings import Surroundings

_HEAD = 16_384
_KEPT = re.compile(rb'^ "removed_at": null', re.MULTILINE)


def files(_: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a file, as the shell itself does."""
    yield CompletionItem(incomplete, type="file")


def folders(_: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a folder, as the shell itself does."""
    yield CompletionItem(incomplete, type="dir")


def configs(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a run's configuration: a file, or one in `data/configs`, by its name."""
    for name in [] if here.workspace is None else config_names(here.workspace):
        if name.startswith(incomplete):
            yield item(name, "in data/configs")
    yield from files(here, incomplete)


def data(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete what is trained on: a data set, one of its versions, or a file."""
    yield from versions(here, incomplete)
    yield from files(here, incomplete)


def data_sets(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete the name of a data set."""
    for name in _names(here):
        if name.startswith(incomplete):
            yield item(name)


def versions(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a data set or one of its versions; the versions where only one data set is left."""
    name, at, _ = incomplete.partition("@")
    matching = [name] if at else [known for known in _names(here) if known.startswith(incomplete)]
    yield from (item(known, "its latest version") for known in matching if not at)
    if len(matching) == 1:
        for number in _numbers(here, matching[0]):
            if (text := f"{matching[0]}@{number}").startswith(incomplete):
                yield item(text)


def _names(here: Surroundings) -> list[str]:
    if here.workspace is None:
        return []
    folder = here.workspace.state / "datasets"
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    return [name for name in names if any(True for _ in _numbers(here, name))]


def _numbers(here: Surroundings, name: str) -> Iterator[int]:
    """Yield the versions of a data set, the newest first, without those that were removed."""
    if here.workspace is None:
        return
    manifests = (here.workspace.state / "datasets" / name).glob("*.json")
    for number in sorted((int(file.stem) for file in manifests if file.stem.isdecimal()), reverse=True):
        if _is_kept(here.workspace.state / "datasets" / name / f"{number}.json"):
            yield number


def _is_kept(manifest: Path) -> bool:
    """Tell whether a version is there; what says it stands before the list of files, which can be very long."""
    with manifest.open("rb") as file:
        return _KEPT.search(file.read(_HEAD)) is not None
