"""A first configuration for a data set, in which every choice says why, and a model file for it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.datasets.formats import TABLES
from kladml_cli.terminal import printable

if TYPE_CHECKING:
    from kladml.datasets.learning import LearningTask

VAL_SPLIT = 0.2

_STEPS_PER_EPOCH = 30
_BATCH_SIZES = (16, 256)
_STEPS = 10_000
_EPOCHS = (10, 100)
_PATIENCE = 10
_SHOWN_LABELS = 5
_WIDTH = 80
"""Bytes of data of which no part is kept back by copying it."""


@dataclass(frozen=True)
class StartingConfig:
    """A configuration file, and the file of the model that it names.

    Attributes:
        text: The configuration.
        model: Text of the model's file; None where the configuration names another model.
    """

    text: str
    model: str | None


def starting_config(task: LearningTask, name: str, *, model: str | None = None) -> StartingConfig:
    """Write a first configuration for a data set.

    Args:
        task: What is to be learnt.
        name: Name of the configuration.
        model: Reference to the model; by default one is written, for a file `NAME_model.py` beside it.
    """
    own = None if model is not None else _model_file(task)
    reference = model or f"{model_file_name(name)}:Network"
    lines = [*_head(task, name), *_model(task, reference, is_own=own is not None), *_data(task), *_training(task)]
    return StartingConfig("\n".join(lines) + "\n", own)


def model_file_name(name: str) -> str:
    """Return the name of the model's file of a configuration."""
    return f"{name.rpartition('/')[2]}_model.py"


def summary(task: LearningTask) -> str:
    """Return in short what was found out about the data."""
    what = task.kind or "no targets"
    if task.target is not None:
        what = f"{what} of '{printable(task.target)}'"
    outputs = f"{task.outputs} {'classes' if task.labels else 'outputs' if task.outputs > 1 else 'output'}, "
    inputs = "x".join(map(str, task.inputs)) or "1"
    return (
        f"{task.train}: {what}, {inputs} input{'s' * (inputs != '1')}, {outputs if task.kind else ''}{task.rows:,} rows"
    )


def _model_file(task: LearningTask) -> str:
    from importlib.resources import files

    name = "images.py" if task.format == "images" else "rows.py"
    return (files("kladml_cli") / "examples" / "starting" / name).read_text(encoding="utf-8")


def _head(task: LearningTask, name: str) -> list[str]:
    goals = {"classification": f"Tells {task.outputs} classes apart", "regression": "Predicts numbers"}
    goal = goals.get(task.kind or "", "Learns")
    shown = name if " " not in name else f"'{name}'"
    experiment = task.train.name
    return [
        *_comment(
            "", f"{goal}, from the data set {task.train}. 'kladml config new' wrote this; it is yours to change."
        ),
        "#",
        f"#   kladml train {shown}",
        f"#   kladml train {shown} --set training.optimizer.lr=0.01",
        "#",
        *_comment("", f"'kladml config show {shown}' prints every key there is, with its value and its place."),
        "",
        *_line("", "experiment", experiment, f"its runs are {experiment}@1, {experiment}@2, ..."),
        "",
    ]


def _model(task: LearningTask, reference: str, *, is_own: bool) -> list[str]:
    where = "a file beside this one, yours to change" if is_own else "looked for beside this file and in the workspace"
    lines = ["model:", *_line("  ", "ref", reference, where)]
    if is_own:
        lines.append("  args:")
        lines += [line for argument in _arguments(task) for line in _line("    ", *argument)]
    if task.kind is not None:
        loss, why = ("cross_entropy", "for classes") if task.kind == "classification" else ("mse", "for numbers")
        reason = f"{why}: {printable(task.why)}"
        if task.kind == "regression":
            reason += f"; always saying the mean would cost {task.deviation**2:.4g}"
        if not is_own:
            reason += "; a model with a training_step does without"
        lines += _line("  ", "loss", loss, reason)
    return [*lines, ""]


def _arguments(task: LearningTask) -> list[tuple[str, Any, str]]:
    """Return the arguments of the model that is written, each with why."""
    if task.format == "images":
        channels, height, width = task.inputs
        return [
            ("channels", channels, "grey images" if channels == 1 else "red, green and blue"),
            ("height", height, "pixels, of the first image; all have to have one size"),
            ("width", width, "likewise"),
            ("outputs", task.outputs, _classes(task)),
        ]
    inputs = math.prod(task.inputs)
    of_what = f"an array of the shape {list(task.inputs)}"
    if task.format in TABLES:
        of_what = "all columns but the targets"
    found: list[tuple[str, Any, str]] = [("inputs", inputs, f"numbers in one row: {of_what}")]
    if task.kind == "classification":
        return [*found, ("outputs", task.outputs, _classes(task)), *_size(task)]
    found.append(("outputs", task.outputs, "numbers to predict"))
    if not task.is_flat:
        found.append(
            ("is_flat", False, "the targets have the shape (rows, 1)" if task.outputs == 1 else "as the targets")
        )
    mean, deviation = (float(f"{number:.6g}") for number in (task.mean, task.deviation))
    return [
        *found,
        ("mean", mean, "of the targets, so that the layers learn numbers around 1"),
        ("deviation", deviation, "likewise"),
        *_size(task),
    ]


