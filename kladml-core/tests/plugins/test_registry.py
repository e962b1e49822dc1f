import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kladml.errors import (
    BrokenPluginError,
    DisabledPluginError,
    IncompatiblePluginError,
    PluginCollisionError,
    PluginError,
    UnknownPluginError,
)
from kladml.interfaces import StorageInterface
from kladml.plugins import KINDS, PluginEntry, PluginIndex, PluginRegistry
from kladml.plugins.registry import load_registered

STORAGE = """
from kladml.interfaces import StorageInterface

class Storage(StorageInterface):
    def upload_file(self, local_path, bucket, key): ...
    def download_file(self, bucket, key, local_path): ...
    def list_files(self, bucket, prefix=""): ...
"""
PLUGIN = """
from kladml.plugins import hookimpl

@hookimpl
def kladml_register_storage():
    from {package}.storage import Storage
    return Storage
"""


def install_storage(site, distribution, *names, version="1.0"):
    """Install a distribution that offers one storage class under some names."""
    package = distribution.replace("-", "_")
    site.install(
        distribution,
        version,
        entry_points={"kladml.storage": dict.fromkeys(names, f"{package}.plugin")},
        modules={f"{package}.storage": STORAGE, f"{package}.plugin": PLUGIN.format(package=package)},
    )


def entry(name="x", *, kind="storage", distribution="acme", value="acme.plugin", disabled=False):
    return PluginEntry(kind, name, distribution, "1.0", value, disabled)


def registry_of(*entries):
    return PluginRegistry(PluginIndex(entries))


# Finding and loading


def test_selected_class_is_loaded_from_an_installed_distribution(site):
    install_storage(site, "acme-storage", "acme")
    storage_class = PluginRegistry().load("storage", "acme")
    assert issubclass(storage_class, StorageInterface)
    assert storage_class.__module__ == "acme_storage.storage"


def test_same_class_is_returned_again(site):
    install_storage(site, "acme-storage", "acme")
    registry = PluginRegistry()
    assert registry.load("storage", "acme") is registry.load("storage", "acme-storage:acme")


def test_only_the_selected_module_is_imported(site):
    install_storage(site, "acme-storage", "acme")
    install_storage(site, "other-storage", "other")
    site.install(
        "acme-tracker",
        entry_points={"kladml.tracker": {"acme": "acme_tracker"}},
        modules={"acme_tracker": "raise RuntimeError"},
    )
    registry = PluginRegistry()
    assert registry.is_installed("storage", "other")
    registry.find("storage", "other")
    registry.load("storage", "acme")
    assert "acme_storage.storage" in sys.modules
    assert not {"other_storage", "other_storage.plugin", "acme_tracker"} & sys.modules.keys()


def test_resolving_a_name_loads_no_heavy_module_of_ours(site):
    install_storage(site, "acme-storage", "acme")
    heavy = ["torch", "accelerate", "numpy", "omegaconf", "structlog", "mlflow", "sqlalchemy", "boto3", "redis", "rich"]
    source = f"""
        import json, sys
        from kladml.plugins import PluginRegistry
        loaded = PluginRegistry().load("storage", "acme").__name__
        print(json.dumps([loaded, [name for name in {heavy} if name in sys.modules]]))
    """
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(site.folder)!r})\n" + textwrap.dedent(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["Storage", []]


def test_index_is_scanned_once_and_not_before_the_first_question(monkeypatch):
    scans = []
    scan = PluginIndex.scan
    monkeypatch.setattr(PluginIndex, "scan", lambda: scans.append(1) or scan())
    registry = PluginRegistry()
    assert scans == []
    for name in ("absent", "missing"):
        assert not registry.is_installed("storage", name)
        with pytest.raises(UnknownPluginError):
            registry.find("storage", name)
    assert scans == [1]


