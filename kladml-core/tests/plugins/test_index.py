import sys

import pytest

from kladml.plugins import PluginEntry, PluginIndex
from kladml.plugins.index import DISABLED_VARIABLE


def entries_of(*distributions, **options):
    """What a scan finds of the distributions that a test installed."""
    return [entry for entry in PluginIndex.scan(**options).entries if entry.distribution in distributions]


def test_scan_reads_names_owners_and_versions_and_imports_nothing(site):
    site.install(
        "acme-kladml",
        "2.5.1",
        entry_points={
            "kladml.storage": {"acme": "acme_kladml.plugin"},
            "kladml.tracker": {"acme-tracker": "acme_kladml.plugin:tracker"},
            "console_scripts": {"acme": "acme_kladml.main:run"},
            "kladml.unknown": {"acme": "acme_kladml.plugin"},
        },
        modules={"acme_kladml.plugin": "raise RuntimeError('a scan imports nothing')"},
    )
    assert entries_of("acme-kladml") == [
        PluginEntry("storage", "acme", "acme-kladml", "2.5.1", "acme_kladml.plugin"),
        PluginEntry("tracker", "acme-tracker", "acme-kladml", "2.5.1", "acme_kladml.plugin:tracker"),
    ]
    assert not any(module.startswith("acme_kladml") for module in sys.modules)


def test_every_group_of_the_design_is_read(site):
    groups = ["storage", "config", "tracker", "publisher", "catalog", "hooks", "commands"]
    site.install("acme", entry_points={f"kladml.{group}": {"x": "acme.plugin"} for group in groups})
    assert [entry.kind for entry in entries_of("acme")] == sorted(groups)


def test_entries_are_sorted_whatever_the_order_of_installation(site):
    site.install("b-dist", entry_points={"kladml.tracker": {"z": "b"}, "kladml.storage": {"same": "b", "a": "b"}})
    site.install("a-dist", entry_points={"kladml.storage": {"same": "a"}})
    found = [(entry.kind, entry.name, entry.distribution) for entry in entries_of("a-dist", "b-dist")]
    assert found == [
        ("storage", "a", "b-dist"),
        ("storage", "same", "a-dist"),
        ("storage", "same", "b-dist"),
        ("tracker", "z", "b-dist"),
    ]


def test_the_first_of_two_copies_on_the_path_counts(make_site):
    make_site("older").install("acme", "1.0", entry_points={"kladml.storage": {"old": "acme"}})
    make_site("newer").install("acme", "2.0", entry_points={"kladml.storage": {"new": "acme"}})
    assert [(entry.name, entry.version) for entry in entries_of("acme")] == [("new", "2.0")]


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("s3", True),
        ("my-storage-2", True),
        ("S3", False),
        ("2fast", False),
        ("-x", False),
        ("a_b", False),
        ("a:b", False),
        ("é", False),
        ("a\n", False),
        ("", False),
    ],
)
def test_names_follow_the_policy(name, valid):
    assert PluginEntry("storage", name, "acme", "1.0", "acme").valid_name is valid


def test_a_name_against_the_policy_is_listed_all_the_same(site):
    site.install("acme", entry_points={"kladml.storage": {"Bad_Name": "acme.plugin"}})
    (entry,) = entries_of("acme")
    assert (entry.name, entry.valid_name) == ("Bad_Name", False)


def test_entry_names_itself_and_its_owner():
    entry = PluginEntry("storage", "s3", "kladml-backends-aws", "1.2", "kladml_backends_aws.plugin")
    assert (str(entry), entry.owner) == ("storage/s3", "kladml-backends-aws 1.2")


@pytest.mark.parametrize("spelling", ["kladml-backends-aws", "kladml_backends_aws", "KladML.Backends--AWS"])
def test_every_spelling_of_a_distribution_is_the_same(spelling):
    assert PluginEntry("storage", "s3", "kladml_backends-aws", "1.2", "x").is_from(spelling)
    assert not PluginEntry("storage", "s3", "kladml-backends", "1.2", "x").is_from(spelling)


@pytest.fixture
def two_distributions(site):
    site.install("acme", entry_points={"kladml.storage": {"one": "a", "two": "a"}, "kladml.tracker": {"one": "a"}})
    site.install("other", entry_points={"kladml.storage": {"one": "o"}})


@pytest.mark.parametrize(
    ("words", "off"),
    [
        ([], set()),
        (["storage/one"], {"acme storage/one", "other storage/one"}),
        (["acme"], {"acme storage/one", "acme storage/two", "acme tracker/one"}),
        (["ACME", "storage/absent"], {"acme storage/one", "acme storage/two", "acme tracker/one"}),
        (["tracker/one", "other"], {"acme tracker/one", "other storage/one"}),
        (["one", "storage", "storage/", "acm"], set()),
    ],
)
def test_plugins_are_disabled_by_kind_and_name_or_by_distribution(two_distributions, words, off):
    entries = entries_of("acme", "other", disabled=words)
    assert {f"{entry.distribution} {entry}" for entry in entries if entry.disabled} == off
    assert len(entries) == 4


def test_the_variable_disables_plugins(two_distributions, monkeypatch):
    monkeypatch.setenv(DISABLED_VARIABLE, " storage/two , other,,")
    off = {f"{entry.distribution} {entry}" for entry in entries_of("acme", "other") if entry.disabled}
    assert off == {"acme storage/two", "other storage/one"}
    monkeypatch.delenv(DISABLED_VARIABLE)
    assert not any(entry.disabled for entry in entries_of("acme", "other"))


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("entry_points.txt", b"[kladml.storage]\nno equals sign\n", "damaged"),
        ("entry_points.txt", b"\xff\xfe[kladml.storage]\nx = y\n", "damaged"),
        ("METADATA", b"Metadata-Version: 2.1\nVersion: 1.0\n", "kladml.storage 'lost'"),
        ("METADATA", b"Metadata-Version: 2.1\nName: damaged\n", "kladml.storage 'lost'"),
        ("METADATA", None, "kladml.storage 'lost'"),
    ],
    ids=["malformed entry points", "entry points in UTF-16", "no name", "no version", "no metadata"],
)
def test_damaged_distribution_is_reported_and_hides_no_other(site, caplog, file, content, named):
    damaged = site.install("damaged", entry_points={"kladml.storage": {"lost": "damaged.plugin"}})
    site.install("sound", entry_points={"kladml.storage": {"found": "sound.plugin"}})
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)
    assert [str(entry) for entry in entries_of("damaged", "sound")] == ["storage/found"]
    (record,) = caplog.records
    assert named in record.message
    assert "its metadata is damaged" in record.message


def test_damaged_distribution_does_not_bring_shadowed_copies_back(make_site):
    make_site("older").install("acme", "1.0", entry_points={"kladml.storage": {"old": "acme"}})
    site = make_site("newer")
    site.install("acme", "2.0", entry_points={"kladml.storage": {"new": "acme"}})
    (site.install("damaged") / "entry_points.txt").write_text("[kladml.storage]\nno equals sign\n")
    assert [(entry.name, entry.version) for entry in entries_of("acme")] == [("new", "2.0")]


def test_of_kind_selects_one_kind():
    entries = [PluginEntry(kind, "x", "acme", "1.0", "acme") for kind in ("tracker", "storage", "hooks")]
    assert [entry.kind for entry in PluginIndex(entries).of_kind("storage")] == ["storage"]
    assert PluginIndex(entries).of_kind("catalog") == []
