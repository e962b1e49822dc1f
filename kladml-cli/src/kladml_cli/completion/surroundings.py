"""What completion knows of where the user is: the workspace, what is set in it, and the names in its catalog."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

from kladml.errors import KladMLError
from kladml_cli.given_entries import entries_of

if TYPE_CHECKING:
    import click

    from kladml.interfaces import ConfigEntry, ExperimentAddress
    from kladml.workspace import Workspace
    from kladml_backends_local.catalog.names import CatalogNames

_SQLITE = "sqlite:///"


class Surroundings:
    """What the words before the one that is completed say, and what can be found with it.

    Args:
        context: The command's context, as far as it was typed.
    """

    def __init__(self, context: click.Context) -> None:
        self._context = context

    def given(self, name: str) -> Any:
        """Return the value of an argument or option that was typed before, or None."""
        return self._context.params.get(name)

    @cached_property
    def workspace(self) -> Workspace | None:
        """The workspace, or None."""
        from kladml.workspace import Workspace

        return Workspace.around(self.given("workspace"))

    @cached_property
    def in_files(self) -> list[ConfigEntry]:
        """What stands in the workspace's configuration and in the run's own file; files that are wrong say nothing."""
        from kladml.config import read_yaml

        source = self.given("config_source") or os.environ.get("KLADML_CONFIG_SOURCE") or "yaml"
        files = [self.workspace.config_file] if self.workspace is not None and source == "yaml" else []
        files += [Path(file)] if (file := self.given("config_file")) is not None else []
        found: list[ConfigEntry] = []
        for path in files:
            try:
                found += read_yaml(path) if path.is_file() else ()
            except KladMLError:
                continue
        return found

    @cached_property
    def settings(self) -> dict[str, str]:
        """What is set, by key, as text and unchecked: checking takes longer than everything else together."""
        from kladml.config import read_environment
        from kladml.config.layers import split_profiles

        profile = self.given("profile") or os.environ.get("KLADML_PROFILE")
        plain, profiles = split_profiles(self.in_files)
        layers = (*plain, *profiles.get(str(profile), ()), *read_environment(), *entries_of(self._context))
        return {entry.key: str(entry.value) for entry in layers}

    @cached_property
    def catalog(self) -> CatalogNames | None:
        """The names in the catalog, if that is a file of SQLite: nothing else is quick enough."""
        selected = self.settings.get("catalog.use", self.settings.get("catalog", "sql"))
        if self.workspace is None or selected != "sql":
            return None
        url = self.settings.get("catalog.sql.url")
        if url is None:
            file = self.workspace.state / "catalog.db"
        elif url.startswith(_SQLITE):
            file = self.workspace.resolve(url.removeprefix(_SQLITE))
        else:
            return None
        from kladml_backends_local.catalog.names import CatalogNames

        return CatalogNames(file)

    @property
    def configured(self) -> ExperimentAddress:
        """Project, family and experiment that are set, or the default ones."""
        from kladml.interfaces import ExperimentAddress

        return ExperimentAddress(
            *(self.settings.get(level, "default") for level in ("project", "family", "experiment"))
        )

    @property
    def names_an_experiment(self) -> bool:
        """Whether a project, a family or an experiment is set."""
        return not self.settings.keys().isdisjoint(("project", "family", "experiment"))


def item(value: str, help: str | None = None, *, goes_on: bool = False) -> CompletionItem[str]:  # noqa: A002 - click's name
    """Return a completion.

    Args:
        value: The whole word.
        help: What it is, for shells that show it.
        goes_on: Whether more may follow in the same word, so that no space does.
    """
    return CompletionItem(value, help=help, goes_on=goes_on)
