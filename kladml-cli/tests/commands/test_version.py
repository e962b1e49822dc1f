from __future__ import annotations

import json

import kladml as core


def test_every_distribution_of_kladml_is_listed(kladml):
    outcome = kladml("version", "--json")
    found = json.loads(outcome.output)
    wanted = {"kladml-core", "kladml-cli", "kladml-backends-local", "kladml-backends-console"}
    assert wanted <= found["distributions"].keys()
    assert set(found["distributions"].values()) == {core.__version__}
    assert found["torch"]
    assert {"accelerate", "python", "platform"} <= found.keys()


def test_distribution_of_somebody_elses_plugin_is_listed(kladml, install):
    install("box-storage", {("storage", "box"): "box_storage"}, version="7.5")
    assert "box-storage              7.5" in kladml("version").output.splitlines()


def test_damaged_distribution_does_not_hide_the_others(kladml, install, tmp_path):
    install("damaged", {("storage", "box"): "box_storage"})
    (tmp_path / "site/damaged-1.0.dist-info/METADATA").unlink()
    outcome = kladml("version")
    assert outcome.status == 0
    assert "kladml-core" in outcome.output
