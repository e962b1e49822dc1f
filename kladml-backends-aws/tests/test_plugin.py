"""The plugin is found by its name and costs nothing until it is selected."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kladml_backends_aws
from kladml.interfaces import BackendContext, settings_of
from kladml.plugins import PluginEntry, PluginIndex, PluginRegistry
from kladml_backends_aws.settings import S3Settings


def test_registry_loads_the_storage_by_its_name():
    entry = PluginEntry("storage", "s3", "kladml-backends-aws", "0.20.0", "kladml_backends_aws.plugin")
    loaded = PluginRegistry(PluginIndex([entry])).load("storage", "s3")
    assert loaded is kladml_backends_aws.S3Storage


def test_package_plugin_and_settings_import_no_sdk():
    code = (
        "import sys, kladml_backends_aws, kladml_backends_aws.plugin, kladml_backends_aws.settings;"
        "print(sorted({'boto3', 'botocore', 's3transfer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_bucket_is_the_one_setting_without_default():
    settings = settings_of(kladml_backends_aws.S3Storage)
    assert [setting.name for setting in settings if setting.required] == ["bucket"]


def test_every_setting_is_documented():
    assert [setting.name for setting in settings_of(kladml_backends_aws.S3Storage) if not setting.doc] == []


def test_settings_reach_the_storage(tmp_path):
    settings = S3Settings("ml", prefix="team", endpoint_url="http://127.0.0.1:1", region="eu-central-1")
    with kladml_backends_aws.S3Storage.from_settings(settings, BackendContext(tmp_path)) as storage:
        assert storage.default_bucket == "ml"
        link = storage.presigned_url("ml", "key")
    assert link.startswith("http://127.0.0.1:1/ml/team/key?")
    assert "eu-central-1" in link


def test_unknown_name_in_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="GcsStorage"):
        _ = kladml_backends_aws.GcsStorage
