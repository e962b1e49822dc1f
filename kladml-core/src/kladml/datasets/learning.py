"""What can be learnt from a version of a data set: what goes in, what comes out, and how that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kladml.datasets.describe import describe
from kladml.datasets.formats import ARRAYS, TABLES, data_files
from kladml.datasets.images import image_shape
from kladml.datasets.progress import Progress, silent
from kladml.datasets.tables import size_of
from kladml.datasets.targets import CLASSIFICATION, TEXT, kind_of, labels_of, moments_of, outputs_of, values_of
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.datasets.formats import DataFile
    from kladml.datasets.manifest import Manifest
    from kladml.datasets.reference import DatasetReference
    from kladml.datasets.schema import Schema
    from kladml.datasets.store import DatasetStore

_TRAIN = ("train", "training")
_VAL = ("val", "valid", "validation", "dev")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LearningTask:
    """What a model for a version of a data set has to do.

    Attributes:
        train: What to train on: the version, or its part for training.
        val: Its part for validation, or None.
        format: One of `kladml.datasets.formats.FORMATS`.
        rows: How many samples there are to train on.
        inputs: Shape of one sample's input; of an image channels, height and width.
        target: The column or array with the targets; None for images, whose folders are the labels, and where there
            are none.
        kind: `classification`, `regression`, or None where there are no targets.
        why: How that is known, as a clause.
        outputs: How many classes, or how many numbers to predict; 0 where there are no targets.
        labels: The labels, in the order of their numbers.
        is_flat: Whether the targets have one dimension, the samples.
        mean: Mean of the targets of a regression.
        deviation: Their standard deviation; 1 where all are equal.
        obstacles: What keeps a model from being trained on it, such as a column of text.
    """

    train: DatasetReference
    val: DatasetReference | None
    format: str
    rows: int
    inputs: tuple[int, ...]
    target: str | None = None
    kind: str | None = None
    why: str = ""
    outputs: int = 0
    labels: tuple[str, ...] = ()
    is_flat: bool = True
    mean: float = 0.0
    deviation: float = 1.0
    obstacles: tuple[str, ...] = ()


def learning_task(
    store: DatasetStore,
    reference: DatasetReference,
    *,
    target: str | None = None,
    kind: str | None = None,
    progress: Progress = silent,
) -> LearningTask:
    """Find out what can be learnt from a version of a data set, without training anything.

    Args:
        store: The data sets.
        reference: The version, or the part of one.
        target: The column or array with the targets; what was noted when the data was added by default.
        kind: One of `kladml.datasets.targets.TASKS`; found out by the targets by default.
        progress: Shows the progress, where the data has to be read.

    Raises:
        DataError: There is no such version or target, or it is nothing that a model can be trained on as it is.
    """
    manifest = store.get(reference)
    named = reference.at(manifest.version)
    train, val = _parts(manifest, named)
    entries = manifest.part(train.path)
    format_, files = data_files(store.files_of(entries))
    if format_ == "images":
        return _of_images(manifest, train, val, files)
    if format_ not in (*TABLES, *ARRAYS):
        problem = f"{train} holds files of no format that KladML reads"
        raise DataError(problem, next_step="read them with a function, and name it: data.train: data.py:load")
    schema = _schema(manifest, train, files, target, progress)
    shape, obstacles = _inputs(schema, train)
    found = LearningTask(train, val, format_, schema.rows or 0, shape, obstacles=obstacles)
    if schema.target is None:
        if len(schema.columns) > 1:
            shown = ", ".join(column.name for column in schema.columns[:20])
            problem = f"nothing says which column or array of {train} holds the targets; it has {shown}"
            raise DataError(problem, next_step="name one with --target")
        return found
    column = schema.column(schema.target)
    assert column is not None  # noqa: S101 - describe() found it
    if len(column.shape) > 1:
        problem = f"the targets '{column.name}' of {train} are arrays of the shape {[*column.shape]}"
        raise DataError(problem, next_step="name numbers, labels or rows of numbers with --target")
    known, why = kind_of(schema, column)
    found = replace(found, target=column.name, kind=kind or known, why=why if kind is None else "it was asked for")
    if found.kind == CLASSIFICATION:
        outputs = outputs_of(schema, column, manifest, train)
        return replace(found, outputs=outputs, labels=labels_of(schema, column, manifest))
    with progress(f"reading {train}", size_of(files)) as tell:
        mean, deviation = moments_of(values_of(schema, files, column, train, tell))
    return replace(found, outputs=math.prod(column.shape), is_flat=not column.shape, mean=mean, deviation=deviation)


def _parts(manifest: Manifest, named: DatasetReference) -> tuple[DatasetReference, DatasetReference | None]:
    """Return what to train on and what to validate on, where a version holds both as files or folders."""
    if named.path:
        return named, None
    tops = {PurePosixPath(file.name).parts[0] for file in manifest.files}
    by_stem = {PurePosixPath(top).stem.lower(): top for top in sorted(tops)}
    train = next((by_stem[name] for name in _TRAIN if name in by_stem), None)
    val = next((by_stem[name] for name in _VAL if name in by_stem), None)
    if train is None or len(tops) == 1:
        return named, None
    with_path = type(named)
    return (
        with_path(named.name, named.version, train),
        None if val is None else with_path(named.name, named.version, val),
    )


def _of_images(
    manifest: Manifest, train: DatasetReference, val: DatasetReference | None, files: Sequence[DataFile]
) -> LearningTask:
    labels = tuple(manifest.schema.labels)
    if len(labels) < 2:  # noqa: PLR2004 - one label is nothing to tell from others
        problem = f"the images of {train} have {'one label' if labels else 'no labels'}, and there is nothing to learn"
        raise DataError(problem, next_step="put them into folders whose names are the labels, and add them again")
    why = "the folders that the images lie in are their labels"
    shape = image_shape(files[0])
    return LearningTask(
        train,
        val,
        "images",
        len(files),
        shape,
        kind=CLASSIFICATION,
        why=why,
        outputs=len(labels),
        labels=labels,
    )


def _schema(
    manifest: Manifest,
    train: DatasetReference,
    files: Sequence[DataFile],
    target: str | None,
    progress: Progress,
) -> Schema:
    """Return what is in the training data; what is known already is not read again."""
    known = manifest.schema
    if not train.path and (target is None or target == known.target):
        return known
    names = [column.name for column in known.columns]
    default = known.target if known.target in names and not _is_prefixed(known) else None
    return describe(files, target or default, progress, str(train))


def _is_prefixed(schema: Schema) -> bool:
    """Tell whether arrays have the names of their files before them, because there are several files."""
    return schema.format in ARRAYS and any("/" in column.name for column in schema.columns)


def _inputs(schema: Schema, train: DatasetReference) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape of one sample's input, and what cannot be trained on."""
    others = [column for column in schema.columns if column.name != schema.target]
    if schema.format in ARRAYS:
        if len(others) > 1 and schema.target is not None:
            problem = f"{train} holds the arrays {', '.join(column.name for column in schema.columns)}"
            raise DataError(problem, next_step="keep one array beside the targets, or name a file, as in name@1/file")
        return (others[0].shape if others else ()), ()
    if not others:
        problem = f"{train} has no other column than '{schema.target}'"
        raise DataError(problem, next_step="add the columns to learn from")
    text = [column.name for column in others if column.type in TEXT]
    missing = [column.name for column in schema.columns if column.missing]
    obstacles = []
    if text:
        obstacles.append(f"{_named(text)} of {train} {_hold(text)} text, and a model takes numbers")
    if missing:
        obstacles.append(f"{_named(missing)} of {train} {'has' if len(missing) == 1 else 'have'} missing values")
    return (sum(math.prod(column.shape) for column in others),), tuple(obstacles)


def _named(columns: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")
    return f"column{'' if len(columns) == 1 else 's'} {shown}"


def _hold(columns: Sequence[str]) -> str:
    return "holds" if len(columns) == 1 else "hold"
