from __future__ import annotations

import pytest

from kladml.errors import CatalogError, MissingSettingError, UnknownPluginError
from kladml.interfaces import ConfigEntry
from kladml.workspace import Workspace
from kladml_cli.configuration import Configuration

STORAGE = """\
from dataclasses import dataclass, field
from kladml import StorageInterface
from kladml.plugins import hookimpl

@dataclass
class Settings:
    bucket: str
    key: str | None = field(default=None, metadata={"secret": True})
    parts: int = 8

class BoxStorage(StorageInterface):
    settings_class = Settings
    def upload_file(self, local_path, bucket, key): return key
    def download_file(self, bucket, key, local_path): return local_path
    def list_files(self, bucket, prefix=""): return []

@hookimpl
def kladml_register_storage():
    return BoxStorage
"""


@pytest.fixture
def box(install):
    install("box-storage", {("storage", "box"): "box_storage"}, {"box_storage": STORAGE})


def rows_of(configuration):
    return {row.key: (str(row.value), row.origin) for row in configuration.rows()}


def test_selected_backends_show_all_their_settings(workspace):
    rows = rows_of(Configuration(Workspace(workspace)))
    assert rows["storage.use"] == ("local", "default")
    assert rows["storage.local.root"] == ("data", "default")
    assert rows["publisher.use"] == ("console", "default")


def test_values_of_every_layer_have_their_origin(workspace, box, monkeypatch):
    (workspace / "kladml.yaml").write_text("storage:\n  use: local\n  box:\n    bucket: from-file\n    parts: 3\n")
    monkeypatch.setenv("KLADML_STORAGE__BOX__KEY", "hidden")
    overrides = [ConfigEntry("storage.use", "box", "--storage"), ConfigEntry("storage.box.parts", 4, "--set")]
    rows = rows_of(Configuration(Workspace(workspace), overrides=overrides))
    assert rows["storage.use"] == ("box", "--storage")
    assert rows["storage.box.bucket"] == ("from-file", "kladml.yaml:4")
    assert rows["storage.box.parts"] == ("4", "--set")
    assert rows["storage.box.key"] == ("***", "$KLADML_STORAGE__BOX__KEY")


def test_blocks_of_backends_that_are_not_selected_are_shown_as_they_are(workspace, box):
    (workspace / "kladml.yaml").write_text("storage: {box: {bucket: b}}\n")
    rows = rows_of(Configuration(Workspace(workspace)))
    assert rows["storage.box.bucket"] == ("b", "kladml.yaml:1")
    assert "storage.box.parts" not in rows


def test_missing_setting_is_shown_and_fails_the_check(workspace, box):
    configuration = Configuration(Workspace(workspace), overrides=[ConfigEntry("storage.use", "box", "--storage")])
    assert rows_of(configuration)["storage.box.bucket"] == ("(missing)", "default")
    with pytest.raises(MissingSettingError, match=r"storage\.box\.bucket .* is missing \(box-storage 1\.0\)"):
        configuration.check_backends()


def test_backend_that_is_switched_off_has_no_settings(workspace):
    rows = rows_of(Configuration(Workspace(workspace), overrides=[ConfigEntry("storage.use", "none", "--storage")]))
    assert rows["storage.use"] == ("none", "--storage")
    assert [key for key in rows if key.startswith("storage.local")] == []


def test_every_key_is_shown_once(workspace):
    keys = [row.key for row in Configuration(Workspace(workspace)).rows()]
    assert len(keys) == len(set(keys))


def test_unknown_source_is_an_error(workspace):
    with pytest.raises(UnknownPluginError, match="no config named 'etcd'"):
        Configuration(Workspace(workspace), source="etcd")


def test_catalog_that_is_switched_off_cannot_be_opened(workspace):
    configuration = Configuration(Workspace(workspace), overrides=[ConfigEntry("catalog.use", "none", "--catalog")])
    with pytest.raises(CatalogError, match="no catalog is selected"):
        configuration.open_catalog()
