"""The user's own condition on a source's rows, understood before it is run.

Enters: the text of a `where` and the columns of the source. Leaves: SQL over those columns and what it could not read.
Invariant: the condition can only look at the row it is asked about. It is parsed, every part of it must be on the list
below, and what runs is written anew from what was understood: no subquery, no second statement, no function that reads
files, the clock or settings.

Sources without types of their own (CSV, SQLite) hold every value as text, where `'10' > '9'` is false. So the condition
itself says how a text column is read: as a number where it is compared or computed with a number, as a date or time
where it is compared with one, as yes or no where it stands alone; otherwise as text. Two text columns cannot be put in
order without a CAST. A value that cannot be read so makes the row a reject rather than one of those that were not asked
for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tenure.core.errors import ConfigError, did_you_mean
from tenure.source.engine import quote_identifier
from tenure.source.reading import blank_sql, kind_of

__all__ = ["Condition", "compile_where", "where_columns"]

_ORDERINGS = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)
_COMPARISONS = (*_ORDERINGS, exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.In)
_ARITHMETIC = (
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.Div,
    exp.IntDiv,
    exp.Mod,
    exp.Neg,
    exp.Abs,
    exp.Round,
    exp.Floor,
    exp.Ceil,
)
_LOGIC = (exp.And, exp.Or, exp.Not)
_STRUCTURE = (
    exp.Paren,
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Boolean,
    exp.Null,
    exp.Is,
    exp.Case,
    exp.If,
    exp.Var,
)
_TEXT = (
    exp.Like, exp.ILike, exp.Escape, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.StartsWith, exp.EndsWith,
    exp.Contains, exp.RegexpLike, exp.RegexpFullMatch, exp.Substring, exp.Left, exp.Right, exp.Concat, exp.DPipe,
)  # fmt: skip
_TIME = (
    exp.Interval,
    exp.Extract,
    exp.Year,
    exp.Month,
    exp.Day,
    exp.DayOfWeek,
    exp.Hour,
    exp.TimestampTrunc,
    exp.DateTrunc,
)
_OTHER = (exp.Cast, exp.TryCast, exp.DataType, exp.Coalesce, exp.Nullif)
_ALLOWED = (*_COMPARISONS, *_ARITHMETIC, *_LOGIC, *_STRUCTURE, *_TEXT, *_TIME, *_OTHER)
# What reads a text operand as the type of the others.
_READS = (*_COMPARISONS, *_ARITHMETIC, *_LOGIC, exp.Cast, exp.Coalesce, exp.Nullif)
_NUMERIC_RESULT = (*_ARITHMETIC, exp.Length, exp.Extract, exp.Year, exp.Month, exp.Day, exp.DayOfWeek, exp.Hour)


@dataclass(frozen=True)
class Unreadable:
    """A text column that the condition reads as something else, and where that fails."""

    column: str
    read_as: str
    fails_sql: str


@dataclass(frozen=True)
class Condition:
    """A condition in SQL, the columns it looks at, and the values that it needs but may be unable to read."""

    sql: str
    columns: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]


def where_columns(text: str, *, section: str) -> tuple[str, ...]:
    """Names of the columns that a condition mentions, as it spells them.

    Raises
    ------
    ConfigError
        The text is no condition, or does more than look at one row.

    Examples
    --------
    >>> where_columns('quantity > 0 AND "Customer ID" IS NOT NULL', section="events.purchase")
    ('quantity', 'Customer ID')
    """
    return tuple(dict.fromkeys(column.name for column in _parse(text, section).find_all(exp.Column, bfs=False)))


def compile_where(text: str, columns: Mapping[str, str], *, section: str) -> Condition:
    """Check a condition against a source's columns and write it as SQL.

    Parameters
    ----------
    text : str
        What the user wrote, in DuckDB's SQL.
    columns : mapping of str to str
        DuckDB's type of each column of the source.
    section : str
        The section of the settings, for messages.

    Raises
    ------
    ConfigError
        The text is no condition, does more than look at one row, or names a column that does not exist.

    Examples
    --------
    >>> compile_where("Quantity > 0", {"quantity": "BIGINT"}, section="events.purchase").sql
    '"quantity" > 0'
    >>> compile_where("quantity > 0", {"quantity": "VARCHAR"}, section="events.purchase").sql
    'TRY_CAST("quantity" AS DOUBLE) > 0'
    """
    tree = _parse(text, section)
    named = []
    for column in tree.find_all(exp.Column):
        name = _resolve(column, columns, section)
        column.set("this", exp.to_identifier(name, quoted=True))
        named.append(name)
    texts = {name for name in named if kind_of(columns[name]) == "text"}
    readings: dict[tuple[str, str], None] = {}
    for column, target in list(_readings(tree, texts, section)):
        readings[column.name, target] = None
        cast = exp.TryCast(this=column.copy(), to=exp.DataType.build(target, dialect="duckdb"))
        if column is tree:
            tree = cast
        else:
            column.replace(cast)
    tree = tree.transform(_tolerant)
    unreadable = tuple(Unreadable(name, target, _fails_sql(name, target)) for name, target in readings)
    return Condition(tree.sql("duckdb", comments=False), tuple(dict.fromkeys(named)), unreadable)


def _parse(text: str, section: str) -> exp.Expr:
    try:
        statements = [statement for statement in sqlglot.parse(text, read="duckdb") if statement is not None]
    except SqlglotError:
        raise _refused(section, text, "is not SQL") from None
    if len(statements) != 1:
        raise _refused(section, text, f"holds {len(statements)} statements instead of one condition")
    tree = statements[0]
    for node in tree.walk():
        if not isinstance(node, _ALLOWED) or isinstance(node, exp.Star):
            raise _refused(section, text, f"uses {node.sql('duckdb')!r}, which a condition on one row may not")
        if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
            raise _refused(section, text, "uses a subquery, which a condition on one row may not")
    return tree


def _refused(section: str, text: str, problem: str) -> ConfigError:
    return ConfigError(
        f"{section}.where = {text!r} {problem}.",
        hint="Write one SQL condition on the source's own columns: comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, "
        "IS NULL, arithmetic, text and date functions; a name that SQL uses itself goes in double quotes.",
        section=section,
        where=text,
    )


def _resolve(column: exp.Column, columns: Mapping[str, str], section: str) -> str:
    """The source's own spelling of a name; SQL does not tell upper from lower case."""
    name = column.name
    same = [known for known in columns if known.casefold() == name.casefold()]
    if column.table or not same:
        shown = column.sql("duckdb")
        raise ConfigError(
            f"{section}.where names {shown!r}, which is no column of the source. {did_you_mean(name, columns)}",
            hint="Name one of its columns, in double quotes if the name has spaces.",
            section=section,
            column=shown,
        )
    return name if name in same else same[0]


