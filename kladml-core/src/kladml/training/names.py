"""Whether what a configuration names can be had: optimizer, schedule, loss, and which way a metric gets better."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kladml.errors import KladMLError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.config import ResolvedConfig


def check_names(config: ResolvedConfig) -> None:
    """Check what a configuration names in torch, and its metrics; torch is imported where it names something there.

    What a model brings itself is checked nevertheless: what stands in a configuration is to be right.

    Raises:
        WrongTypeError: It names no optimizer or schedule of torch, arguments that they lack, or a metric whose
            name does not tell which way is better.
        ModelContractError: It names no loss of torch.
    """
    _check_optimization(config)
    loss = config.run.model.loss
    if loss is not None and ":" not in loss:
        from kladml.training.objective import resolve_loss

        with _located(config, "model.loss"):
            resolve_loss(loss)
    _check_metrics(config)


def _check_optimization(config: ResolvedConfig) -> None:
    keys = [key for key in config.entries if key.startswith(("training.optimizer.", "training.scheduler."))]
    if not keys:
        return
    import torch

    from kladml.training.optimizers import build_optimization

    # Two dimensions, since some optimizers take nothing else; without random numbers, which are the user's.
    weights = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(1, 1))])
    with _located(config, *keys):
        build_optimization(weights, config.run.training)


def _check_metrics(config: ResolvedConfig) -> None:
    from kladml.training.monitor import resolve_mode

    stopping, saving = config.run.training.early_stopping, config.run.training.checkpoint
    for section, chosen in (("early_stopping", stopping), ("checkpoint", saving)):
        if chosen.enabled and chosen.monitor is not None:
            with _located(config, f"training.{section}.monitor"):
                resolve_mode(chosen.mode, chosen.monitor, f"training.{section}.mode")


@contextmanager
def _located(config: ResolvedConfig, *keys: str) -> Iterator[None]:
    """Say in an error where the key stands that it is about: the one that it names, else the first."""
    try:
        yield
    except KladMLError as error:
        named = [key for key in keys if key in error.problem] or list(keys)
        origin = config.entries[named[0]].origin if named[0] in config.entries else None
        problem = error.problem if origin is None else f"{origin}: {error.problem}"
        raise type(error)(problem, owner=error.owner, next_step=error.next_step) from error.__cause__
