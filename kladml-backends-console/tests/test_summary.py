from __future__ import annotations

from kladml_backends_console.summary import Summary

MESSAGE = {
    "status": "FINISHED",
    "seconds": 75.0,
    "metrics": {"loss": 0.25, "lr": 0.1, "eval_accuracy": 0.96875, "tokens": 12345.0},
    "artifacts": {"model/w": "s3://ml/a/b/c/1/model/w", "run.json": "s3://ml/a/b/c/1/run.json"},
    "how_to_view": ["mlflow ui", "https://example.org/run/1"],
}


def test_summary_has_aligned_metrics_the_place_of_the_files_and_how_to_look():
    summary = Summary.of("a/b/c@1", MESSAGE)
    assert summary.headline == "a/b/c@1 FINISHED in 1 min 15 s"
    assert summary.rows() == [
        "  eval_accuracy   0.9688",
        "  loss            0.2500",
        "  tokens         12345.0",
        "  files  s3://ml/a/b/c/1",
        "         model/, run.json",
        "  look   mlflow ui",
        "  look   https://example.org/run/1",
    ]


def test_failed_run_has_a_headline_alone():
    summary = Summary.of("a/b/c@1", {"status": "FAILED", "seconds": 3.21})
    assert (summary.headline, summary.rows()) == ("a/b/c@1 FAILED after 3.2 s", [])


def test_files_without_a_common_place_are_all_named():
    summary = Summary.of("a/b/c@1", {"status": "FINISHED", "artifacts": {"a": "mem:1", "b": "mem:2"}})
    assert summary.rows() == ["  files  mem:1", "  files  mem:2"]
