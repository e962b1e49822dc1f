"""Whether there is the same data now that a run had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.config import resolve
from kladml.datasets import DatasetReference, looks_like_reference
from kladml.errors import KladMLError
from kladml.log import get_logger
from kladml.runner.data import fingerprint, load_data
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT, is_fingerprint
from kladml.runner.versions import version_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.config.schema import DataConfig
    from kladml.history.pages import RunPage
    from kladml.history.reproduction import Recipe
    from kladml.workspace import Workspace

_NAMES = {"train": "training data", "val": "validation data"}
_STAND_INS = {
    KEPT_BACK: "the validation data is part of the training data, as it was",
    NO_DATA: "there is no validation data, as there was none",
}
"""What needs no fingerprint, and how it is said that it is so still."""

_DIGITS = 12

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Whether the training data or the validation data is that of a run.

    Attributes:
        key: `train` or `val`.
        was: Its fingerprint in the run, or what stood in its place; None where the run noted neither.
        text: Whether it is the same, as people read it, with the reason.
        is_same: Whether it is; None where nothing tells.
    """

    key: str
    was: str | None
    text: str
    is_same: bool | None = None

    @property
    def is_obstacle(self) -> bool:
        """Whether it may keep the run from coming out the same; what an older version did not note is not compared."""
        return not self.is_same and self.was is not None


def check_tags(page: RunPage, tags: Mapping[str, str]) -> list[DataCheck]:
    """Compare the data of a run with that of one that has begun.

    Args:
        page: The run.
        tags: The tags of the one that has begun.
    """
    now = (tags.get("kladml.data_fingerprint", "unknown"), tags.get("kladml.val_fingerprint", "unknown"))
    return [
        _compared(key, was, found) if was is not None else _not_noted(key)
        for (key, was), found in zip(_noted(page), now, strict=True)
    ]


def check_data(page: RunPage, recipe: Recipe, workspace: Workspace) -> list[DataCheck]:
    """Compare the data of a run with that which its references stand for now.

    Versions of data sets are not loaded, as the digests of their files are noted. Data files and functions are loaded
    as the run itself loads them, where it noted a fingerprint to compare with.

    Args:
        page: The run.
        recipe: What it takes to train it once more.
        workspace: Where versions of data sets are; references are looked for there, after the recipe's folder.
    """
    chosen = resolve(recipe.entries, (), ()).run.data
    folders = [*([recipe.code] if recipe.code is not None else []), workspace.root, Path.cwd()]
    return [_check(key, was, chosen, folders, workspace.state) for key, was in _noted(page)]


def _noted(page: RunPage) -> list[tuple[str, str | None]]:
    return [("train", page.data_fingerprint), ("val", page.val_fingerprint)]


def _check(key: str, was: str | None, chosen: DataConfig, folders: list[Path], state: Path) -> DataCheck:
    if was is None:
        return _not_noted(key)
    reference = getattr(chosen, key)
    if reference is None:  # validation data: no recipe lacks the other
        if was in _STAND_INS:
            return _compared(key, was, KEPT_BACK if chosen.val_split else NO_DATA)
        return DataCheck(key, was, f"the {_NAMES[key]} was given as an object, which is not here", is_same=False)
    if not is_fingerprint(was):  # it would be loaded for nothing
        return _compared(key, was, was)
    try:
        return _compared(key, was, _fingerprint(key, reference, chosen, folders, state))
    except KladMLError as error:
        why = f"{error.problem}; {error.next_step}" if error.next_step else error.problem
    except Exception as error:  # noqa: BLE001 - whatever a user's own function raises
        why = f"{reference} raised {type(error).__name__}: {error}"
    return DataCheck(key, was, f"whether the {_NAMES[key]} is the same is not known: {why}")


def _fingerprint(key: str, reference: str, chosen: DataConfig, folders: list[Path], state: Path) -> str:
    """Return the fingerprint that a new run would note of a reference.

    Raises:
        DataError: It cannot be had.
    """
    if looks_like_reference(reference):
        return version_fingerprint(DatasetReference.parse(reference), state)
    log.info(f"loading {reference}, to compare it")
    data = load_data(reference, folders, key=f"data.{key}", target=chosen.target, arguments=chosen.args)
    return fingerprint(data) or NO_FINGERPRINT


def _compared(key: str, was: str, now: str) -> DataCheck:
    name = _NAMES[key]
    if not all(is_fingerprint(text) or text in _STAND_INS for text in (was, now)):
        return DataCheck(key, was, f"the {name} has no fingerprint, so that nothing tells whether it is the same")
    if was == now:
        text = _STAND_INS.get(was, f"the {name} is that of the run: {_short(was)}")
        return DataCheck(key, was, text, is_same=True)
    text = f"the {name} differs: its fingerprint was {_short(was)} and is now {_short(now)}"
    return DataCheck(key, was, text, is_same=False)


def _not_noted(key: str) -> DataCheck:
    return DataCheck(key, None, f"the run is of a version that noted nothing of its {_NAMES[key]}")


def _short(text: str) -> str:
    """Return as much of a fingerprint as tells it from others; all of any other text."""
    if not is_fingerprint(text):
        return text
    name, colon, digits = text.partition(":")
    return f"{name}{colon}{digits[:_DIGITS]}"
