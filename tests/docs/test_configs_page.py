"""The page on run configurations shows what `kladml config new` really writes."""

from __future__ import annotations

from pathlib import Path

from kladml.datasets import DatasetReference
from kladml.datasets.learning import LearningTask
from kladml_cli.starting_config import starting_config

PAGE = Path(__file__).parents[2] / "docs" / "configs.md"


def test_the_configuration_on_the_page_is_the_one_that_is_written():
    digits = DatasetReference("digits", 1)
    task = LearningTask(
        *(digits, None, "npz", 1797, (64,)),
        target="y",
        kind="classification",
        why="the targets have 10 different values",
        outputs=10,
        labels=tuple("0123456789"),
    )
    shown = PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```\n")[0]
    assert starting_config(task, "digits").text.endswith(shown)
    assert shown.startswith("experiment: digits")
