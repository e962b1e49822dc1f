"""Conditions on runs, such as `metrics.val_acc > 0.9 and params.lr < 0.01`, as SQL on MLflow's tables."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml_backends_local.settings import OWNER
from kladml_backends_local.stored_numbers import stored_number

if TYPE_CHECKING:
    import sqlite3

NUMBER_FUNCTION = "kladml_number"

_LONGEST = 10_000
_SHOWN = 200
_TOO_DEEP = "it is nested too deeply"
_DEEPEST = 100  # SQLite takes a thousand levels, Python's own stack about as many
_ALLOWED = (
    "compare metrics.NAME, params.NAME, tags.NAME (params['any name'] for odd ones), status, run_id, run_name, user, "
    "experiment, start_time or end_time with a number or a quoted text by == != < <= > >=, "
    "and join comparisons with and, or, not and parentheses"
)

# What can be known of a run `r` of an experiment `e`.
_TEXTS = {
    "run_id": "r.run_uuid",
    "run_name": "r.name",
    "status": "r.status",
    "user": "r.user_id",
    "experiment": "e.name",
}
_TIMES = {"start_time": "r.start_time", "end_time": "r.end_time"}
_TABLES = {
    "metrics": (
        "(SELECT CASE WHEN m.is_nan THEN NULL ELSE m.value END "
        "FROM latest_metrics AS m WHERE m.run_uuid = r.run_uuid AND m.key = ?)"
    ),
    "params": "(SELECT p.value FROM params AS p WHERE p.run_uuid = r.run_uuid AND p.key = ?)",
    "tags": "(SELECT t.value FROM tags AS t WHERE t.run_uuid = r.run_uuid AND t.key = ?)",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "=",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL with its values.

    Attributes:
        text: The SQL, in which `r` is the run and `e` its experiment.
        values: What its question marks stand for.
    """

    text: str
    values: tuple[str | float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Operand:
    """One side of a comparison.

    Attributes:
        sql: Its value.
        number: Whether that is a number rather than a text.
        constant: Whether it is the same for every run.
    """

    sql: Sql
    number: bool
    constant: bool = False


def register_number(connection: sqlite3.Connection) -> None:
    """Give a connection the function by which texts compare as numbers."""
    connection.create_function(NUMBER_FUNCTION, 1, _as_number, deterministic=True)


def condition(expression: str) -> Sql:
    """Return the condition that an expression says, for `WHERE`.

    Parameters and tags compare as numbers with a number, and as texts with a text. A comparison with what a run does
    not have, or with NaN, is false; so is one of a text that is no number with a number.

    Raises:
        TrackerError: It is no such expression.
    """
    return _Translation(expression).condition()


def sort_keys(expression: str) -> list[Sql]:
    """Return what to sort by, one after the other, for one quantity such as `metrics.val_acc` or `start_time`.

    The texts among parameters and tags come after the numbers.

    Raises:
        TrackerError: It is no quantity of a run.
    """
    return _Translation(expression).sort_keys()


class _Translation:
    def __init__(self, expression: str) -> None:
        self._expression = expression

    def condition(self) -> Sql:
        try:
            return self._boolean(self._parsed(), 0)
        except RecursionError as error:
            raise self._refused(_TOO_DEEP) from error

    def sort_keys(self) -> list[Sql]:
        operand = self._operand(self._parsed())
        if operand.constant:
            why = "it is the same for every run"
            raise self._refused(why)
        if operand.number:
            return [operand.sql]
        return [Sql(f"{NUMBER_FUNCTION}({operand.sql.text})", operand.sql.values), operand.sql]

    def _parsed(self) -> ast.expr:
        if len(self._expression) > _LONGEST:
            why = f"it has more than {_LONGEST} characters"
            raise self._refused(why)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's own syntax, which is no business of the user's
                return ast.parse(self._expression.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refused(str(getattr(error, "msg", error))) from error

    def _boolean(self, node: ast.expr, depth: int) -> Sql:
        if depth > _DEEPEST:
            raise self._refused(_TOO_DEEP)
        if isinstance(node, ast.BoolOp):
            parts = [self._boolean(value, depth + 1) for value in node.values]
            return _joined("AND" if isinstance(node.op, ast.And) else "OR", parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self._boolean(node.operand, depth + 1)
            return Sql(f"(NOT {part.text})", part.values)
        if isinstance(node, ast.Compare):
            sides = [self._operand(side) for side in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides, sides[1:], strict=False)
            return _joined("AND", [self._comparison(*pair) for pair in pairs])
        why = f"{_source(node)} is no comparison"
        raise self._refused(why)

    def _comparison(self, op: ast.cmpop, left: _Operand, right: _Operand) -> Sql:
        sign = _COMPARISONS.get(type(op))
        if sign is None:
            why = "it compares in another way"
            raise self._refused(why)
        if left.constant and right.constant:
            why = "it compares two constants"
            raise self._refused(why)
        texts = [left.sql.text, right.sql.text]
        if left.number or right.number:
            for index, side in enumerate((left, right)):
                if side.constant and not side.number:
                    why = f"it compares a number with the text {side.sql.values[0]!r}"
                    raise self._refused(why)
                if not side.number:
                    texts[index] = f"{NUMBER_FUNCTION}({side.sql.text})"
        return Sql(f"COALESCE({texts[0]} {sign} {texts[1]}, 0)", left.sql.values + right.sql.values)

    def _operand(self, node: ast.expr) -> _Operand:
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            number = self._constant(node.operand.value)
            if number.number:
                return _Operand(Sql("?", (-float(number.sql.values[0]),)), number=True, constant=True)
        if isinstance(node, ast.Name):
            if node.id in _TEXTS:
                return _Operand(Sql(_TEXTS[node.id]), number=False)
            if node.id in _TIMES:
                return _Operand(Sql(_TIMES[node.id]), number=True)
        if isinstance(node, ast.Attribute | ast.Subscript):
            table, key = self._name(node)
            return _Operand(Sql(_TABLES[table], (key,)), number=table == "metrics")
        why = f"{_source(node)} is no quantity of a run"
        raise self._refused(why)

    def _name(self, node: ast.Attribute | ast.Subscript) -> tuple[str, str]:
        inner: ast.expr
        if isinstance(node, ast.Subscript):
            inner, key = node.value, getattr(node.slice, "value", None)
            if isinstance(inner, ast.Name) and inner.id in _TABLES and isinstance(key, str):
                return inner.id, self._text(key)
        else:
            names = [node.attr]
            inner = node.value
            while isinstance(inner, ast.Attribute):  # the dots of params.training.lr are the name's own
                names.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in _TABLES:
                return inner.id, ".".join(reversed(names))
        why = f"{_source(node)} is no quantity of a run"
        raise self._refused(why)

    def _constant(self, value: object) -> _Operand:
        if isinstance(value, bool | str):  # a parameter that is True was recorded as text
            return _Operand(Sql("?", (self._text(str(value)),)), number=False, constant=True)
        if isinstance(value, int | float):
            return _Operand(Sql("?", (self._number(value),)), number=True, constant=True)
        why = f"{value!r} is neither a number nor a text"
        raise self._refused(why)

    def _number(self, value: float) -> float:
        try:
            return stored_number(float(value))[0]
        except OverflowError as error:
            why = "it has a number that is too large"
            raise self._refused(why) from error

    def _text(self, value: str) -> str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            why = "it has half of a character"
            raise self._refused(why) from error
        return value

    def _refused(self, why: str) -> TrackerError:
        problem = f"runs cannot be searched by {_shortened(self._expression)!r}: {why}"
        return TrackerError(problem, owner=OWNER, next_step=_ALLOWED)


def _joined(word: str, parts: list[Sql]) -> Sql:
    values = tuple(value for part in parts for value in part.values)
    return Sql(f"({f' {word} '.join(part.text for part in parts)})", values)


def _source(node: ast.expr) -> str:
    return _shortened(ast.unparse(node))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _as_number(text: object) -> float | None:
    try:
        number = float(str(text))
    except ValueError:
        return None
    return None if text is None else number
