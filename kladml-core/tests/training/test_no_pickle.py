"""No pickle anywhere in the core: what is read can never run code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kladml

SOURCES = sorted(Path(kladml.__file__).parent.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle", "eval", "exec"}
PICKLING_METHODS = {"broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list"}
NUMPY_READERS = {"np.load", "numpy.load"}


def complaints(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] in FORBIDDEN_MODULES:
                found.append(node.module)
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += sorted(names & (FORBIDDEN_CALLS | NUMPY_READERS))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            safe = any(word.arg == "allow_pickle" and ast.unparse(word.value) == "False" for word in node.keywords)
            if name.rpartition(".")[2] in PICKLING_METHODS:
                found.append(name)
            if name in FORBIDDEN_CALLS or (name in NUMPY_READERS and not safe):
                found.append(name)
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(SOURCES[0].parent).as_posix())
def test_a_module_of_the_core_reads_and_writes_no_pickle(source):
    assert complaints(source.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "import torch\ntorch.load('x', weights_only=True)",
        "from torch import save",
        "import torch.distributed as dist\ndist.broadcast_object_list([1])",
        "from torch.distributed import all_gather_object\nall_gather_object([], 1)",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert complaints(source)


def test_the_search_lets_safe_reading_pass():
    assert complaints("import numpy as np\nnp.load('x', allow_pickle=False)") == []