def test_two_registries_share_nothing(site):
    install_storage(site, "acme-storage", "acme")
    first = PluginRegistry()
    first.load("storage", "acme")
    install_storage(site, "other-storage", "other")
    second = PluginRegistry()
    assert second.is_installed("storage", "other")
    assert not first.is_installed("storage", "other")
    with pytest.raises(UnknownPluginError):
        registry_of().load("storage", "acme")


def test_value_may_name_an_object_in_a_module(site):
    source = STORAGE + textwrap.dedent(
        """
        from kladml.plugins import hookimpl

        class Plugins:
            class Storage:
                @staticmethod
                @hookimpl
                def kladml_register_storage():
                    return Storage
        """
    )
    site.install(
        "acme",
        entry_points={"kladml.storage": {"acme": "acme_plugins:Plugins.Storage"}},
        modules={"acme_plugins": source},
    )
    assert PluginRegistry().load("storage", "acme").__module__ == "acme_plugins"


# Names that are not there


@pytest.mark.parametrize(
    ("selector", "installed", "message"),
    [
        ("loca", ["local", "s3"], "no storage named 'loca' is installed (installed: local, s3); did you mean 'local'?"),
        ("S3", ["local", "s3"], "no storage named 'S3' is installed (installed: local, s3); did you mean 's3'?"),
        (
            "s3",
            ["local"],
            "no storage named 's3' is installed (installed: local); pip install kladml-backends-aws",
        ),
        (
            "s33",
            ["local"],
            (
                "no storage named 's33' is installed (installed: local); "
                "did you mean 's3'? pip install kladml-backends-aws"
            ),
        ),
        (
            "s3",
            ["s33"],
            (
                "no storage named 's3' is installed (installed: s33); "
                "did you mean 's33'? or pip install kladml-backends-aws"
            ),
        ),
        (
            "s3",
            [],
            "no storage named 's3' is installed (no storage is installed at all); pip install kladml-backends-aws",
        ),
        (
            "quantum",
            ["local"],
            "no storage named 'quantum' is installed (installed: local); kladml plugins list shows what is installed",
        ),
        (
            "other:s3",
            ["s3"],
            "no storage named 'other:s3' is installed (installed: s3); did you mean 's3'?",
        ),
        ("", ["s3"], "no storage named '' is installed (installed: s3); kladml plugins list shows what is installed"),
    ],
)
def test_unknown_name_says_what_is_there_the_nearest_and_what_to_install(selector, installed, message):
    registry = registry_of(*(entry(name) for name in installed), entry("elsewhere", kind="tracker"))
    with pytest.raises(UnknownPluginError) as caught:
        registry.find("storage", selector)
    assert str(caught.value) == message


def test_disabled_names_are_not_suggested():
    with pytest.raises(UnknownPluginError, match=r"\(installed: s3\); kladml plugins list"):
        registry_of(entry("local", disabled=True), entry("s3")).find("storage", "loca")


def test_unknown_kind_is_an_error_of_its_own():
    with pytest.raises(UnknownPluginError, match="'sotrage' is no kind of plugin"):
        registry_of(entry("s3")).find("sotrage", "s3")


# Two owners of one name


def test_collision_matters_only_when_the_name_is_selected(site):
    install_storage(site, "acme-one", "same", "one", version="1.1")
    install_storage(site, "acme-two", "same", "two", version="2.2")
    registry = PluginRegistry()
    assert registry.load("storage", "one").__module__ == "acme_one.storage"
    assert registry.load("storage", "two").__module__ == "acme_two.storage"
    with pytest.raises(PluginCollisionError) as caught:
        registry.load("storage", "same")
    assert str(caught.value) == (
        "storage 'same' is offered by acme-one 1.1 and acme-two 2.2; select 'acme-one:same' or 'acme-two:same'"
    )
    assert registry.load("storage", "acme-one:same").__module__ == "acme_one.storage"
    assert registry.load("storage", "Acme_Two:same").__module__ == "acme_two.storage"


