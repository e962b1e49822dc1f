"""What the pages say about keys, settings, options, statuses and hooks is what the code says."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import kladml.testing
from kladml import errors
from kladml.config import RunConfig, environment, schema_keys
from kladml.plugins import KINDS, spec

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate():
    loader = importlib.util.spec_from_file_location("kladml_docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return module


def test_generated_parts_are_up_to_date(page, generate):
    text = page.read_text(encoding="utf-8")
    assert generate.regenerated(text) == text, "run python docs/generate.py"


def test_every_generated_part_is_on_a_page(generate):
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert [name for name in generate.PARTS if f"<!-- generated: {name} -->" not in text] == []


def test_every_key_is_documented():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| .* \| (.+) \|$", text, flags=re.MULTILINE))
    keys = schema_keys(RunConfig)
    assert rows.keys() >= keys.keys()
    assert [key for key in keys if not keys[key].doc or keys[key].doc not in rows[key]] == []


def test_every_variable_with_a_meaning_of_its_own_is_documented():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert sorted(name for name in environment.RESERVED if f"| `{name}` |" not in text) == []


def test_every_error_and_its_status_is_documented():
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `\w+` \| `(\d+)` \|", text, flags=re.MULTILINE))
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert rows == {error.__name__: str(error.exit_code) for error in classes if issubclass(error, errors.KladMLError)}


def test_every_exit_status_is_documented():
    from kladml_cli.exits import EXIT_STATUSES

    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    statuses = re.findall(r"^\| `(\d+)` \| .+ \|$", text, flags=re.MULTILINE)
    assert [int(status) for status in statuses] == sorted(EXIT_STATUSES)


def hooks():
    return {name: value for name, value in vars(spec).items() if name.startswith("kladml_")}


def test_every_hook_has_a_heading_and_its_exact_signature():
    text = (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n\n```python\n(.*?)```$", text, flags=re.MULTILINE | re.DOTALL))
    assert sections.keys() == hooks().keys()
    for name, hook in hooks().items():
        written = re.sub(r"\s+", " ", sections[name]).replace("( ", "(").replace(", )", ")").strip()
        assert written == f"def {name}{inspect.signature(hook)}: ...".replace("'", "")


def test_every_argument_of_a_hook_is_explained():
    text = (DOCS / "reference" / "hooks.md").read_text(encoding="utf-8")
    for name, hook in hooks().items():
        section = text.partition(f"### `{name}`")[2].partition("\n### ")[0]
        assert [arg for arg in inspect.signature(hook).parameters if f"| `{arg}` |" not in section] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_point_group_is_in_the_guide(kind):
    text = (DOCS / "writing-a-backend.md").read_text(encoding="utf-8")
    assert f"`{KINDS[kind].group}`" in text


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.interface_path], ids=lambda kind: kind.name)
def test_every_abstract_method_is_in_the_guide(kind):
    text = (DOCS / "writing-a-backend.md").read_text(encoding="utf-8")
    missing = [name for name in kind.interface.__abstractmethods__ if f"`{name}(" not in text]
    assert missing == []


CONTRACTS = [getattr(kladml.testing, name) for name in kladml.testing.__all__ if name != "BackendContract"]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_capability_is_in_the_guide_with_its_methods(contract):
    text = (DOCS / "writing-a-backend.md").read_text(encoding="utf-8")
    for capability, methods in contract.optional.items():
        row = f"| {contract.kind} | `{capability}` | {', '.join(f'`{method}`' for method in methods)} |"
        assert row in text


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_fixtures_of_the_guide_are_those_of_the_contract_kit(contract):
    text = (DOCS / "writing-a-backend.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{contract.__name__}` \|(.*)\|$", text, flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", row))
    assert contract.kind in named
    assert [name for name in named if type(getattr(contract, name, None)).__name__ != "FixtureFunctionDefinition"] == []
