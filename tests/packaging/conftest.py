"""What the eight distributions ought to be, and their archives, built once for all of these tests."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_string
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

# The table of the design: what each distribution ships, and what it brings along.
CORE = f"kladml-core=={VERSION}"
LOCAL = f"kladml-backends-local=={VERSION}"
CONSOLE = f"kladml-backends-console=={VERSION}"


@dataclass(frozen=True)
class Distribution:
    """One row of the table, and where the row's archives are once they are built."""

    name: str
    package: str | None
    depends_on: set[str]
    extras: dict[str, set[str]] = field(default_factory=dict)
    entry_points: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The distribution's folder: the root for the meta distribution."""
        return ROOT if self.package is None else ROOT / self.name

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """The parsed pyproject.toml."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def sources(self) -> set[str]:
        """Every file of the package, relative to src."""
        if self.package is None:
            return set()
        source = self.folder / "src"
        return {
            path.relative_to(source).as_posix()
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }


DISTRIBUTIONS = [
    Distribution(
        "kladml",
        None,
        depends_on={CORE, LOCAL, CONSOLE},
        extras={
            "cli": {f"kladml-cli[tui]=={VERSION}"},
            "tui": {f"kladml-cli[tui]=={VERSION}"},
            "local": {LOCAL},
            "console": {CONSOLE},
            "aws": {f"kladml-backends-aws=={VERSION}"},
            "mlflow": {f"kladml-backends-mlflow=={VERSION}"},
            "redis": {f"kladml-backends-redis=={VERSION}"},
            "data": {f"kladml-core[data]=={VERSION}"},
            # hatchling writes out what `kladml[...]` in the pyproject refers to
            "all": {
                LOCAL,
                CONSOLE,
                *(f"kladml-backends-{name}=={VERSION}" for name in ("aws", "mlflow", "redis")),
                f"kladml-cli[tui]=={VERSION}",
                f"kladml-core[data]=={VERSION}",
            },
        },
    ),
    Distribution(
        "kladml-core",
        "kladml",
        depends_on={
            "accelerate",
            "importlib-metadata",
            "numpy",
            "omegaconf",
            "pluggy",
            "pyyaml",
            "safetensors",
            "structlog",
            "torch",
        },
        extras={
            "data": {"pillow", "polars", "pyarrow"},
            "sklearn": {"scikit-learn", "skops"},
            "testing": {"pytest"},
        },
    ),
    Distribution(
        "kladml-backends-local",
        "kladml_backends_local",
        depends_on={CORE, "alembic", "filelock", "mlflow-skinny", "sqlalchemy"},
        entry_points={
            ("kladml.catalog", "sql", "kladml_backends_local.plugin"),
            ("kladml.config", "env", "kladml_backends_local.plugin_env"),
            ("kladml.config", "yaml", "kladml_backends_local.plugin_yaml"),
            ("kladml.storage", "local", "kladml_backends_local.plugin"),
            ("kladml.tracker", "local", "kladml_backends_local.plugin"),
        },
    ),
    Distribution(
        "kladml-backends-console",
        "kladml_backends_console",
        depends_on={CORE, "rich"},
        entry_points={("kladml.publisher", "console", "kladml_backends_console.plugin")},
    ),
    Distribution(
        "kladml-backends-aws",
        "kladml_backends_aws",
        depends_on={CORE, "boto3"},
        extras={"crt": {"boto3[crt]"}},
        entry_points={("kladml.storage", "s3", "kladml_backends_aws.plugin")},
    ),
    Distribution(
        "kladml-backends-mlflow",
        "kladml_backends_mlflow",
        depends_on={CORE, "mlflow-skinny"},
        entry_points={("kladml.tracker", "mlflow", "kladml_backends_mlflow.plugin")},
    ),
    Distribution(
        "kladml-backends-redis",
        "kladml_backends_redis",
        depends_on={CORE, "redis"},
        entry_points={("kladml.publisher", "redis", "kladml_backends_redis.plugin")},
    ),
    Distribution(
        "kladml-cli",
        "kladml_cli",
        depends_on={CORE, LOCAL, CONSOLE, "click", "rich"},
        extras={"tui": {"textual"}},
        entry_points={("console_scripts", "kladml", "kladml_cli.main:main")},
    ),
]


class Archives:
    """The wheel and the sdist of every distribution."""

    def __init__(self, folder: Path) -> None:
        """Read the archives that lie in a folder."""
        self.folder = folder

    def wheel(self, name: str) -> Path:
        """The path of a distribution's wheel."""
        return self.folder / f"{name.replace('-', '_')}-{VERSION}-py3-none-any.whl"

    def sdist(self, name: str) -> Path:
        """The path of a distribution's sdist."""
        return self.folder / f"{name.replace('-', '_')}-{VERSION}.tar.gz"

    def wheel_files(self, name: str) -> set[str]:
        """What a wheel holds, without the files that describe it."""
        return {path for path in self._in_wheel(name) if ".dist-info/" not in path}

    def described(self, name: str) -> set[str]:
        """What a wheel's dist-info folder holds, relative to that folder."""
        return {path.partition(".dist-info/")[2] for path in self._in_wheel(name) if ".dist-info/" in path}

    def described_text(self, name: str, file: str) -> str:
        """The text of one file of a wheel's dist-info folder."""
        with zipfile.ZipFile(self.wheel(name)) as archive:
            return archive.read(f"{name.replace('-', '_')}-{VERSION}.dist-info/{file}").decode()

    def metadata(self, name: str) -> Message:
        """A wheel's core metadata."""
        return message_from_string(self.described_text(name, "METADATA"))

    def sdist_files(self, name: str) -> set[str]:
        """What an sdist holds, relative to its one top folder."""
        top = f"{name.replace('-', '_')}-{VERSION}/"
        with tarfile.open(self.sdist(name)) as archive:
            paths = [member.name for member in archive.getmembers() if member.isfile()]
        assert all(path.startswith(top) for path in paths)
        return {path.removeprefix(top) for path in paths}

    def _in_wheel(self, name: str) -> list[str]:
        with zipfile.ZipFile(self.wheel(name)) as archive:
            return [path for path in archive.namelist() if not path.endswith("/")]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Every sdist, and every wheel, the wheel built from its sdist as an index's user would."""
    pytest.importorskip("build", reason="needs the packages build and hatchling")
    pytest.importorskip("hatchling", reason="needs the packages build and hatchling")
    folder = tmp_path_factory.mktemp("archives")

    def build(distribution: Distribution) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
        return subprocess.run(
            [*command, str(distribution.folder)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,  # in the root, `import build` would find a folder of that name first
        )

    with ThreadPoolExecutor(2) as pool:
        for distribution, result in zip(DISTRIBUTIONS, pool.map(build, DISTRIBUTIONS), strict=True):
            assert result.returncode == 0, f"{distribution.name}: {result.stdout}{result.stderr}"
    return Archives(folder)


@pytest.fixture(params=DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def distribution(request: pytest.FixtureRequest) -> Distribution:
    """Each of the eight distributions."""
    return request.param


@pytest.fixture(params=[each for each in DISTRIBUTIONS if each.package], ids=lambda each: each.name)
def package(request: pytest.FixtureRequest) -> Distribution:
    """Each of the seven distributions that hold a package."""
    return request.param
