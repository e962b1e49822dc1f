"""What every backend has in common, whatever its kind."""

from __future__ import annotations

import dataclasses
from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kladml.errors import CapabilityError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend may know about where it is used.

    Attributes:
        workspace: Root folder of the workspace. Relative paths in settings are relative to it.
    """

    workspace: Path


class Backend(ABC):  # noqa: B024 - the interfaces of the kinds add the abstract methods
    """Base of all backend interfaces: building from settings, preflight, capabilities, closing.

    A backend has nothing to override here; every method has a correct default.

    Attributes:
        api_version: The version of the interface that the class was written for. A class that says nothing
            was written for version 1; the plugin registry accepts the current version and the one before.
        settings_class: A dataclass with one field per setting, or None for a class whose `__init__`
            parameters are its settings. A field's `metadata` may hold `doc` (one sentence, shown by
            `kladml plugins show`) and `secret` (True: only the environment may set it).
        capabilities: Names of the optional capabilities that the class offers; each interface lists its own.
    """

    api_version: ClassVar[int] = 1
    settings_class: ClassVar[type[Any] | None] = None
    capabilities: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_settings(cls, settings: Any, context: BackendContext) -> Self:
        """Build the backend from its checked settings.

        This occurs once per run, after the configuration was checked and before the preflight.

        Args:
            settings: An instance of `settings_class`, or a mapping of `__init__` arguments when the class
                declares none.
            context: Where the backend is used.

        Returns:
            A backend that is ready for `check`.
        """
        del context
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            return cls(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)})
        return cls(**settings)

    def check(self) -> None:  # noqa: B027 - an optional step, empty by default
        """Prove that the backend can be used; this occurs before the first epoch of a run.

        Raises:
            BackendError: The backend cannot be used, with the cause and the next step.
        """

    def close(self) -> None:  # noqa: B027 - an optional step, empty by default
        """Let go of connections and files; this occurs once, at the end of a run. Closing twice is harmless."""

    def __enter__(self) -> Self:
        """Return the backend itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the backend."""
        self.close()

    def _lacks(self, capability: str, what: str) -> CapabilityError:
        """Return the error for a capability that this backend does not offer."""
        problem = f"{type(self).__name__} cannot {what}: it does not offer the capability '{capability}'"
        offered = ", ".join(sorted(self.capabilities)) or "none"
        return CapabilityError(
            problem, owner=type(self).__module__, next_step=f"choose another backend (offered here: {offered})"
        )
