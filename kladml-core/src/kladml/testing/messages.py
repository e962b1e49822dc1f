"""Samples of the messages that a run publishes, one or more of every documented event."""

from __future__ import annotations

from typing import Any

CHANNEL = "kladml:default/default/digits@3"
"""A channel as runs name it."""

_STARTED = 1_700_000_000.25


def sample_messages() -> list[dict[str, Any]]:
    """Return the messages of a short run, in the order in which a run publishes them.

    Returns:
        New dictionaries at each call, with every field that `PublisherInterface` documents.
    """
    metrics = {"loss": 0.25, "val_loss": 0.5, "val_accuracy": 0.96875}
    return [
        {
            "event": "run_started",
            "time": _STARTED,
            "address": "default/default/digits@3",
            "run_id": "0f3c9b7a",
            "max_epochs": 1,
            "steps_per_epoch": 2,
            "selected": [
                "storage local (kladml-backends-local 0.20.0)",
                "tracker local (kladml-backends-local 0.20.0)",
            ],
        },
        {"event": "step", "time": _STARTED + 1, "epoch": 1, "step": 1, "loss": 0.5, "lr": 0.001},
        {"event": "step", "time": _STARTED + 2, "epoch": 1, "step": 2, "loss": 0.25, "lr": 0.0005},
        {
            "event": "validated",
            "time": _STARTED + 2.5,
            "epoch": 1,
            "step": 2,
            "metrics": {"loss": 0.25, "val_loss": 0.5},
        },
        {"event": "epoch_ended", "time": _STARTED + 3, "epoch": 1, "step": 2, "metrics": dict(metrics)},
        {
            "event": "checkpoint_saved",
            "time": _STARTED + 4,
            "step": 2,
            "path": "default/default/digits/3/checkpoints/step-2",
            "is_best": True,
        },
        {
            "event": "run_ended",
            "time": _STARTED + 5,
            "status": "FINISHED",
            "metrics": dict(metrics),
            "artifacts": {"weights": "file:///tmp/data/kladml/default/default/digits/3/model.safetensors"},
            "how_to_view": ["mlflow ui --backend-store-uri sqlite:///.kladml/mlflow.db"],
            "seconds": 4.75,
        },
    ]
