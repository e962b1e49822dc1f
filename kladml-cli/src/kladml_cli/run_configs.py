"""The run configurations of a workspace: which there are, whether they fit, and which run used each last."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.config import BACKEND_SECTIONS, RunConfig
from kladml.config.layers import PROFILES
from kladml.errors import KladMLError
from kladml.plugins import PluginRegistry
from kladml.runner.record import RunRecord
from kladml.workspace import config_file, config_names
from kladml_cli.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kladml.interfaces import CatalogRun
    from kladml.workspace import Workspace
    from kladml_cli.run_place import OpenPlace

MOST_RUNS = 1_000
"""How many of the newest runs are looked at one by one, where no tracker knows the tags of all at once."""

_KEYS = (*RunConfig.__dataclass_fields__, *BACKEND_SECTIONS, PROFILES)
_HAS_KEY = re.compile(rf"^['\"]?({'|'.join(_KEYS)})['\"]?\s*:", re.MULTILINE)
_LARGEST = 1_000_000


@dataclass(frozen=True)
class RunConfigFile:
    """A run configuration of the workspace.

    Attributes:
        name: What `kladml train` takes from the workspace's root: its name, or the file there.
        file: The file, relative to the root.
        experiment: Address of the experiment that its runs belong to; None where it does not fit.
        model: The model, or None.
        data: The training data, or None.
        mistake: The first mistake in it, or None.
        newest_run: The newest run that was configured by it, or None.
    """

    name: str
    file: str
    experiment: str | None = None
    model: str | None = None
    data: str | None = None
    mistake: str | None = None
    newest_run: CatalogRun | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        run = self.newest_run
        return {
            "name": self.name,
            "file": self.file,
            "experiment": self.experiment,
            "model": self.model,
            "data": self.data,
            "valid": self.mistake is None,
            "mistake": self.mistake,
            "newest_run": None if run is None else str(run.address),
            "newest_run_status": None if run is None else run.status,
            "newest_run_started_at": None if run is None else run.started_at.isoformat(),
        }


def run_configs(workspace: Workspace) -> list[RunConfigFile]:
    """Return the run configurations of a workspace, checked as `kladml train` would read them.

    They are the files below `data/configs`, and those in the root that have a key of a configuration.
    """
    named = [(name, config_file(workspace, name)) for name in _safe_names(workspace)]
    in_root = [(path.name, path) for path in sorted(workspace.root.glob("*.yaml")) if _is_run_config(path, workspace)]
    registry = PluginRegistry()
    return [_checked(workspace, name, file, registry) for name, file in (*named, *in_root)]


def newest_runs(configs: Collection[RunConfigFile], place: OpenPlace) -> dict[str, CatalogRun]:
    """Return the newest run that was configured by each of some files, by the file.

    Runs note the file that they were configured by. The tracker is asked for all at once where it can be; of what it
    does not know, the records of the newest thousand runs are read.
    """
    from kladml.runner.provenance import CONFIG_FILE

    wanted = {config.file for config in configs}
    if not wanted:
        return {}
    tracker = place.searching_tracker()
    known = {} if tracker is None else tracker.tag_values([CONFIG_FILE])
    files = {run_id: tags[CONFIG_FILE] for run_id, tags in known.items() if tags.get(CONFIG_FILE) in wanted}
    name = None if tracker is None else (place.configuration.resolved.selected("tracker") or ["local"])[0]
    newest, count = place.catalog.newest_runs(MOST_RUNS)
    for run in newest:
        if name is None or run.backends.get("tracker", "").partition(",")[0] != name:
            files.setdefault(run.run_id, _recorded(RunRecord.read(place.runs / run.address.path), run, CONFIG_FILE))
    found = _first_of_each(newest, files, wanted)
    if count > len(newest) and not wanted.intersection(files.values()) <= found.keys():
        found = _first_of_each(place.catalog.list_runs()[::-1], files, wanted)
    return found


def _first_of_each(runs: Iterable[CatalogRun], files: Mapping[str, str], wanted: set[str]) -> dict[str, CatalogRun]:
    """Return the first run of each file, where it is known by which one a run was configured."""
    found: dict[str, CatalogRun] = {}
    for run in runs:
        file = files.get(run.run_id)
        if file in wanted:
            found.setdefault(file, run)
    return found


def _recorded(record: RunRecord | None, run: CatalogRun, tag: str) -> str:
    return "" if record is None or record.run_id != run.run_id else record.tags.get(tag, "")


def _safe_names(workspace: Workspace) -> list[str]:
    """Return the names whose files stand in the workspace."""
    found = []
    for name in config_names(workspace):
        try:
            config_file(workspace, name)
        except KladMLError:
            continue
        found.append(name)
    return found


def _is_run_config(path: Path, workspace: Workspace) -> bool:
    """Tell whether a file has a key of a configuration at its top, even where it is no valid YAML."""
    if path == workspace.config_file or path.name.startswith(".") or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return _HAS_KEY.search(file.read(_LARGEST)) is not None
    except OSError:
        return False


def _checked(workspace: Workspace, name: str, path: Path, registry: PluginRegistry) -> RunConfigFile:
    file = path.relative_to(workspace.root).as_posix()
    run, mistake = None, None
    try:
        loaded = Configuration(workspace, file=_from_here(path), registry=registry)
        run = loaded.resolved.run
        loaded.check_backends()
    except KladMLError as error:
        mistake = str(error)
    if run is None:
        return RunConfigFile(name, file, mistake=mistake)
    experiment = f"{run.project}/{run.family}/{run.experiment}"
    return RunConfigFile(name, file, experiment, run.model.ref, run.data.train, mistake)


def _from_here(path: Path) -> Path:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else Path(relative)
