"""The plugin `console` of kind publisher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import PublisherInterface


@hookimpl
def kladml_register_publisher() -> type[PublisherInterface]:
    """Return the console publisher."""
    from kladml_backends_console.publisher import ConsolePublisher

    return ConsolePublisher
