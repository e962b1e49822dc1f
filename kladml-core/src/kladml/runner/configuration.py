"""Loading a run's configuration from its source, its file, the environment, overrides and arguments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from kladml.config import BACKEND_SECTIONS, ResolvedConfig, flatten, from_source, read_environment, read_yaml, resolve
from kladml.config.layers import PROFILES
from kladml.interfaces import Backend, BackendContext, ConfigInterface, ExperimentAddress
from kladml.runner.selection import Default

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kladml.interfaces import ConfigEntry
    from kladml.plugins import PluginRegistry
    from kladml.workspace import Workspace

ConfigArgument = ConfigInterface | type[ConfigInterface] | str | None | Default
DEFAULT_SOURCE = "yaml"


def open_source(
    argument: ConfigArgument, registry: PluginRegistry, workspace: Workspace
) -> tuple[ConfigInterface | None, str]:
    """Return the configuration source that an argument means, and how to name it.

    Without an argument, `KLADML_CONFIG_SOURCE` or `yaml` names it; a core without any source is left without,
    unless the workspace has a `kladml.yaml` that would then be overlooked.

    Raises:
        PluginError: The source is not installed, or broken.
    """
    if argument is None:
        return None, "none"
    if isinstance(argument, ConfigInterface):
        return argument, type(argument).__name__
    choice: str | type[ConfigInterface]
    if isinstance(argument, Default):
        choice = os.environ.get("KLADML_CONFIG_SOURCE") or DEFAULT_SOURCE
        missing = choice == DEFAULT_SOURCE and not registry.is_installed("config", choice)
        if missing and not workspace.config_file.exists():
            return None, "none"
    else:
        choice = argument
    context = BackendContext(workspace.root)
    source_class: type[Backend]
    if isinstance(choice, str):
        source_class = registry.load("config", choice)
        label = f"{choice} ({registry.find('config', choice).owner})"
    else:
        source_class, label = choice, choice.__name__
    settings = source_class.settings_class() if source_class.settings_class is not None else {}
    return cast("ConfigInterface", source_class.from_settings(settings, context)), label


def load_configuration(
    source: ConfigInterface | None,
    *,
    stored: Iterable[ConfigEntry] | None = None,
    file: Path | None = None,
    overrides: Iterable[ConfigEntry] = (),
    profile: str | None = None,
) -> ResolvedConfig:
    """Resolve the layers: source, file, profile, environment, overrides.

    Args:
        source: The configuration source, or None.
        stored: The whole configuration of a run that goes on; it takes the place of the source, of which only
            settings of backends remain, below it.
        file: The run's own YAML file, or None.
        overrides: Entries of flags and arguments.
        profile: The profile to apply; `KLADML_PROFILE` by default.

    Raises:
        ConfigError: Something does not fit, with its file and line.
    """
    entries = from_source(source) if source is not None else []
    in_files = [entry for entry in entries if not entry.origin.startswith("$")]
    in_environment = [entry for entry in entries if entry.origin.startswith("$")]
    if stored is not None:
        in_files = [entry for entry in in_files if entry.key.partition(".")[0] in (*BACKEND_SECTIONS, PROFILES)]
        in_files += stored
    if file is not None:
        in_files += read_yaml(file)
    environment = [*in_environment, *read_environment()]
    return resolve(in_files, environment, overrides, profile=profile or os.environ.get("KLADML_PROFILE") or None)


def parameters(config: ResolvedConfig) -> dict[str, Any]:
    """Return the configuration flat, as a tracker records it: everything but the backends and unset keys."""
    return {
        row.key: row.value
        for row in config.rows()
        if row.key.partition(".")[0] not in BACKEND_SECTIONS and row.value not in (None, {})
    }


def arguments_as_entries(
    *,
    experiment_name: str | None,
    run_name: str | None,
    model_class: Any,
    loss: Any,
    model_arguments: Mapping[str, Any],
    training: Mapping[str, Any] | None,
) -> list[ConfigEntry]:
    """Return the arguments of `ExperimentRunner.run` as entries, to be checked and recorded like all configuration."""
    values: dict[str, Any] = {"training": training or {}, "model": {"args": _recordable(model_arguments)}}
    if experiment_name is not None:
        address = ExperimentAddress.parse(experiment_name)
        values["experiment"] = address.experiment
        if "/" in experiment_name:
            values |= {"project": address.project, "family": address.family}
    if run_name is not None:
        values["run_name"] = run_name
    if isinstance(model_class, type):
        values["model"]["ref"] = f"{model_class.__module__}:{model_class.__qualname__}"
    if isinstance(loss, str):
        values["model"]["loss"] = loss
    return [entry for entry in flatten(values, "run()") if entry.value != {}]


def _recordable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as a configuration can hold them; objects become their `repr`."""
    return {name: value if _is_plain(value) else repr(value) for name, value in arguments.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
