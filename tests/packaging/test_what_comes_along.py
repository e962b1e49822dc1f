"""What an installation brings along, as pip resolves it from the built wheels under the constraints."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from packaging.utils import canonicalize_name

FRONT_END = {"click", "rich", "textual"}
SERVICES = {"boto3", "mlflow", "mlflow-skinny", "redis", "sqlalchemy"}


@pytest.fixture(scope="session")
def brought_by(archives, pytestconfig, tmp_path_factory):
    """Resolve an installation of some of the wheels; nothing is installed."""

    def resolve(*names: str, extras: str = "") -> set[str]:
        report = tmp_path_factory.mktemp("report") / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        options = [
            f"--report={report}",
            f"--find-links={archives.folder}",
            f"--constraint={pytestconfig.rootpath / 'constraints.txt'}",
        ]
        wheels = [f"{archives.wheel(name)}{extras}" for name in names]
        result = subprocess.run([*command, *options, *wheels], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
        return {canonicalize_name(each["metadata"]["name"]) for each in installed}

    return resolve


def test_core_alone_brings_no_front_end_and_no_service(brought_by):
    names = brought_by("kladml-core")
    assert names & (FRONT_END | SERVICES) == set()
    assert {name for name in names if name.startswith("kladml")} == {"kladml-core"}


def test_core_with_s3_brings_boto3_and_nothing_else_of_the_kind(brought_by):
    names = brought_by("kladml-core", "kladml-backends-aws")
    assert names & (FRONT_END | SERVICES) == {"boto3"}
    assert {name for name in names if name.startswith("kladml")} == {"kladml-core", "kladml-backends-aws"}


def test_core_with_redis_brings_redis_alone(brought_by):
    assert brought_by("kladml-core", "kladml-backends-redis") & (FRONT_END | SERVICES) == {"redis"}


def test_core_with_console_brings_rich_alone(brought_by):
    assert brought_by("kladml-core", "kladml-backends-console") & (FRONT_END | SERVICES) == {"rich"}


def test_mlflow_backend_brings_the_client_without_the_server(brought_by):
    names = brought_by("kladml-core", "kladml-backends-mlflow")
    # mlflow-skinny itself depends on click.
    assert names & (FRONT_END | SERVICES) == {"click", "mlflow-skinny"}


def test_kladml_is_the_core_with_the_local_and_the_console_backends(brought_by):
    names = brought_by("kladml")
    assert {name for name in names if name.startswith("kladml")} == {
        "kladml",
        "kladml-core",
        "kladml-backends-local",
        "kladml-backends-console",
    }


def test_kladml_all_is_everything(brought_by):
    names = brought_by("kladml", extras="[all]")
    assert {name for name in names if name.startswith("kladml")} == {
        "kladml",
        "kladml-core",
        "kladml-backends-aws",
        "kladml-backends-console",
        "kladml-backends-local",
        "kladml-backends-mlflow",
        "kladml-backends-redis",
        "kladml-cli",
    }
    assert names >= {"boto3", "click", "mlflow-skinny", "redis", "rich", "sqlalchemy", "textual"}
