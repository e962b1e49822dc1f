from __future__ import annotations

import math
from pathlib import Path

import pytest

from kladml_backends_console.wording import clock, duration, first_names, number, place, ranked


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98765, "0.9877"),
        (0, "0.0000"),
        (12.3456, "12.346"),
        (123.456, "123.46"),
        (-1234.56, "-1234.6"),
        (99999.4, "99999.4"),
        (1e5, "1e+05"),
        (0.00012345, "0.000123"),
        (1e-7, "1e-07"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_number_has_about_five_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (4.06, "4.1 s"), (60, "1 min 00 s"), (125.9, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_duration_is_said_as_people_say_it(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(-3, "0:00"), (12.4, "0:12"), (59.6, "1:00"), (3725, "1:02:05")])
def test_clock_counts_hours_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


def test_metrics_are_ranked_and_what_is_no_metric_is_left_out():
    metrics = {"accuracy": 1, "lr": 0.1, "val_f1": 2, "val_loss": 3, "loss": 4, "eval_f1": 5, "n": {}, "ok": True}
    assert list(ranked(metrics).items()) == [
        ("eval_f1", 5),
        ("val_loss", 3),
        ("loss", 4),
        ("val_f1", 2),
        ("accuracy", 1),
    ]


def test_place_is_the_common_start_of_the_uris():
    uris = {"config.yaml": "s3://ml/a/b/c/1/config.yaml", "model/w": "s3://ml/a/b/c/1/model/w"}
    assert place(uris) == "s3://ml/a/b/c/1"


def test_place_on_this_machine_is_a_path_relative_where_it_lies_below(tmp_path, monkeypatch):
    folder = tmp_path / "with space" / "1"
    uris = {name: (folder / name).as_uri() for name in ("a", "b/c")}
    monkeypatch.chdir(tmp_path)
    assert place(uris) == str(Path("with space", "1"))
    monkeypatch.chdir(tmp_path.parent)
    assert place(uris) == str(folder.relative_to(tmp_path.parent))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert place(uris) == str(folder)


@pytest.mark.parametrize(
    "uris",
    [{}, {"a": "mem:1", "b": "mem:2"}, {"a": "s3://x/1/a", "b": "s3://x/2/b"}],
    ids=["none", "other names", "two folders"],
)
def test_files_without_a_common_place_have_none(uris):
    assert place(uris) is None


def test_first_names_show_folders_with_a_slash():
    assert first_names({"model/a": "", "model/b": "", "run.json": "", "checkpoint/step-1/x": ""}) == [
        "checkpoint/",
        "model/",
        "run.json",
    ]
