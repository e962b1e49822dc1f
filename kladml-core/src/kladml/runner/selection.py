"""Selecting backends: an instance, a class, a name, or None, for each kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from kladml.config.backend_settings import backend_settings
from kladml.errors import BackendError, ConfigError
from kladml.interfaces import Backend, BackendContext
from kladml.log import get_logger
from kladml.plugins.kinds import kind_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.config import ResolvedConfig
    from kladml.plugins import PluginRegistry
    from kladml.workspace import Workspace

log = get_logger(__name__)


class Default(Enum):
    """The type of `DEFAULT`."""

    DEFAULT = "what the configuration says"

    def __repr__(self) -> str:
        """Return the name alone, for signatures in the documentation."""
        return self.name


DEFAULT = Default.DEFAULT
"""Marks an argument that was not given: the configuration decides."""

DEFAULT_NAMES = {"storage": "local", "tracker": "local", "publisher": "console", "catalog": "sql"}
FAN_OUT = frozenset({"tracker", "publisher"})


@dataclass(frozen=True, slots=True)
class Selected:
    """A backend that a run uses.

    Attributes:
        kind: Its kind.
        name: The name under which it was selected, or its class's name.
        owner: Distribution and version, or the module of a class that is no plugin.
        backend: The backend.
        borrowed: Whether the caller gave the instance, and so closes it.
    """

    kind: str
    name: str
    owner: str
    backend: Any
    borrowed: bool = False

    def __str__(self) -> str:
        """Return how a person reads it: `storage s3 (kladml-backends-aws 0.20.0)`."""
        return f"{self.kind} {self.name} ({self.owner})"


class BackendSelector:
    """Builds the backends of a run.

    Args:
        config: The resolved configuration.
        registry: Where names are looked up.
        workspace: The workspace that backends are told of.
    """

    def __init__(self, config: ResolvedConfig, registry: PluginRegistry, workspace: Workspace) -> None:
        self.config = config
        self.registry = registry
        self.context = BackendContext(workspace.root)

    def select(self, kind: str, argument: Any) -> list[Selected]:
        """Return the backends of a kind; storage and catalog have at most one.

        Args:
            kind: The kind.
            argument: An instance, a class, a name, None for none, a list of these for trackers and
                publishers, or `DEFAULT` for what the configuration says.

        Raises:
            PluginError: A selected plugin cannot be used.
            ConfigError: Its settings do not fit.
        """
        choices = self._choices(kind, argument)
        if len(choices) > 1 and kind not in FAN_OUT:
            problem = f"{len(choices)} backends are selected as {kind}, and a run has one"
            raise ConfigError(problem, next_step="select one; only trackers and publishers may be several")
        return [self._build(kind, choice) for choice in choices]

    def _choices(self, kind: str, argument: Any) -> Sequence[Any]:
        if argument is None:
            return []
        if argument is not DEFAULT:
            return list(argument) if isinstance(argument, list | tuple) else [argument]
        names = self.config.selected(kind)
        if names is not None:
            return names
        name = DEFAULT_NAMES[kind]
        if self.registry.is_installed(kind, name):
            return [name]
        log.warning(f"{kind} is off: nothing was selected, and the default '{name}' is not installed")
        return []

    def _build(self, kind: str, choice: Any) -> Selected:
        interface = kind_named(kind).interface
        if isinstance(choice, interface):
            return Selected(kind, type(choice).__name__, type(choice).__module__, choice, borrowed=True)
        if isinstance(choice, str):
            entry = self.registry.find(kind, choice)
            return self._from_class(kind, entry.name, entry.owner, self.registry.load(kind, choice))
        if isinstance(choice, type) and issubclass(choice, interface):
            return self._from_class(kind, choice.__name__, choice.__module__, choice)
        problem = f"{kind}={choice!r} is no {interface.__name__}, no class of one, and no name"
        raise ConfigError(problem, next_step=f"derive it from kladml.{interface.__name__}")

    def _from_class(self, kind: str, name: str, owner: str, backend_class: type[Backend]) -> Selected:
        settings = backend_settings(self.config, kind, name, backend_class, owner)
        try:
            return Selected(kind, name, owner, backend_class.from_settings(settings, self.context))
        except (TypeError, ValueError) as error:
            problem = f"{kind} '{name}' cannot be built from its settings: {error}"
            raise BackendError(problem, owner=owner, next_step=f"check the section {kind}.{name}") from error
