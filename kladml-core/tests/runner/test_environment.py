"""What a run found on its machine."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

from kladml.config import TrainingConfig
from kladml.runner.environment import distributions, environment


def test_environment_is_plain_data():
    found = environment(TrainingConfig(device="cpu"), uses_torch=True)
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["device"] == "cpu"
    assert found["threads"] >= 1
    assert found["distributions"]["numpy"] == version("numpy")


def test_distributions_are_told_by_the_names_of_folders(tmp_path):
    for name in ("Acme_Tools-1.0.dist-info", "acme_tools-0.9.dist-info", "old-2.0-py3.11.egg-info", "x.py", "y-1.dist"):
        (tmp_path / name).mkdir()
    later = tmp_path / "later"
    (later / "acme_tools-3.0.dist-info").mkdir(parents=True)
    found = distributions([str(later), str(tmp_path), str(tmp_path / "absent")])
    assert found == {"acme-tools": "3.0", "old": "2.0"}
