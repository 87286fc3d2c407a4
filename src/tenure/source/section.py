"""One section of the settings on its way through the source stage.

Enters: the settings' names for a source's columns. Leaves: `Section`, which says how its rows are to be read, and
`Built`, which says what became of them. Invariant: a name that is not a column is an error that lists the columns
there are, before any row is read; and no two columns of a canonical table share a name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

import duckdb

from tenure.core.errors import ConfigError, InputError, NotFoundError, nearest
from tenure.source.contract import Checked
from tenure.source.fields import Field
from tenure.source.protocol import Relation, Source
from tenure.source.reading import FORMS
from tenure.source.where import Condition

__all__ = ["Built", "Section", "as_utc", "form_warnings", "refuse_clashes", "require_columns", "validity"]


@dataclass(frozen=True)
class Section:
    """How the rows of one section are to be read.

    `latest` is the instant after which a time lies in the future. `belongs_sql` picks the section's rows among those of
    a source that it shares with others.
    """

    name: str
    origin: str
    relation: Relation
    zone: tzinfo
    latest: datetime
    condition: Condition | None = None
    belongs_sql: str = "true"

    def type_of(self, column: str) -> str:
        """DuckDB's type of a column of the source."""
        return self.relation.columns[column]


@dataclass(frozen=True)
class Built:
    """What became of a section's rows: the judged rows, and the query that gives the canonical table in its order.

    `results` counts the rows of that table where they are fewer than the accepted ones.
    The result holds for any moment from `valid_from` until before `valid_until`: then a row that lies in the future now
    will have happened.
    """

    checked: Checked
    query_sql: str
    results: int | None = None
    repeated_lines: int = 0
    warnings: tuple[str, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def require_columns(section: str, source: Source, wanted: Iterable[tuple[str, str]]) -> None:
    """Check that the columns a section names exist.

    Parameters
    ----------
    section : str
        Name of the section, for messages.
    source : Source
        The opened source.
    wanted : iterable of (str, str)
        Keys of the settings with the column that each names.

    Raises
    ------
    NotFoundError
        A column does not exist.
    InputError
        A column exists in some files of a glob and not in others.
    """
    for key, column in wanted:
        if column in source.lacking:
            raise InputError(
                f"{section}.{key} = {column!r}: the file {source.lacking[column]} has no such column, others of "
                f"{source.origin!r} have.",
                hint="Add the column to that file, or leave the file out of the glob.",
                column=column,
                path=source.lacking[column],
            )
        if column not in source.columns:
            near = nearest(column, source.columns)
            raise NotFoundError(
                f"{section}.{key} = {column!r}, but {source.origin} has no such column."
                + (f" Did you mean {near!r}?" if near else ""),
                hint=f"Its columns are: {_listed(source.columns)}.",
                column=column,
                available=list(source.columns),
            )


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:40]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def refuse_clashes(section: str, reserved: Collection[str], names: Iterable[str]) -> None:
    """Stop at a value, category or attribute whose name the canonical table needs for something else.

    Raises
    ------
    ConfigError
        Two columns would have the same name; upper and lower case do not count.

    Examples
    --------
    >>> refuse_clashes("events.login", ["customer_id", "time"], ["minutes"])
    """
    taken = {name.casefold() for name in reserved}
    for name in names:
        if name.casefold() in taken:
            raise ConfigError(
                f"{section} uses the name {name!r} twice, or for something that tenure calls so itself "
                f"({', '.join(reserved)}).",
                hint="Name the column once, or rename it in the source, for example in a database view.",
                column=name,
            )
        taken.add(name.casefold())


def form_warnings(engine: duckdb.DuckDBPyConnection, checked: Checked, zone: tzinfo) -> tuple[str, ...]:
    """Say where the times of one text column are written in several ways, for then one of them may be a mistake."""
    warnings = []
    for field in checked.fields:
        if not field.form_sql:
            continue
        found = engine.execute(
            f"SELECT {field.form_alias_sql}, count(*) FROM {checked.table_sql} "
            f"WHERE fault = 0 AND {field.form_alias_sql} > 0 GROUP BY 1 ORDER BY 2 DESC"
        ).fetchall()
        if len(found) > 1:
            parts = " and ".join(f"{count:,} {FORMS[form]}" for form, count in found)
            read = f"; those without an offset were read in {zone}" if any(form == 1 for form, _ in found) else ""
            warnings.append(f"column {field.column!r} holds times of several kinds: {parts}{read}")
    return tuple(warnings)


def validity(
    engine: duckdb.DuckDBPyConnection, checked: Checked, fields: Iterable[Field]
) -> tuple[datetime | None, datetime | None]:
    """The latest accepted time and the earliest that was rejected because it lies in the future."""
    accepted, rejected = [], []
    for field in fields:
        faults = [
            number
            for number, (reason, column) in enumerate(zip(checked.reasons, checked.columns, strict=True), start=1)
            if reason.endswith("in the future") and column == field.column
        ]
        numbers_sql = ", ".join(f"{number:d}" for number in faults) or "-1"
        last, future = engine.execute(
            f"SELECT max({field.alias_sql}) FILTER (fault = 0), "
            f"min({field.alias_sql}) FILTER (fault IN ({numbers_sql}) AND isfinite({field.alias_sql})) "
            f"FROM {checked.table_sql}"
        ).fetchone() or (None, None)
        accepted += [last] if last else []
        rejected += [future] if future else []
    return as_utc(max(accepted, default=None)), as_utc(min(rejected, default=None))


def as_utc(instant: datetime | None) -> datetime | None:
    """A UTC timestamp as DuckDB gives it, without an offset, as an instant.

    Examples
    --------
    >>> as_utc(datetime(2026, 1, 31)).isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    return instant.replace(tzinfo=UTC) if instant is not None else None
