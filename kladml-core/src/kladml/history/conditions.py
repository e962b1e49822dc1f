"""Conditions on runs, such as `val_acc > 0.9 and params.lr < 0.01`, and what to sort runs by."""

from __future__ import annotations

import ast
import operator
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kladml.errors import QueryError
from kladml.history.facts import FIELDS, SECTIONS, Facts, Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.interfaces import CatalogRun

_LONGEST = 10_000
_DEEPEST = 100
_SHOWN = 200
_ALLOWED = (
    "compare a metric, params.NAME, tags.NAME (params['any name'] for odd ones), data, status, number, experiment, "
    "family, project, seconds, started_at or ended_at with a number or a quoted text by == != < <= > >=, and join "
    "comparisons with and, or, not and parentheses"
)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_TIMES = ("started_at", "ended_at")
_SHORT = {"data": Quantity("tags", "kladml.data")}
"""Names for what has a longer one."""


class Condition:
    """A condition on runs.

    A comparison with what a run does not have, or with NaN, is false. Parameters and tags compare as numbers with a
    number, and as texts with a text; so a text that is no number is neither less nor more than one.

    Args:
        expression: The condition.

    Attributes:
        quantities: What it asks for.

    Raises:
        QueryError: It is no condition.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self.quantities: list[Quantity] = []
        self._without_texts: list[Callable[[Facts], bool]] = []
        try:
            root = _parsed(expression)
            parts = root.values if isinstance(root, ast.BoolOp) and isinstance(root.op, ast.And) else [root]
            self._parts = [self._part(node) for node in parts]
        except RecursionError as error:
            raise _refused(expression, "it is nested too deeply") from error

    @property
    def metrics(self) -> set[str]:
        """Names of the metrics that it asks for."""
        return self._names("metrics")

    @property
    def params(self) -> set[str]:
        """Names of the parameters."""
        return self._names("params")

    @property
    def tags(self) -> set[str]:
        """Names of the tags."""
        return self._names("tags")

    def holds(self, facts: Facts) -> bool:
        """Tell whether the condition is true of a run."""
        return all(part(facts) for part in self._parts)

    def may_hold(self, run: CatalogRun) -> bool:
        """Tell whether the condition can be true of a run, whatever its parameters and tags are."""
        facts = Facts(run)
        return all(part(facts) for part in self._without_texts)

    def _part(self, node: ast.expr) -> Callable[[Facts], bool]:
        before = len(self.quantities)
        part = self._boolean(node, 0)
        if all(one.section in ("", "metrics") for one in self.quantities[before:]):
            self._without_texts.append(part)
        return part

    def _names(self, section: str) -> set[str]:
        return {one.name for one in self.quantities if one.section == section}

    def _boolean(self, node: ast.expr, depth: int) -> Callable[[Facts], bool]:
        if depth > _DEEPEST:
            raise _refused(self._expression, "it is nested too deeply")
        if isinstance(node, ast.BoolOp):
            parts = [self._boolean(value, depth + 1) for value in node.values]
            if isinstance(node.op, ast.And):
                return lambda facts: all(part(facts) for part in parts)
            return lambda facts: any(part(facts) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._boolean(node.operand, depth + 1)
            return lambda facts: not inner(facts)
        if isinstance(node, ast.Compare):
            sides = [self._operand(side) for side in (node.left, *node.comparators)]
            pairs = [
                self._comparison(op, left, right) for op, left, right in zip(node.ops, sides, sides[1:], strict=False)
            ]
            return pairs[0] if len(pairs) == 1 else lambda facts: all(pair(facts) for pair in pairs)
        raise _refused(self._expression, f"{_source(node)} is no comparison")

    def _comparison(self, op: ast.cmpop, left: Any, right: Any) -> Callable[[Facts], bool]:
        compare = _COMPARISONS.get(type(op))
        if compare is None:
            raise _refused(self._expression, "it compares in another way")
        quantities = [side for side in (left, right) if isinstance(side, Quantity)]
        if not quantities:
            raise _refused(self._expression, "it compares two constants")
        left, right = (
            self._fitting(side, other) if not isinstance(side, Quantity) else side
            for side, other in ((left, right), (right, left))
        )
        as_number = any(isinstance(side, int | float) for side in (left, right)) or any(
            quantity.section == "metrics" for quantity in quantities
        )

        left_of, right_of = (_value_of(side, as_number=as_number) for side in (left, right))

        def holds(facts: Facts) -> bool:
            one, other = left_of(facts), right_of(facts)
            if one is None or other is None or one != one or other != other:  # noqa: PLR0124 - NaN
                return False
            try:
                return compare(one, other)
            except TypeError:  # such as a text and a moment
                return False

        return holds

    def _fitting(self, constant: Any, other: Quantity) -> Any:
        """Return a constant as what it is compared with.

        Raises:
            QueryError: It cannot be compared with that.
        """
        if other.name in _TIMES and not other.section:
            return self._moment(constant)
        is_number = other.section == "metrics" or (not other.section and other.name in ("number", "seconds"))
        if is_number and isinstance(constant, str):
            raise _refused(self._expression, f"it compares a number with the text {constant!r}")
        if not other.section and not is_number and not isinstance(constant, str):
            raise _refused(self._expression, f"it compares {other.name}, a text, with a number")
        return constant

    def _moment(self, text: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise _refused(self._expression, f"{text!r} is no time such as '2026-11-23 14:00'") from None
        return moment if moment.tzinfo is not None else moment.astimezone()

    def _operand(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            value = node.operand.value
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool):
                return str(node.value)  # a parameter that is True was recorded as text
            if isinstance(node.value, int | float | str):
                return node.value
            raise _refused(self._expression, f"{node.value!r} is neither a number nor a text")
        quantity = _quantity(node, self._expression)
        self.quantities.append(quantity)
        return quantity


def quantity(expression: str) -> Quantity:
    """Return what an expression such as `val_acc`, `params.lr` or `started_at` stands for.

    Raises:
        QueryError: It is no quantity of a run.
    """
    return _quantity(_parsed(expression), expression)


def sort_key(value: Any) -> tuple[int, Any]:
    """Return what values of one quantity sort by: numbers before moments before texts."""
    number = _number(value)
    if number is not None:
        return 0, number
    return (1, value) if isinstance(value, datetime) else (2, str(value))


def _quantity(node: ast.expr, expression: str) -> Quantity:
    if isinstance(node, ast.Name) and node.id in _SHORT:
        return _SHORT[node.id]
    if isinstance(node, ast.Name):
        return Quantity("", node.id) if node.id in FIELDS else Quantity("metrics", node.id)
    if isinstance(node, ast.Subscript):
        inner, key = node.value, getattr(node.slice, "value", None)
        if isinstance(inner, ast.Name) and inner.id in SECTIONS and isinstance(key, str):
            return Quantity(inner.id, key)
    if isinstance(node, ast.Attribute):
        names = [node.attr]
        base = node.value
        while isinstance(base, ast.Attribute):  # the dots of params.training.lr are the name's own
            names.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name) and base.id in SECTIONS:
            return Quantity(base.id, ".".join(reversed(names)))
    raise _refused(expression, f"{_source(node)} is no quantity of a run")


def _parsed(expression: str) -> ast.expr:
    if len(expression) > _LONGEST:
        raise _refused(expression, f"it has more than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's own syntax, which is no business of the user's
            return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(expression, str(getattr(error, "msg", error))) from error


def _value_of(side: Any, *, as_number: bool) -> Callable[[Facts], Any]:
    """Return what gives one side of a comparison for a run, or None where the run has none."""
    if not isinstance(side, Quantity):
        constant = _number(side) if as_number else side
        return lambda _: constant
    return (lambda facts: _number(side.of(facts))) if as_number else side.of


def _number(value: Any) -> float | None:
    if isinstance(value, datetime):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _source(node: ast.expr) -> str:
    return _shortened(ast.unparse(node))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _refused(expression: str, why: str) -> QueryError:
    problem = f"runs cannot be chosen by {_shortened(expression)!r}: {why}"
    return QueryError(problem, next_step=_ALLOWED)
