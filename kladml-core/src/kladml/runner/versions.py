"""Data of a run that is a version of a data set: found, checked, and mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from kladml.datasets import DatasetReference, DatasetStore
from kladml.datasets.describe import MOST_LABELS
from kladml.datasets.formats import ARRAYS, TABLES, data_files
from kladml.datasets.hashing import fingerprint
from kladml.datasets.images import label_of
from kladml.datasets.progress import silent
from kladml.datasets.tables import Table, size_of
from kladml.datasets.training_arrays import TrainingArrays, arrays_for_training, table_for_training
from kladml.errors import DataError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kladml.datasets import FileEntry, Manifest
    from kladml.datasets.formats import DataFile
    from kladml.datasets.progress import Progress

CACHE = "cache/datasets"

_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "dev"))

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VersionData:
    """Data that is a version of a data set.

    Attributes:
        data: The data as a training takes it.
        reference: Which version it is, as `digits@2`.
        fingerprint: Fingerprint of its files.
        target: The column or array with the targets; None where there is none to choose.
        classes: What the numbers of the targets stand for, where they were text.
    """

    data: Any
    reference: str
    fingerprint: str
    target: str | None
    classes: tuple[str, ...]


def load_version(
    reference: DatasetReference, state: Path, *, target: str | None, progress: Progress = silent
) -> VersionData:
    """Return a version of a data set as data for a training, without reading more of it than has to be.

    Args:
        reference: The version, or the part of one.
        state: The workspace's folder with KladML's own files.
        target: The column or array with the targets; what was noted when it was added by default.
        progress: Shows the progress, where a table has to be read.

    Raises:
        DataError: There is no such version, its files changed under it, or it is no data to train on.
    """
    store, manifest, entries = _whole(reference, state)
    named = reference.at(manifest.version)
    kind, files = data_files(store.files_of(entries))
    if not reference.path:
        _require_one_part(manifest, [file.name for file in files])
    print_of_part = fingerprint(entries)
    target = target or manifest.schema.target or "y"
    if kind in TABLES:
        found = table_for_training(
            files,
            target,
            _classes(manifest, store, target, progress),
            cache=state / CACHE,
            fingerprint=print_of_part,
            name=str(named),
            types=manifest.schema.types,
            progress=progress,
        )
    elif kind in ARRAYS:
        found = arrays_for_training(files, target, str(named))
    elif kind == "images":
        data, classes = _images(manifest, files)
        return VersionData(data, str(named), print_of_part, None, classes)
    else:
        problem = f"{named} holds files of no format that KladML reads"
        raise DataError(problem, next_step="read them with a function: data.train: data.py:load")
    if found.classes:
        log.info(f"the targets of {named} are {_shown(found.classes)}")
    return VersionData(_as_data(found), str(named), print_of_part, target, found.classes)


def version_fingerprint(reference: DatasetReference, state: Path) -> str:
    """Return the fingerprint that a run on a version has, without loading it.

    Args:
        reference: The version, or the part of one.
        state: The workspace's folder with KladML's own files.

    Raises:
        DataError: There is no such version, or its files changed under it.
    """
    return fingerprint(_whole(reference, state)[2])


def check_same_classes(train: VersionData | None, val: VersionData | None) -> None:
    """Refuse validation data whose numbers stand for other labels than those of the training data.

    Raises:
        DataError: They do.
    """
    if train is not None and val is not None and train.classes != val.classes:
        before, now = _shown(train.classes) or "numbers", _shown(val.classes) or "numbers"
        problem = f"the targets of {train.reference} are {before}, and those of {val.reference} are {now}"
        raise DataError(problem, next_step="put both into one data set, as folders or files 'train' and 'val'")


def _whole(reference: DatasetReference, state: Path) -> tuple[DatasetStore, Manifest, Sequence[FileEntry]]:
    """Return where a version is, what it is, and those of its files that are meant, which are as they were."""
    store = DatasetStore(state)
    manifest = store.get(reference)
    entries = manifest.part(reference.path)
    store.seals(manifest).require(manifest, entries)
    return store, manifest, entries


def _as_data(found: TrainingArrays) -> Any:
    return found.inputs if found.targets is None else (found.inputs, found.targets)


def _require_one_part(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse to train on training, validation and test data together by mistake."""
    tops = {PurePosixPath(name).parts[0] for name in names}
    splits = sorted(top for top in tops if PurePosixPath(top).stem.lower() in _SPLITS)
    if len(splits) > 1:
        problem = f"{manifest.reference} holds {', '.join(splits)}, which are not to be mixed"
        raise DataError(problem, next_step=f"name one of them, as in data.train: {manifest.reference}/{splits[0]}")


def _classes(manifest: Manifest, store: DatasetStore, target: str, progress: Progress) -> tuple[str, ...]:
    """Return the labels of a text column in the whole version, so that all of its parts number them alike."""
    if manifest.schema.target == target and manifest.schema.labels:
        return tuple(manifest.schema.labels)
    column = manifest.schema.column(target)
    if column is None or column.type not in ("string", "large_string"):
        return ()
    found: set[str] = set()
    files = data_files(store.files_of(manifest.files))[1]
    with progress(f"finding the labels of {manifest.reference}", size_of(files)) as tell:
        for batch in Table(files, manifest.schema.types).batches([target], tell):
            found.update(label for label in batch.column(target).unique().to_pylist() if label is not None)
            if len(found) > MOST_LABELS:
                problem = f"column '{target}' of {manifest.reference} holds text with more than {MOST_LABELS} values"
                raise DataError(problem, next_step="name a column of labels or numbers in data.target")
    return tuple(sorted(found))


def _images(manifest: Manifest, files: Sequence[DataFile]) -> tuple[Any, tuple[str, ...]]:
    from kladml.training.data.images import ImageFiles

    classes = tuple(manifest.schema.labels)
    found = [label_of(file.name) for file in files]
    labels = [classes.index(label) for label in found if label is not None]
    if labels and len(labels) != len(files):
        problem = f"some images of {manifest.reference} lie in folders that name their label, and others in none"
        raise DataError(problem, next_step="put each image into the folder of its label")
    if labels:
        log.info(f"the targets of {manifest.reference} are {_shown(classes)}")
    return ImageFiles([(file.name, file.path) for file in files], labels or None), classes


def _shown(classes: Sequence[str]) -> str:
    most = 10
    shown = ", ".join(f"{number} = {label}" for number, label in enumerate(classes[:most]))
    return f"{shown}, …" if len(classes) > most else shown
