"""Fixtures of the tests that interrupt trainings in processes of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def harness():
    """The module beside this file, which no import finds."""
    spec = importlib.util.spec_from_file_location("resume_harness", Path(__file__).with_name("harness.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lab(harness, rank_server, tmp_path_factory):
    """Where trainings are run and interrupted."""
    return harness.Lab(tmp_path_factory.mktemp("trainings"), rank_server)
