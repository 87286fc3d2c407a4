"""The columns of a canonical table: from which source column each comes, how it is read, and what makes its row bad.

Enters: a column of a source and the part it plays (id, time, number, text). Leaves: a `Field`.
Invariant: every way in which a value can be wrong is one `Check` with its own reason, in the order in which they apply,
so that a bad row is counted once and under the first thing that is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from tenure.core.errors import ConfigError
from tenure.source.engine import quote_identifier, quote_literal
from tenure.source.reading import blank_sql, inexact_sql, instant_sql, kind_of, number_sql, text_sql, time_form_sql

__all__ = [
    "EARLIEST",
    "TOLERANCE",
    "Check",
    "Field",
    "TimeRule",
    "id_field",
    "number_field",
    "text_field",
    "time_field",
]

EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
# How far clocks of different machines may lie apart before an event counts as from the future.
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Check:
    """A reason to reject a row, the source column that is to blame, the SQL that finds it, and the value to show."""

    reason: str
    column: str
    fails_sql: str
    value_sql: str


@dataclass(frozen=True)
class Field:
    """One column of a canonical table.

    `raw`, `form` and `alias` name the value as it came, the way a time is written, and the value as it was read, in the
    layers of the query that checks the rows; they are numbered, so that no name of a source can meet them.
    """

    name: str
    column: str
    column_type: str
    number: int
    value_sql: str
    form_sql: str
    checks: tuple[Check, ...]

    @property
    def raw_sql(self) -> str:
        """The value as it came."""
        return f"r{self.number:d}"

    @property
    def alias_sql(self) -> str:
        """The value as it was read."""
        return f"v{self.number:d}"

    @property
    def form_alias_sql(self) -> str:
        """The way in which a time is written, where the source holds text."""
        return f"f{self.number:d}"

    @property
    def name_sql(self) -> str:
        """The canonical name."""
        return quote_identifier(self.name)


@dataclass(frozen=True)
class TimeRule:
    """What is asked of a time: its zone where it has no offset, whether it must be there, and when it is too late."""

    zone: tzinfo
    required: bool
    latest: datetime | None


def id_field(number: int, name: str, column: str, column_type: str, *, role: str) -> Field:
    """An id that must be there: the exact text, never blank, never a float too large to be exact.

    Examples
    --------
    >>> [check.reason for check in id_field(0, "customer_id", "cid", "DOUBLE", role="customer").checks]
    ['missing customer', 'inexact customer']
    """
    _refuse(column, column_type, {"other"}, f"an id ({role})")
    raw_sql, alias_sql = f"r{number:d}", f"v{number:d}"
    missing_sql = f"{alias_sql} IS NULL OR {blank_sql(alias_sql)}"
    checks = [Check(f"missing {role}", column, missing_sql, raw_sql)]
    if kind_of(column_type) == "float":
        checks.append(Check(f"inexact {role}", column, inexact_sql(raw_sql, column_type), raw_sql))
    return Field(name, column, column_type, number, text_sql(raw_sql, column_type), "", tuple(checks))


def number_field(number: int, name: str, column: str, column_type: str) -> Field:
    """A number that may be absent, but if it is there must be one, and finite.

    Examples
    --------
    >>> [check.reason for check in number_field(0, "amount", "amount", "VARCHAR").checks]
    ['amount is not a number', 'amount is not finite']
    """
    kind = kind_of(column_type)
    _refuse(column, column_type, {"date", "local", "instant", "other"}, "a number")
    raw_sql, alias_sql = f"r{number:d}", f"v{number:d}"
    checks = []
    if kind == "text":
        unreadable_sql = f"{alias_sql} IS NULL AND {raw_sql} IS NOT NULL AND NOT {blank_sql(raw_sql)}"
        checks.append(Check(f"{column} is not a number", column, unreadable_sql, raw_sql))
    if kind in {"text", "float"}:
        checks.append(Check(f"{column} is not finite", column, f"NOT isfinite({alias_sql})", raw_sql))
    return Field(name, column, column_type, number, number_sql(raw_sql, column_type), "", tuple(checks))


def text_field(number: int, name: str, column: str, column_type: str) -> Field:
    """A text that may be absent and cannot be wrong.

    Examples
    --------
    >>> text_field(0, "store", "store", "BIGINT").value_sql
    'CAST(r0 AS VARCHAR)'
    """
    _refuse(column, column_type, {"other"}, "text")
    return Field(name, column, column_type, number, text_sql(f"r{number:d}", column_type), "", ())


def time_field(number: int, name: str, column: str, column_type: str, *, role: str, rule: TimeRule) -> Field:
    """An instant between 1971 and the moment of reading.

    Examples
    --------
    >>> rule = TimeRule(UTC, required=True, latest=datetime(2026, 1, 1, tzinfo=UTC))
    >>> [check.reason for check in time_field(1, "time", "at", "DATE", role="time", rule=rule).checks]
    ['missing time', 'time out of range', 'time in the future']
    """
    _refuse(column, column_type, {"boolean", "other"}, "a time")
    raw_sql, alias_sql, form_sql = f"r{number:d}", f"v{number:d}", f"f{number:d}"
    is_text = kind_of(column_type) == "text"
    absent_sql = f"({raw_sql} IS NULL OR {blank_sql(raw_sql)})" if is_text else f"{raw_sql} IS NULL"
    checks = [Check(f"missing {role}", column, absent_sql, raw_sql)] if rule.required else []
    if kind_of(column_type) in {"text", "integer", "float", "decimal"}:
        checks.append(Check(f"unreadable {role}", column, f"{alias_sql} IS NULL AND NOT {absent_sql}", raw_sql))
    checks.append(Check(f"{role} out of range", column, f"{alias_sql} < {timestamp_sql(EARLIEST)}", raw_sql))
    if rule.latest is not None:
        checks.append(Check(f"{role} in the future", column, f"{alias_sql} > {timestamp_sql(rule.latest)}", raw_sql))
    value_sql = instant_sql(raw_sql, column_type, rule.zone, form_sql)
    return Field(name, column, column_type, number, value_sql, time_form_sql(raw_sql) if is_text else "", tuple(checks))


def timestamp_sql(instant: datetime) -> str:
    """A UTC instant as a timestamp without an offset.

    Examples
    --------
    >>> timestamp_sql(EARLIEST)
    "TIMESTAMP '1971-01-01 00:00:00'"
    """
    return f"TIMESTAMP {quote_literal(str(instant.astimezone(UTC).replace(tzinfo=None)))}"


def _refuse(column: str, column_type: str, kinds: set[str], wanted: str) -> None:
    if kind_of(column_type) in kinds:
        raise ConfigError(
            f"The column {column!r} holds {column_type}, which cannot be read as {wanted}.",
            hint="Name another column, or change the source so that this one holds text or numbers.",
            column=column,
            type=column_type,
        )
