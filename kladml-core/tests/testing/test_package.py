import subprocess
import sys

import pytest

import kladml.testing


def python(source):
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)


def test_every_contract_is_found_by_name():
    for name in kladml.testing.__all__:
        assert getattr(kladml.testing, name).__name__ == name
    assert set(kladml.testing.__all__) <= set(dir(kladml.testing))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'StorageContrakt'"):
        _ = kladml.testing.StorageContrakt


def test_fakes_faults_and_messages_do_without_pytest():
    done = python(
        "import sys; sys.modules['pytest'] = None\n"
        "import kladml.testing.fakes, kladml.testing.faults, kladml.testing.messages\n"
        "print(kladml.testing.fakes.MemoryStorage().list_files('bucket'))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_contract_without_pytest_says_what_to_install():
    done = python("import sys; sys.modules['pytest'] = None\nfrom kladml.testing import StorageContract")
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: kladml.testing.StorageContract needs pytest; pip install 'kladml-core[testing]'"
    )


@pytest.mark.parametrize("kind", ["storage", "config", "tracker", "publisher", "catalog"])
def test_contract_without_its_fixture_says_which_one_is_missing(pytester, kind):
    contract = f"{kind.capitalize()}Contract"
    pytester.makepyfile(f"from kladml.testing import {contract}\nclass TestMine({contract}):\n    pass\n")
    result = pytester.runpytest("-q", "-p", "no:cacheprovider")
    assert result.parseoutcomes().keys() == {"errors"}
    result.stdout.fnmatch_lines([f"*TestMine must define the fixture '{kind}', which returns the {kind} under test"])


def test_failing_case_shows_its_rule_and_the_values(pytester):
    pytester.makepyfile(
        """
        import pytest
        from kladml.testing import StorageContract
        from kladml.testing.fakes import MemoryStorage

        class Unsorted(MemoryStorage):
            def list_files(self, bucket, prefix=""):
                return super().list_files(bucket, prefix)[::-1]

        class TestMine(StorageContract):
            @pytest.fixture
            def storage(self):
                return Unsorted()
        """
    )
    # A new process, where nothing has imported the contract before pytest could rewrite its asserts.
    result = pytester.runpytest_subprocess("-q", "-Werror", "-k", "test_listing_is_sorted_by_key")
    result.stdout.fnmatch_lines(["*Keys come in ascending order of their characters*"])
    result.stdout.fnmatch_lines(["E*At index 0 diff: *"])
    assert result.parseoutcomes()["failed"] == 1
