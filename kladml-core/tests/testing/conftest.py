"""Running a contract on a backend that breaks it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def failing_cases(pytester: pytest.Pytester) -> Callable[[str], set[str]]:
    """Run the tests in a piece of source and return the names of the cases that fail, without parameters."""

    def run(source: str) -> set[str]:
        pytester.makepyfile(test_contract=textwrap.dedent(source))
        record = pytester.inline_run("-q", "-Werror", "-p", "no:cacheprovider")
        passed, _, failed = record.listoutcomes()
        assert passed, "the contract was not run at all"
        assert [report for report in failed if report.when != "call"] == []
        return {report.nodeid.rpartition("::")[2].partition("[")[0] for report in failed}

    return run
