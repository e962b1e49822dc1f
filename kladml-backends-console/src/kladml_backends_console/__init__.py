"""KladML's console publisher: a live progress bar on a terminal, plain lines elsewhere.

Importing the package imports none of its dependencies; the class is imported at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_backends_console.publisher import ConsolePublisher

__all__ = ["ConsolePublisher"]


def __getattr__(name: str) -> Any:
    if name == "ConsolePublisher":
        from kladml_backends_console.publisher import ConsolePublisher

        return ConsolePublisher
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
