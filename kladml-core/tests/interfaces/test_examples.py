"""The example in each interface's docstring is installed as a distribution of its own, selected and tested."""

import inspect
import re
import textwrap

import pytest

from kladml.plugins import BACKEND_KINDS, PluginRegistry

KIND_NAMES = [kind.name for kind in BACKEND_KINDS]
# What an example needs besides the core; it is skipped where that is not installed.
NEEDS = {"storage": "boto3"}


def example_of(kind):
    """The class and the hook that the docstring shows."""
    doc = inspect.cleandoc(next(each for each in BACKEND_KINDS if each.name == kind).interface.__doc__)
    implementation, hook = re.findall(r"^```python\n(.*?)^```$", doc, flags=re.MULTILINE | re.DOTALL)
    return implementation, hook


def install_example(site, kind):
    """Install the two blocks under the names that the hook imports."""
    implementation, hook = example_of(kind)
    module = re.search(r"from (\S+) import", hook.partition("def ")[2]).group(1)
    package = module.partition(".")[0]
    site.install(
        package.replace("_", "-"),
        entry_points={f"kladml.{kind}": {"example": f"{package}.plugin"}},
        modules={module: implementation, f"{package}.plugin": hook},
    )


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_docstring_opens_with_a_class_and_its_hook(kind):
    implementation, hook = example_of(kind)
    for block in (implementation, hook):
        compile(block, f"<example of {kind}>", "exec")
    assert f"({kind.capitalize()}Interface):" in implementation
    assert f"def kladml_register_{kind}():" in hook


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_example_is_selected_by_name(site, kind):
    if needed := NEEDS.get(kind):
        pytest.importorskip(needed)
    install_example(site, kind)
    example = PluginRegistry().load(kind, "example")
    abstract = next(each for each in BACKEND_KINDS if each.name == kind).interface.__abstractmethods__
    assert abstract == {name for name in vars(example) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [kind for kind in KIND_NAMES if kind not in NEEDS])
def test_example_passes_the_contract_of_its_kind(site, pytester, kind):
    install_example(site, kind)
    contract = f"{kind.capitalize()}Contract"
    pytester.makepyfile(
        textwrap.dedent(
            f"""
            import pytest
            from kladml.plugins import PluginRegistry
            from kladml.testing import {contract}

            class TestExample({contract}):
                @pytest.fixture
                def {kind}(self):
                    return PluginRegistry().load("{kind}", "example")()
            """
        )
    )
    result = pytester.runpytest("-q", "-Werror", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] > 10
    assert outcomes.keys() <= {"passed", "skipped"}