def test_same_name_in_another_kind_is_no_collision():
    found = registry_of(entry("local"), entry("local", kind="tracker", distribution="other")).find("storage", "local")
    assert found.distribution == "acme"


def test_disabling_one_owner_settles_a_collision():
    registry = registry_of(entry(distribution="one"), entry(distribution="two", disabled=True))
    assert registry.find("storage", "x").distribution == "one"


# Switched off


@pytest.mark.parametrize("selector", ["x", "acme:x"])
def test_disabled_plugin_is_not_loaded(selector):
    with pytest.raises(DisabledPluginError) as caught:
        registry_of(entry(disabled=True)).load("storage", selector)
    assert str(caught.value) == (
        "storage 'x' is switched off by KLADML_DISABLED_PLUGINS (acme 1.0); "
        "take it out of that variable, or choose another storage"
    )


# Broken

BROKEN = {
    "import fails": ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
    "syntax error": ("def broken(:", "SyntaxError"),
    "raises at import": ("raise ValueError('two\\n  lines')", "ValueError: two lines"),
    "exits at import": ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    "no hook at all": ("", "implements no hook kladml_register_storage"),
    "hook not marked": ("def kladml_register_storage(): ...", "implements no hook kladml_register_storage"),
    "another kind's hook": (
        "from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_register_tracker(): ...",
        "implements no hook kladml_register_storage",
    ),
    "misspelt hook": (
        "from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_register_storge(): ...",
        "unknown hook 'kladml_register_storge'",
    ),
    "hook with an argument": (
        "from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_register_storage(settings): ...",
        "PluginValidationError",
    ),
    "hook raises": ("@hookimpl\ndef kladml_register_storage():\n    import boto33", "No module named 'boto33'"),
    "hook exits": ("@hookimpl\ndef kladml_register_storage():\n    raise SystemExit(2)", "SystemExit: 2"),
    "hook returns nothing": (
        "@hookimpl\ndef kladml_register_storage(): ...",
        "returns nothing from its hook kladml_register_storage",
    ),
    "hook returns an instance": (
        "@hookimpl\ndef kladml_register_storage():\n    return Storage()",
        "which is no subclass of StorageInterface",
    ),
    "class of another kind": (
        (
            "from kladml.interfaces import TrackerInterface\n@hookimpl\ndef kladml_register_storage():\n"
            "    return TrackerInterface"
        ),
        "which is no subclass of StorageInterface",
    ),
    "abstract methods left": (
        (
            "class Half(StorageInterface):\n    def upload_file(self, local_path, bucket, key): ...\n"
            "@hookimpl\ndef kladml_register_storage():\n    return Half"
        ),
        "registers Half, which does not implement download_file, list_files",
    ),
    "api_version is text": (
        "class Text(Storage):\n    api_version = '1'\n@hookimpl\ndef kladml_register_storage():\n    return Text",
        "declares the api_version '1', which is no whole number",
    ),
    "api_version is None": (
        "class Empty(Storage):\n    api_version = None\n@hookimpl\ndef kladml_register_storage():\n    return Empty",
        "declares the api_version None, which is no whole number",
    ),
}


def write_broken(site, case):
    source = BROKEN[case][0]
    if "@hookimpl" in source and "import hookimpl" not in source:
        source = f"{STORAGE}\nfrom kladml.plugins import hookimpl\n{source}"
    site.install("acme", "3.1", entry_points={"kladml.storage": {"x": "acme_x"}}, modules={"acme_x": source})


@pytest.mark.parametrize("case", BROKEN)
def test_broken_plugin_is_one_line_with_owner_version_and_cause(site, case):
    write_broken(site, case)
    with pytest.raises(BrokenPluginError) as caught:
        PluginRegistry().load("storage", "x")
    message = str(caught.value)
    assert message.startswith("storage 'x' ")
    assert BROKEN[case][1] in message
    assert "(acme 3.1)" in message
    assert message.endswith("; reinstall or upgrade acme, or report it to its authors")
    assert "\n" not in message


