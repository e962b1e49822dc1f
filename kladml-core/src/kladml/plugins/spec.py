"""The hooks that plugins implement: one per kind of backend, one for commands, and the life of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kladml.interfaces import (
        CatalogInterface,
        ConfigInterface,
        PublisherInterface,
        StorageInterface,
        TrackerInterface,
    )
    from kladml.plugins.run_info import RunInfo


@hookspec
def kladml_register_storage() -> type[StorageInterface]:  # type: ignore[empty-body]
    """Return the storage class; called when a storage of this name is selected (group `kladml.storage`)."""


@hookspec
def kladml_register_config() -> type[ConfigInterface]:  # type: ignore[empty-body]
    """Return the configuration class; called when `--config-source` selects it (group `kladml.config`)."""


@hookspec
def kladml_register_tracker() -> type[TrackerInterface]:  # type: ignore[empty-body]
    """Return the tracker class; called when a tracker of this name is selected (group `kladml.tracker`)."""


@hookspec
def kladml_register_publisher() -> type[PublisherInterface]:  # type: ignore[empty-body]
    """Return the publisher class; called when a publisher of this name is selected (group `kladml.publisher`)."""


@hookspec
def kladml_register_catalog() -> type[CatalogInterface]:  # type: ignore[empty-body]
    """Return the catalog class; called when a catalog of this name is selected (group `kladml.catalog`)."""


@hookspec
def kladml_register_command() -> object:
    """Return a `click.Command`; called when a user types its name after `kladml` (group `kladml.commands`)."""


@hookspec
def kladml_run_started(run: RunInfo) -> None:
    """Called once, after the preflight and before the model is built.

    Args:
        run: Address, identifier and selected backends of the run.
    """


@hookspec
def kladml_epoch_ended(run: RunInfo, epoch: int, metrics: Mapping[str, float]) -> None:
    """Called after each epoch, when its metrics were recorded.

    Args:
        run: The run.
        epoch: Number of the epoch that ended, from 1.
        metrics: Means over the epoch; validation metrics start with `val_`.
    """


@hookspec
def kladml_checkpoint_saved(run: RunInfo, path: Path, step: int, is_best: bool) -> None:  # noqa: FBT001
    """Called after a checkpoint is complete on the disk.

    Args:
        run: The run.
        path: Folder of the checkpoint.
        step: Optimizer steps taken so far.
        is_best: Whether it is the best one so far by the monitored metric.
    """


@hookspec
def kladml_run_ended(run: RunInfo, status: str, metrics: Mapping[str, float]) -> None:
    """Called once at the end, whether the run finished, failed or was killed.

    Args:
        run: The run.
        status: `FINISHED`, `FAILED` or `KILLED`.
        metrics: Final metrics; empty if none were produced.
    """
