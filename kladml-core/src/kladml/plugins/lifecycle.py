"""Calling the lifecycle hooks of a run, each plugin on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from kladml.errors import BrokenPluginError, StopRun
from kladml.log import get_logger
from kladml.plugins import spec
from kladml.plugins.kinds import HOOKS
from kladml.plugins.markers import PROJECT
from kladml.plugins.registry import load_module

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kladml.plugins.registry import PluginRegistry
    from kladml.plugins.run_info import RunInfo

log = get_logger(__name__)


class LifecycleHooks:
    """The lifecycle hooks of all installed `kladml.hooks` plugins and of objects given by the user.

    A hook that raises is reported with its owner and the run goes on. A hook that raises `StopRun` ends the
    run, after all other plugins were told of the same event.

    Args:
        plugins: Pairs of an owner, as errors name it, and a module or object with hook implementations.
    """

    def __init__(self, plugins: Iterable[tuple[str, object]] = ()) -> None:
        self._managers: list[tuple[str, pluggy.PluginManager]] = []
        for owner, plugin in plugins:
            manager = pluggy.PluginManager(PROJECT)
            manager.add_hookspecs(spec)
            try:
                manager.register(plugin)
                manager.check_pending()
            except pluggy.PluginValidationError as error:
                problem = f"a lifecycle hook does not match its specification: {' '.join(str(error).split())}"
                raise BrokenPluginError(
                    problem, owner=owner, next_step="see kladml.plugins.spec for the hooks"
                ) from error
            self._managers.append((owner, manager))

    @classmethod
    def installed(cls, registry: PluginRegistry, extra: Iterable[object] = ()) -> LifecycleHooks:
        """Load the `kladml.hooks` plugins that are not disabled; one that does not load is reported and left out."""
        plugins: list[tuple[str, object]] = []
        for entry in registry.index.of_kind(HOOKS):
            if entry.disabled:
                continue
            try:
                plugins.append((entry.owner, load_module(entry)[0]))
            except BrokenPluginError as error:
                log.warning(str(error))
        plugins += [(f"{type(plugin).__module__}.{type(plugin).__qualname__}", plugin) for plugin in extra]
        return cls(plugins)

    def run_started(self, run: RunInfo) -> None:
        """Call `kladml_run_started` of every plugin."""
        self._call("kladml_run_started", run=run)

    def epoch_ended(self, run: RunInfo, epoch: int, metrics: Mapping[str, float]) -> None:
        """Call `kladml_epoch_ended` of every plugin."""
        self._call("kladml_epoch_ended", run=run, epoch=epoch, metrics=metrics)

    def checkpoint_saved(self, run: RunInfo, path: Path, step: int, *, is_best: bool) -> None:
        """Call `kladml_checkpoint_saved` of every plugin."""
        self._call("kladml_checkpoint_saved", run=run, path=path, step=step, is_best=is_best)

    def run_ended(self, run: RunInfo, status: str, metrics: Mapping[str, float]) -> None:
        """Call `kladml_run_ended` of every plugin; a request to stop is moot here and only reported."""
        self._call("kladml_run_ended", may_stop=False, run=run, status=status, metrics=metrics)

    def _call(self, hook: str, *, may_stop: bool = True, **arguments: Any) -> None:
        stop: StopRun | None = None
        for owner, manager in self._managers:
            # Each plugin gets mappings of its own, so that one cannot change what the next one sees.
            own = {name: dict(value) if isinstance(value, Mapping) else value for name, value in arguments.items()}
            try:
                getattr(manager.hook, hook)(**own)
            except StopRun as error:
                log.info(f"hook {hook} asks to stop the run ({owner}): {error.problem}")
                stop = stop or _stop_of(error, owner)
            except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the run
                log.warning(f"hook {hook} failed and the run goes on ({owner}): {type(error).__name__}: {error}")
        if stop is not None and may_stop:
            raise stop


def _stop_of(error: StopRun, owner: str) -> StopRun:
    stop = StopRun(error.problem, owner=error.owner or owner, next_step=error.next_step)
    stop.__cause__ = error
    return stop