def _size(task: LearningTask) -> list[tuple[str, Any, str]]:
    width = 64 if task.rows < 100_000 else 256  # noqa: PLR2004
    return [("width", width, f"of the hidden layers: a first guess for {task.rows:,} rows")]


def _classes(task: LearningTask) -> str:
    shown = ", ".join(printable(label) for label in task.labels[:_SHOWN_LABELS])
    more = ", ..." if len(task.labels) > _SHOWN_LABELS else ""
    unused = task.outputs - len(task.labels)
    note = f"; {unused} of these numbers {'does' if unused == 1 else 'do'} not occur" if unused > 0 else ""
    return f"the classes {shown}{more}{note}"


def _data(task: LearningTask) -> list[str]:
    latest = f"; '{task.train.name}' is the latest" if not task.train.path else ""
    lines = ["data:", *_line("  ", "train", str(task.train), f"this version always{latest}")]
    if task.target is not None:
        what = "column" if task.format in TABLES else "array"
        lines += _line("  ", "target", task.target, f"the {what} to learn; all else goes in")
    if task.val is not None:
        lines += _line("  ", "val", str(task.val), "never trained on; it tells how good the model is")
    elif _keeps_back(task):
        kept = f"{round(task.rows * VAL_SPLIT):,} of {task.rows:,} rows"
        lines += _line("  ", "val_split", VAL_SPLIT, f"{kept} are kept back to judge the model by")
    else:
        lines += _comment("  ", "val: without data that is not trained on, nothing tells how good the model is")
    return [*lines, ""]


def _keeps_back(task: LearningTask) -> bool:
    return task.val is None and task.rows > 1


def _training(task: LearningTask) -> list[str]:
    keeps_back = _keeps_back(task)
    has_val = keeps_back or task.val is not None
    rows = task.rows - round(task.rows * VAL_SPLIT) if keeps_back else task.rows
    batch = _power_of_two(rows / _STEPS_PER_EPOCH)
    steps = max(math.ceil(rows / batch), 1)
    epochs = min(max(_STEPS // steps, _EPOCHS[0]), _EPOCHS[1])
    monitor, why = (
        ("val_loss", "the validation data") if has_val else ("loss", "the training data, as there is no other")
    )
    return [
        "training:",
        *_line("  ", "seed", 0, "of the order of the data and the first weights"),
        *_line("  ", "max_epochs", epochs, "at most; early stopping ends it before"),
        *_line("  ", "batch_size", batch, f"{rows:,} rows are {steps:,} step{'s' * (steps != 1)} in each epoch"),
        "  optimizer:",
        *_line("    ", "name", "adamw", "does well without much tuning"),
        *_line("    ", "lr", 0.001, "the first thing to try other values of"),
        "  early_stopping:",
        "    enabled: true",
        *_line("    ", "monitor", monitor, f"the loss on {why}"),
        *_line("    ", "patience", _PATIENCE, "epochs without improvement, then it stops"),
        "  checkpoint:",
        *_line("    ", "restore_best", value=True, why="end with the best epoch's weights, not the last's"),
    ]


def _power_of_two(number: float) -> int:
    least, most = _BATCH_SIZES
    return int(min(max(2 ** math.floor(math.log2(max(number, 1))), least), most))


def _line(indent: str, key: str, value: Any, why: str) -> list[str]:
    """Return a key with its value, and why: behind it, or above it where that would be too long."""
    text = f"{indent}{_pair(key, value)}"
    return [f"{text} # {why}"] if len(text) + len(why) + 3 <= _WIDTH else [*_comment(indent, why), text]


def _comment(indent: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _pair(key: str, value: Any) -> str:
    """Return `key: value` on one line, whatever the text."""
    import yaml

    from kladml.config import dump_yaml

    line = dump_yaml({key: value}).removesuffix("\n")
    if "\n" not in line and line.isprintable():
        return line
    quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=False, width=math.inf)
    return f"{key}: {quoted.strip()}"