@pytest.mark.parametrize("case", ["import fails", "hook raises", "exits at import"])
def test_cause_of_a_broken_plugin_is_kept_for_the_traceback(site, case):
    write_broken(site, case)
    with pytest.raises(BrokenPluginError) as caught:
        PluginRegistry().load("storage", "x")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError | SystemExit)


@pytest.mark.parametrize(
    "value", ["", "acme_x:Missing", "acme_x:Storage.missing", "not a module", ":Storage", "..acme_x"]
)
def test_entry_point_value_that_leads_nowhere_is_a_broken_plugin(site, value):
    site.write("acme_x", STORAGE)
    with pytest.raises(BrokenPluginError, match=r"cannot be loaded: \w+.*\(acme 1\.0\)"):
        registry_of(entry(value=value)).load("storage", "x")


def test_broken_plugin_that_is_not_selected_does_no_harm(site):
    write_broken(site, "exits at import")
    install_storage(site, "sound-storage", "sound")
    registry = PluginRegistry()
    assert registry.load("storage", "sound").__module__ == "sound_storage.storage"
    assert registry.is_installed("storage", "x")


def test_interrupt_during_an_import_is_not_taken_for_a_broken_plugin(site):
    site.write("acme_x", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry_of(entry(value="acme_x")).load("storage", "x")


def test_command_plugins_return_what_their_hook_returns(site):
    source = """
        from kladml.plugins import hookimpl

        @hookimpl
        def kladml_register_command():
            return "a command"
    """
    site.write("acme_x", source)
    assert load_registered(entry("greet", kind="commands", value="acme_x")) == "a command"


# Names against the policy


@given(name=st.text(min_size=1).filter(lambda name: ":" not in name))
def test_name_against_the_policy_can_only_be_selected_if_it_is_valid(name):
    registered = entry(name)
    registry = registry_of(registered)
    if registered.valid_name:
        assert registry.find("storage", name) is registered
    else:
        with pytest.raises(BrokenPluginError, match=r"has a name that does not match \^\[a-z\]\[a-z0-9-\]\*\$"):
            registry.find("storage", name)


@given(name=st.from_regex(r"[a-z][a-z0-9-]*", fullmatch=True), other=st.text())
def test_finding_is_exact(name, other):
    assume(other.rpartition(":")[2] != name)
    with pytest.raises(PluginError):
        registry_of(entry(name)).find("storage", other)
    assert registry_of(entry(name), entry(name + "-x")).find("storage", name).name == name


# Versions of the interface


@pytest.fixture
def third_version(monkeypatch):
    monkeypatch.setitem(KINDS, "storage", dataclasses.replace(KINDS["storage"], api_version=3))


def install_version(site, version):
    source = f"""{STORAGE}
from kladml.plugins import hookimpl

class Versioned(Storage):
    api_version = {version}

@hookimpl
def kladml_register_storage():
    return Versioned
"""
    site.install("acme", entry_points={"kladml.storage": {"x": "acme_x"}}, modules={"acme_x": source})


@pytest.mark.parametrize("version", [3, 2])
def test_current_version_and_the_one_before_are_loaded(site, third_version, version):
    install_version(site, version)
    assert PluginRegistry().load("storage", "x").api_version == version


@pytest.mark.parametrize(("version", "upgrade"), [(1, "acme"), (4, "kladml-core")])
def test_other_versions_say_what_to_upgrade(site, third_version, version, upgrade):
    install_version(site, version)
    with pytest.raises(IncompatiblePluginError) as caught:
        PluginRegistry().load("storage", "x")
    assert str(caught.value) == (
        f"storage 'x' was written for version {version} of StorageInterface, and this kladml-core has version 3 "
        f"(acme 1.0); pip install --upgrade {upgrade}"
    )
