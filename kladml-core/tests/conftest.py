"""Fixtures of the core's tests."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytest_plugins = ["pytester"]

# How long an example takes says more about the machine than about the code.
settings.register_profile("kladml", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kladml")


class Site:
    """A folder on `sys.path` in which a test installs distributions, with real metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        version: str = "1.0",
        *,
        entry_points: Mapping[str, Mapping[str, str]] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> Path:
        """Write a distribution's metadata and modules; entry points are given as {group: {name: value}}."""
        metadata = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for group, points in (entry_points or {}).items():
            lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in (modules or {}).items():
            self.write(module, source)
        importlib.invalidate_caches()
        return metadata

    def write(self, module: str, source: str) -> None:
        """Write one module, given by its dotted name."""
        path = self.folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Make a folder on `sys.path`, before those that are there; what it brings is forgotten afterwards."""
    known = set(sys.modules)

    def make(name: str = "site") -> Site:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
        return Site(folder)

    yield make
    for module in set(sys.modules) - known:
        file = getattr(sys.modules[module], "__file__", None)
        paths = [file] if file else list(getattr(sys.modules[module], "__path__", ()))
        if any(Path(path).is_relative_to(tmp_path) for path in paths):
            del sys.modules[module]


@pytest.fixture
def site(make_site) -> Site:
    """One folder on `sys.path` for distributions."""
    return make_site()


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest without other plugins, which would be imported anew each time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester
