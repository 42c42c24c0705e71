"""Turn a ``--where`` expression into a Chroma metadata filter."""

import math
import operator
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl
from lark import Lark, Token, UnexpectedInput
from lark.exceptions import UnexpectedToken, VisitError
from lark.visitors import Transformer_NonRecursive
from numpy.typing import NDArray
from rapidfuzz import process

from retrieval.data.catalog import Catalog, Scalar
from retrieval.errors import FilterError

LENGTH_LIMIT = 2_000
DEPTH_LIMIT = 40  # Chroma reads 127 levels, of which a group takes two
VALUES_LIMIT = 30_000  # SQLite takes 32,766 in one statement
_GRAMMAR = Lark((files("retrieval.text") / "where.lark").read_text(encoding="utf-8"), parser="lalr")
_NUMERIC = {"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_TEXT_FITS: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "~": operator.contains,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FITS: dict[str, tuple[Callable[[pl.Expr, Any], pl.Expr], bool]] = {  # and whether an item without the field fits
    "$eq": (operator.eq, False),
    "$ne": (operator.ne, True),
    "$lt": (operator.lt, False),
    "$lte": (operator.le, False),
    "$gt": (operator.gt, False),
    "$gte": (operator.ge, False),
    "$in": (lambda column, values: column.is_in(values), False),
    "$nin": (lambda column, values: ~column.is_in(values), True),
    "$contains": (lambda column, value: column.list.contains(value), False),
    "$not_contains": (lambda column, value: ~column.list.contains(value), True),
}
_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "~": "!~", "!~": "~"}

Where = dict[str, Any]


def compile_where(expression: str, catalog: Catalog) -> Where:
    """Compile an expression such as ``year >= 1990 and genres ~ Comedy``.

    Operators: ``= != < <= > >=``, ``~`` (a list has it, a text contains it) and ``!~``, ``in (a, b)``, ``not in``,
    joined by ``and``, ``or``, ``not``, parentheses. Text is compared without regard to case; values with blanks stand
    in quotes. An item without the field fits ``!=``, ``!~`` and ``not in`` and nothing else.

    Raises:
        FilterError: it does not parse, asks for more than can be looked up, or names a field or value that the
            catalog does not have.
    """
    if len(expression) > LENGTH_LIMIT:
        raise FilterError(f"--where has {len(expression):,} characters; at most {LENGTH_LIMIT:,} are read")
    try:
        tree = _GRAMMAR.parse(expression)
    except UnexpectedInput as error:
        ends = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        place = "at its end" if ends else f"at character {(error.pos_in_stream or 0) + 1}"
        shown = expression if len(expression) <= LENGTH_LIMIT // 20 else expression[: LENGTH_LIMIT // 20] + "…"
        raise FilterError(
            f"--where {shown!r} cannot be understood {place}; write for instance: year >= 1990 and genres ~ Comedy"
        ) from error
    try:
        condition: _Condition = _Conditions(catalog).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, FilterError):
            raise error.orig_exc from None
        raise
    where = condition.compiled(negated=False)
    if (values := _count(where)) > VALUES_LIMIT:
        raise FilterError(f"--where stands for {values:,} values; at most {VALUES_LIMIT:,} can be looked up, narrow it")
    return where


class _Condition:
    """A node that can give the filter for itself or for its opposite."""

    depth = 0  # groups within groups

    def compiled(self, *, negated: bool) -> Where:
        raise NotImplementedError


class _Group(_Condition):
    def __init__(self, joint: str, parts: list[_Condition]):
        self.joint, self.parts = joint, parts
        self.depth = 1 + max(part.depth for part in parts)
        if self.depth > DEPTH_LIMIT:
            raise FilterError(f"--where has groups within groups; at most {DEPTH_LIMIT} levels are read")

    def compiled(self, *, negated: bool) -> Where:
        joint = {"$and": "$or", "$or": "$and"}[self.joint] if negated else self.joint
        return {joint: [part.compiled(negated=negated) for part in self.parts]}


class _Negation(_Condition):
    def __init__(self, inner: _Condition):
        self.inner, self.depth = inner, inner.depth

    def compiled(self, *, negated: bool) -> Where:
        return self.inner.compiled(negated=not negated)