def _readings(tree: exp.Expr, texts: set[str], section: str) -> Iterator[tuple[exp.Column, str]]:
    """Text columns that have to be read as something else, with what that is."""

    def is_text(node: object) -> bool:
        return isinstance(node, exp.Column) and node.name in texts

    for node in list(tree.walk()):
        operands = _operands(node)
        columns = [operand for operand in operands if isinstance(operand, exp.Column) and is_text(operand)]
        target = _target(node, operands)
        if target:
            yield from ((column, target) for column in columns)
        elif isinstance(node, _ORDERINGS) and len(columns) > 1:
            raise ConfigError(
                f"{section}.where puts two text columns in order: {node.sql('duckdb')}.",
                hint="Say how to read them, for example CAST(a AS DOUBLE) < CAST(b AS DOUBLE).",
                section=section,
            )
    if isinstance(tree, exp.Column) and is_text(tree):
        yield tree, "BOOLEAN"


def _tolerant(node: exp.Expr) -> exp.Expr:
    """A cast that fails makes the condition unknown for its row; it must not stop the run."""
    return exp.TryCast(**node.args) if type(node) is exp.Cast else node


def _operands(node: exp.Expr) -> list[exp.Expr]:
    """What a comparison compares, an operation computes with, a cast casts; parentheses do not count."""
    if isinstance(node, exp.TryCast) or not isinstance(node, _READS):
        return []
    return [child.unnest() for child in node.iter_expressions() if not isinstance(child, exp.DataType)]


def _target(node: exp.Expr, operands: list[exp.Expr]) -> str:
    """The type that text columns among the operands are to be read as; empty: they stay text."""
    if isinstance(node, _LOGIC):
        return "BOOLEAN"
    if isinstance(node, exp.Cast):
        return "" if node.is_type(*exp.DataType.TEXT_TYPES) else str(node.to.sql("duckdb"))
    times = [_time_type(operand) for operand in operands]
    if any(times):
        return next(filter(None, times))
    if isinstance(node, _ARITHMETIC):
        return "DOUBLE"
    if any(isinstance(operand, exp.Boolean) for operand in operands):
        return "BOOLEAN"
    ordered = isinstance(node, _ORDERINGS)
    return "DOUBLE" if any(_is_number(operand, ordered=ordered) for operand in operands) else ""


def _time_type(node: exp.Expr) -> str:
    if isinstance(node, exp.Interval):
        return "TIMESTAMP"
    if isinstance(node, exp.Cast) and node.is_type(*exp.DataType.TEMPORAL_TYPES):
        return str(node.to.sql("duckdb"))
    return ""


def _is_number(node: exp.Expr, *, ordered: bool) -> bool:
    if isinstance(node, exp.Literal):
        # "quantity > '5'" can only mean the number; "code = '5'" means the text.
        return not node.is_string or (ordered and node.name.replace(".", "", 1).lstrip("-").isdecimal())
    if isinstance(node, exp.Cast):
        return bool(node.is_type(*exp.DataType.NUMERIC_TYPES))
    return isinstance(node, _NUMERIC_RESULT)


def _fails_sql(name: str, target: str) -> str:
    column_sql = quote_identifier(name)
    target_sql = exp.DataType.build(target, dialect="duckdb").sql("duckdb")
    return (
        f"({column_sql} IS NOT NULL AND NOT {blank_sql(column_sql)} AND TRY_CAST({column_sql} AS {target_sql}) IS NULL)"
    )
