"""Training a run once more: what may keep it from coming out the same, and whether it did."""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.config import BACKEND_SECTIONS, read_yaml, resolve
from kladml.config.secrets import MASK
from kladml.errors import WorkspaceError
from kladml.history.data_check import check_tags
from kladml.history.packages import numbers_depend_on, own_distributions
from kladml.runner.code_files import digests, named_files
from kladml.runner.environment import environment
from kladml.runner.provenance import DIRTY, code_diff, code_version
from kladml.runner.record import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.history.pages import RunPage
    from kladml.interfaces import ConfigEntry

REPRODUCES = "kladml.reproduces"
"""Tag of a run that was made to reproduce another one, whose address it holds."""

_HASH = 12


@dataclass(frozen=True)
class Recipe:
    """What it takes to train a run once more.

    Attributes:
        entries: Its configuration, but for the backends.
        code: Folder in which references are looked for first, or None.
    """

    entries: list[ConfigEntry]
    code: Path | None


@dataclass(frozen=True)
class Outcome:
    """How a run came out that was trained once more.

    Attributes:
        metrics: Final metrics that are not the same to the last bit: before and now.
        weights: Files of weights that are not the same, or None where there are none to compare.
    """

    metrics: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    weights: list[str] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether nothing that could be compared differs."""
        return not self.metrics and not self.weights


def recipe_of(page: RunPage) -> Recipe:
    """Return what it takes to train a run once more.

    Raises:
        WorkspaceError: It has no result, or what it was made from cannot be had here.
    """
    name, file = page.address, page.folder / CONFIG
    if page.run.status != "FINISHED":
        problem = f"run {name} is {page.run.status}, so that there is no result to reproduce"
        raise WorkspaceError(problem, next_step="choose a run that is FINISHED")
    if not page.has_record or not file.is_file():
        problem = f"how run {name} was configured is not known on this machine: there is no {file}"
        raise WorkspaceError(problem, next_step="reproduce it where it was trained")
    entries = [
        entry
        for entry in read_yaml(file)
        if entry.key.partition(".")[0] not in BACKEND_SECTIONS and MASK not in repr(entry.value)
    ]
    given = {entry.key: entry.value for entry in entries}
    if given.get("data.train") is None or given.get("model.ref") is None:
        problem = f"run {name} was given its {'model' if given.get('model.ref') is None else 'data'} as an object"
        raise WorkspaceError(problem, next_step="run the script that made it once more, and compare")
    if given.get("training.distributed") or (given.get("training.num_processes") or 1) > 1:
        problem = f"run {name} was trained in several processes, and this command trains in one"
        raise WorkspaceError(problem, next_step="train with its configuration and --distributed, and compare the runs")
    return Recipe(entries, Path(page.record.code) if page.record.code else None)


def obstacles(page: RunPage, recipe: Recipe, root: Path) -> list[str]:
    """Return what may keep a run from coming out the same, but for its data, as far as it is known before training.

    Args:
        page: The run.
        recipe: What it takes to train it once more.
        root: The workspace's root, where references are looked for after the recipe's folder.
    """
    return [*_of_code(page, recipe), *_of_files(page, recipe, root), *_of_environment(page, recipe)]


def obstacles_at_start(page: RunPage, tags: Mapping[str, str]) -> list[str]:
    """Return what else may keep a run from coming out the same, known once model and data were imported.

    Args:
        page: The run to reproduce.
        tags: The tags of the one that began.
    """
    found = [check.text for check in check_tags(page, tags) if check.is_obstacle]
    threads = page.record.environment.get("threads")
    if threads is not None and "torch" in sys.modules:
        from kladml.training.device_name import thread_count

        if thread_count() != threads:
            found.append(
                f"the number of threads, among which sums are split, was {threads} and is now {thread_count()}"
            )
    return found


def outcome_of(before: Mapping[str, float], now: Mapping[str, float], weights: list[str] | None) -> Outcome:
    """Compare the results of two runs."""
    differing = {
        name: (before.get(name), now.get(name))
        for name in dict.fromkeys((*before, *now))
        if not _same(before.get(name), now.get(name))
    }
    return Outcome(differing, weights)


def _of_code(page: RunPage, recipe: Recipe) -> list[str]:
    before = page.code_version
    if recipe.code is not None and not recipe.code.is_dir():
        return [f"the code was in {recipe.code}, which is not there"]
    now = code_version(recipe.code or Path.cwd())
    if "unknown" in (before, now):
        files = page.record.code_files
        it = f"what {' and '.join(files)} import{'s' if len(files) == 1 else ''}" if files else "it"
        return [f"the code is in no Git repository, so that nothing tells whether {it} is the same"]
    if before.removesuffix(DIRTY) != now.removesuffix(DIRTY):
        return [f"the code differs: it was {_short(before)} and is now {_short(now)}"]
    return _of_changes(page, code_diff(recipe.code or Path.cwd()) if now.endswith(DIRTY) else None)


def _of_files(page: RunPage, recipe: Recipe, root: Path) -> list[str]:
    """Return which of the files differ that the run's references name, whether or not Git tracks them."""
    before = page.record.code_files
    folders = [*([recipe.code] if recipe.code is not None else []), root, Path.cwd()]
    now = digests(named_files((f"{name}:" for name in before), folders))
    return [
        f"{name} has changed: its SHA-256 was {_short(digest)} and is now {_short(now[name])}"
        if name in now
        else f"{name} is not there any more"
        for name, digest in before.items()
        if now.get(name) != digest
    ]


