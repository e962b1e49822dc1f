"""What the contracts of all kinds have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from kladml.plugins.kinds import kind_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.interfaces import Backend


class BackendContract:
    """The rules for a backend of any kind; subclass the contract of the kind instead.

    Attributes:
        kind: Name of the kind.
        optional: The methods that belong to each optional capability of the kind.
    """

    kind: ClassVar[str]
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test; the contract of each kind gives it."""
        raise NotImplementedError(self._missing("backend"))

    def _missing(self, fixture: str) -> str:
        return f"{type(self).__name__} must define the fixture '{fixture}', which returns the {fixture} under test"

    def test_is_a_backend_of_its_kind(self, backend: Backend) -> None:
        """A backend subclasses the interface of its kind; the plugin registry refuses other classes."""
        assert isinstance(backend, kind_named(self.kind).interface)

    def test_api_version_is_accepted(self, backend: Backend) -> None:
        """`api_version` is a whole number that this kladml-core accepts, else nobody can select the backend."""
        version = type(backend).api_version
        assert type(version) is int
        assert version in kind_named(self.kind).accepted_versions

    def test_capabilities_are_declared_where_they_are_implemented(self, backend: Backend) -> None:
        """`capabilities` names exactly what the class implements; callers ask it before they call.

        A capability that is implemented and not declared (or misspelt) is never used; one that is declared
        and not implemented fails in the middle of a run.
        """
        interface = kind_named(self.kind).interface
        implemented = {
            capability
            for capability, methods in self.optional.items()
            if any(getattr(type(backend), method) is not getattr(interface, method) for method in methods)
        }
        assert backend.capabilities & self.optional.keys() == implemented

    def test_check_accepts_a_backend_that_works(self, backend: Backend) -> None:
        """`check` raises only when the backend cannot be used; a false alarm would stop a run before it starts."""
        backend.check()

    def test_closing_twice_is_harmless(self, backend: Backend) -> None:
        """`close` may come again: a `with` block and an error path may both call it."""
        with backend as entered:
            assert entered is backend
        backend.close()
