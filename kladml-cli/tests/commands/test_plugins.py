from __future__ import annotations

import json

import pytest

OURS = {
    ("storage", "local"): "kladml-backends-local",
    ("config", "yaml"): "kladml-backends-local",
    ("config", "env"): "kladml-backends-local",
    ("tracker", "local"): "kladml-backends-local",
    ("catalog", "sql"): "kladml-backends-local",
    ("publisher", "console"): "kladml-backends-console",
}

STORAGE = """\
from dataclasses import dataclass, field
from kladml import StorageInterface
from kladml.plugins import hookimpl

@dataclass
class Settings:
    bucket: str = field(metadata={"doc": "Which box."})
    key: str | None = field(default=None, metadata={"secret": True, "doc": "word " * 30})

class BoxStorage(StorageInterface):
    '''Keeps files in a box.

    It is a large box.
    '''
    settings_class = Settings
    capabilities = frozenset({"presign", "delete"})
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


@pytest.fixture
def broken(install):
    install("torn-box", {("storage", "torn"): "torn_box"}, {"torn_box": "import no_such_sdk"})


# list


def test_list_has_kind_name_distribution_version_and_state(kladml):
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in kladml("plugins", "list").output.splitlines()}
    for plugin, distribution in OURS.items():
        assert rows[plugin][0] == distribution
        assert rows[plugin][2] == "ok"


def test_list_as_json(kladml, box):
    found = {(each["kind"], each["name"]): each for each in json.loads(kladml("plugins", "list", "--json").output)}
    assert OURS.keys() <= found.keys()
    assert found["storage", "box"] == {
        "kind": "storage",
        "name": "box",
        "distribution": "box-storage",
        "version": "1.0",
        "state": "ok",
        "problem": None,
        "milliseconds": None,
    }


def test_list_of_one_kind(kladml, box):
    kinds = {line.split()[0] for line in kladml("plugins", "list", "storage").output.splitlines()}
    assert kinds == {"storage"}


def test_unknown_kind_is_an_error(kladml):
    outcome = kladml("plugins", "list", "storages")
    assert outcome.status == 4
    assert "'storages' is no kind of plugin; choose one of storage, config" in outcome.errors


def test_broken_plugin_is_one_row_and_no_failure(kladml, install):
    install("lost", {("storage", "lost"): "no_such_module"})
    outcome = kladml("plugins", "list", "storage")
    assert outcome.status == 0
    assert [line.split(maxsplit=4)[4] for line in outcome.output.splitlines() if " lost " in line] == [
        "broken: there is no module no_such_module"
    ]


def test_list_with_times_shows_what_does_not_load(kladml, box, broken, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("KLADML_DISABLED_PLUGINS", "kladml-backends-local,kladml-backends-aws")
    outcome = kladml("plugins", "list", "storage", "--time")
    assert outcome.status == 0
    rows = {line.split()[1]: line for line in outcome.output.splitlines()}
    assert rows["box"].endswith(" ms  ok")
    assert "No module named 'no_such_sdk'" in rows["torn"]
    assert rows["local"].endswith("  disabled")


# show


def test_show_describes_a_backend_and_its_settings(kladml, box):
    outcome = kladml("plugins", "show", "storage", "box")
    assert outcome.status == 0
    assert outcome.output.splitlines()[:11] == [
        "kind          storage",
        "name          box",
        "distribution  box-storage",
        "version       1.0",
        "module        box_storage",
        "class         box_storage.BoxStorage",
        "about         Keeps files in a box.",
        "api version   1",
        "capabilities  delete, presign",
        "",
        "Settings, in the section storage.box of the configuration:",
    ]
    assert outcome.output.splitlines()[11:14] == [
        "  bucket: str, required",
        "      Which box.",
        "  key: str | None, default null, secret: from the environment only",
    ]
    assert max(map(len, outcome.output.splitlines())) <= 80


def test_show_as_json(kladml, box):
    found = json.loads(kladml("plugins", "show", "storage", "box", "--json").output)
    assert found["class"] == "box_storage.BoxStorage"
    assert found["settings"][0] == {
        "name": "bucket",
        "type": "str",
        "default": None,
        "required": True,
        "secret": False,
        "doc": "Which box.",
    }


@pytest.mark.parametrize(("kind", "name"), OURS)
def test_every_plugin_of_ours_can_be_shown(kladml, kind, name):
    outcome = kladml("plugins", "show", kind, name)
    assert outcome.status == 0
    assert "about         " in outcome.output


def test_show_lifecycle_hooks_and_commands(kladml, install):
    hook = "from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_run_ended(run): pass\n"
    install("watcher", {("hooks", "watcher"): "watcher"}, {"watcher": hook})
    assert "hooks         kladml_run_ended" in kladml("plugins", "show", "hooks", "watcher").output
    command = (
        "import click\nfrom kladml.plugins import hookimpl\n"
        "@click.command(help='Say hello.')\ndef greet(): pass\n"
        "@hookimpl\ndef kladml_register_command(): return greet\n"
    )
    install("greeter", {("commands", "greet"): "greeter"}, {"greeter": command})
    assert "about         Say hello." in kladml("plugins", "show", "commands", "greet").output


def test_show_of_an_unknown_name_says_what_is_installed(kladml):
    outcome = kladml("plugins", "show", "storage", "locl")
    assert outcome.status == 4
    assert "no storage named 'locl' is installed (installed: local" in outcome.errors
    assert "did you mean 'local'?" in outcome.errors


# check


def test_check_loads_the_plugins_of_a_kind(kladml, box):
    outcome = kladml("plugins", "check", "storage")
    assert (outcome.status, outcome.errors) == (0, "")
    assert [line.split()[-1] for line in outcome.output.splitlines() if "box" in line] == ["ok"]


def test_check_of_everything_that_is_ours_passes(kladml):
    outcome = kladml("plugins", "check", "--json")
    found = {(each["kind"], each["name"]): each["state"] for each in json.loads(outcome.output)}
    assert outcome.status == 0
    assert {found[plugin] for plugin in OURS} == {"ok"}


def test_check_of_a_broken_plugin_fails_with_its_cause(kladml, broken):
    outcome = kladml("plugins", "check", "storage", "torn")
    assert outcome.status == 4
    assert outcome.errors.count("\n") == 1
    assert "storage 'torn' cannot be loaded: ModuleNotFoundError" in outcome.errors
    assert "(torn-box 1.0)" in outcome.errors


def test_check_of_several_broken_plugins_names_them_all(kladml, broken, install):
    install("lost", {("storage", "lost"): "no_such_module"})
    outcome = kladml("plugins", "check", "storage")
    assert outcome.status == 4
    assert "plugins cannot be used: storage/lost (lost 1.0), storage/torn (torn-box 1.0)" in outcome.errors


def test_check_loads_both_of_a_name(kladml, box, install):
    install("other-box", {("storage", "box"): "box_storage"}, version="2.0")
    outcome = kladml("plugins", "check", "storage")
    assert outcome.status == 0
    assert outcome.output.count("collision: also offered by") == 2
    assert kladml("plugins", "check", "storage", "box").status == 4
    assert kladml("plugins", "check", "storage", "other-box:box").status == 0


def test_check_of_a_disabled_plugin_says_so(kladml, box, monkeypatch):
    monkeypatch.setenv("KLADML_DISABLED_PLUGINS", "storage/box")
    outcome = kladml("plugins", "check", "storage", "box")
    assert outcome.status == 4
    assert "switched off by KLADML_DISABLED_PLUGINS" in outcome.errors