def _of_changes(page: RunPage, diff: bytes | None) -> list[str]:
    """Return how changes of the code that are in no revision differ."""
    before, digest = page.record.code_diff, None if diff is None else hashlib.sha256(diff).hexdigest()
    if before is None:
        if page.code_version.endswith(DIRTY):
            return ["the code had changes that were not kept"]
        return [] if digest is None else ["the code has changes now that it did not have"]
    if digest == before:
        return []
    what = "had changes that it has not now" if digest is None else "has other changes now"
    return [f"the code {what}: 'kladml runs show {page.address} --diff' prints those of the run"]


def _of_environment(page: RunPage, recipe: Recipe) -> list[str]:
    before = page.record.environment
    if not before:
        python = page.environment.get("python", "unknown")
        return [f"the run did not note its environment, but for Python {python}"]
    now = environment(resolve(recipe.entries, (), ()).run.training, uses_torch="threads" in before)
    found = [
        f"{name} was {before[name]} and is now {now.get(name)}"
        for name in ("python", "platform", "device")
        if name in before and before[name] != now.get(name)
    ]
    packages = _changed_packages(page, before.get("distributions") or {}, now["distributions"])
    if packages:
        found.append(packages)
    if str(now["device"]).startswith("cuda") and not _is_deterministic():
        found.append("a GPU adds in another order each time, unless torch.use_deterministic_algorithms is on")
    return found


def _changed_packages(page: RunPage, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the distributions of other versions that numbers depend on, and how many others; else nothing."""
    own = own_distributions([page])
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    telling = [name for name in names if numbers_depend_on(name, own)]
    if not telling:
        return ""
    versions = ", ".join(f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in telling)
    count = len(names) - len(telling)
    others = f", and of {count} other{'s' if count > 1 else ''}, on which numbers seldom depend" if count else ""
    return f"versions differ: {versions}{others}"


def _is_deterministic() -> bool:
    from kladml.training.device_name import is_deterministic

    return "torch" in sys.modules and is_deterministic()


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if math.isnan(one) and math.isnan(other):
        return True
    return bool(one == other) and math.copysign(1, one) == math.copysign(1, other)


def _short(text: str) -> str:
    """Return as much of a hash as tells it from others."""
    dirty = DIRTY if text.endswith(DIRTY) else ""
    return f"{text.removesuffix(DIRTY)[:_HASH]}{dirty}"