class _Comparison(_Condition):
    def __init__(self, catalog: Catalog, field: str, sign: str, value: str):
        self.field, self.sign, self.value = field, "=" if sign == "==" else sign, value
        if field not in catalog.frame.columns:
            raise FilterError(f"no field {field!r} to filter by; there are {', '.join(catalog.frame.columns)}")
        self.column = catalog.frame[field]

    def compiled(self, *, negated: bool) -> Where:
        sign = _OPPOSITE[self.sign] if negated else self.sign
        kind = self.column.dtype
        if isinstance(kind, pl.List):
            return self._list(sign, kind.inner)
        if kind == pl.String:
            return self._text(sign)
        if sign not in _NUMERIC:
            raise FilterError(f"{sign} does not work on {self.field}, which holds {_called(kind)}; use = or <")
        if kind == pl.Boolean and sign not in ("=", "!="):
            raise FilterError(f"{sign} does not work on {self.field}, which holds true or false; use =")
        return {self.field: {_NUMERIC[sign]: self._parsed(kind)}}

    def _list(self, sign: str, inner: Any) -> Where:
        if sign not in ("=", "!=", "~", "!~"):
            raise FilterError(f"{sign} does not work on {self.field}, which holds lists; use ~ or !~")
        contains = "$contains" if sign in ("=", "~") else "$not_contains"
        if inner != pl.String:
            return {self.field: {contains: self._parsed(inner)}}
        known = self.column.explode().drop_nulls().unique().sort().to_list()
        same = [entry for entry in known if entry.casefold() == self.value.casefold()]
        if not same:
            raise FilterError(_no_such_value(self.field, self.value, known))
        parts: list[Where] = [{self.field: {contains: entry}} for entry in same]
        return parts[0] if len(parts) == 1 else {"$or" if contains == "$contains" else "$and": parts}

    def _text(self, sign: str) -> Where:
        known = self.column.drop_nulls().unique().sort().to_list()
        wanted = self.value.casefold()
        positive = {"!=": "=", "!~": "~"}.get(sign, sign)
        values = [entry for entry in known if _TEXT_FITS[positive](entry.casefold(), wanted)]
        if not values and positive in ("=", "~"):
            raise FilterError(_no_such_value(self.field, self.value, known))
        if not values:
            return {"item_id": {"$eq": ""}}  # no item has an empty id: nothing fits
        return {self.field: {"$in" if positive == sign else "$nin": values}}

    def _parsed(self, kind: Any) -> Scalar:
        if kind == pl.Boolean:
            if self.value.lower() not in ("true", "false"):
                raise FilterError(f"{self.field} is true or false, not {self.value!r}")
            return self.value.lower() == "true"
        try:
            number = int(self.value) if kind == pl.Int64 else float(self.value)
        except ValueError:
            number = math.nan
        if not (-(2**63) <= number < 2**63 if kind == pl.Int64 else math.isfinite(number)):
            raise FilterError(f"{self.field} holds {_called(kind)}, which {self.value!r} is not")
        return number


class _Conditions(Transformer_NonRecursive[Token, _Condition]):
    def __init__(self, catalog: Catalog):
        super().__init__()
        self._catalog = catalog

    def field(self, words: list[Token]) -> str:
        return _unquoted(words[0])

    value = field

    def any(self, parts: list[_Condition]) -> _Condition:
        return _Group("$or", parts)

    def all(self, parts: list[_Condition]) -> _Condition:
        return _Group("$and", parts)

    def negation(self, parts: list[_Condition]) -> _Condition:
        return parts[0].inner if isinstance(parts[0], _Negation) else _Negation(parts[0])

    def comparison(self, parts: list[str]) -> _Condition:
        return _Comparison(self._catalog, parts[0], parts[1], parts[2])

    def membership(self, parts: list[str]) -> _Condition:
        field, *values = parts
        each: list[_Condition] = [_Comparison(self._catalog, field, "=", value) for value in values]
        return each[0] if len(each) == 1 else _Group("$or", each)

    def exclusion(self, parts: list[str]) -> _Condition:
        return _Negation(self.membership(parts))


def fitting(catalog: Catalog, where: Where) -> NDArray[np.bool_]:
    """(m,) which items a compiled filter keeps, in the order of the catalog, as Chroma would."""
    return catalog.frame.select(_expression(catalog, where).alias("fits"))["fits"].to_numpy()


def _expression(catalog: Catalog, where: Where) -> pl.Expr:
    ((name, inner),) = where.items()
    if name in ("$and", "$or"):
        parts = [_expression(catalog, part) for part in inner]
        return pl.all_horizontal(parts) if name == "$and" else pl.any_horizontal(parts)
    ((sign, value),) = inner.items()
    fits, where_missing = _FITS[sign]
    return fits(pl.col(name), value).fill_null(where_missing)


def _count(where: Any) -> int:
    """The number of values that a filter compares with."""
    if isinstance(where, dict):
        where = list(where.values())
    return sum(map(_count, where)) if isinstance(where, list) else 1


def _unquoted(word: Token) -> str:
    return str(word)[1:-1] if word.type == "QUOTED" else str(word)


def _called(kind: Any) -> str:
    return {pl.Int64: "whole numbers", pl.Float64: "numbers", pl.Boolean: "true or false"}.get(kind, "text")


def _no_such_value(field: str, value: str, known: list[str]) -> str:
    close = [
        entry[:60] for entry, _, _ in process.extract(value, known, processor=str.casefold, limit=5, score_cutoff=50)
    ]
    hint = f"close to it: {', '.join(close)}" if close else f"there are, for instance, {', '.join(known[:5])}"
    return f"no item has {value!r} in {field}; {hint}"
