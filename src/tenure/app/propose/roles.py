"""Guesses what each column of a source is for, from its name and its content.

Enters: a `Profile`. Leaves: roles, each with a sentence of evidence. Invariant: a column has at most one role, and a
guess that cannot be made is an error that lists the columns and says which option names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from tenure.app.propose.profile import Column, Profile
from tenure.core.errors import InputError
from tenure.source.engine import quote_identifier

__all__ = ["CustomerRoles", "EventRoles", "TableRoles", "customer_roles", "event_roles", "event_types", "table_roles"]

_PEOPLE = r"customer|client|user|household|account|member|subscriber|person|patient|player|guest|donor|cust"
_CUSTOMER = re.compile(rf"^({_PEOPLE})s?[_ ]?(id|key|no|number|nr|code|uuid|hash)?$", re.IGNORECASE)
_CUSTOMER_LOOSE = re.compile(_PEOPLE, re.IGNORECASE)
_RECORDED = re.compile(r"record|load|ingest|receiv|insert|process|sync|arriv|deliver", re.IGNORECASE)
_SINCE = re.compile(r"since|join|sign_?up|start|creat|regist|first", re.IGNORECASE)
_KNOWN_AT = re.compile(r"known|updated|valid_from|as_of|effective|snapshot", re.IGNORECASE)
_TYPE = re.compile(r"^(event|action|activity)?[_ ]?(type|name|kind|action|event|activity)$", re.IGNORECASE)
_EVENT_ID = re.compile(
    r"^id$|uuid|guid|"
    r"(event|order|invoice|basket|transaction|trans|receipt|ticket|purchase|payment)[_ ]?(id|no|number|nr|key|uuid)$",
    re.IGNORECASE,
)
_CODE = re.compile(r"(^|[_ ])(id|key|code|no|nr|zip|postal|postcode|phone)$|ID$|Code$|No$", re.IGNORECASE)
_CALENDAR = re.compile(r"^(week|day|month|year|hour|quarter|weekday|week_no)$", re.IGNORECASE)
_LABEL = re.compile(
    r"^(is_?)?(churn|churned|attrition|attrited|exited|left|cancel+ed)(_?(label|flag|value|yn))?$", re.IGNORECASE
)
_POSITIVE = ("yes", "true", "1", "churned", "left", "y", "t", "attrited customer", "exited", "1.0")
MOST_TYPES = 50
MOST_CATEGORIES = 1_000


@dataclass(frozen=True)
class EventRoles:
    """Columns of an event source; `notes` says how each was recognised."""

    customer: str
    time: str
    recorded: str | None
    id: str | None
    lines: bool
    type: str | None
    values: tuple[str, ...]
    categories: tuple[str, ...]
    where: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CustomerRoles:
    """Columns of a customers table."""

    id: str
    since: str | None
    known_at: str | None
    attributes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TableRoles:
    """Columns of a plain table with a label."""

    id: str | None
    label: str
    positive: str
    ignore: tuple[str, ...]
    notes: tuple[str, ...]


def event_roles(engine: duckdb.DuckDBPyConnection, found: Profile) -> EventRoles:
    """Guess the roles of an event source's columns.

    Raises
    ------
    InputError
        No column can be the customer or the time.
    """
    columns = list(found.columns.values())
    customer = _customer(columns, found)
    timed = [column for column in columns if column.timed > 0.95 and column is not customer]
    recorded = next((column for column in timed if _RECORDED.search(column.name)), None)
    time = _time([column for column in timed if column is not recorded] or timed, found)
    recorded = None if recorded is time else recorded
    kind = next((c for c in columns if _TYPE.match(c.name) and 1 <= c.distinct <= MOST_TYPES and c.timed < 0.5), None)
    taken = {column.name for column in (customer, time, recorded, kind) if column}
    id_column = _event_id([c for c in columns if c.name not in taken and c not in timed], found)
    lines = id_column is not None and _has_lines(engine, found, id_column, customer)
    rest = [c for c in columns if c.name not in taken and c not in timed and c is not id_column]
    return EventRoles(
        customer=customer.name,
        time=time.name,
        recorded=recorded.name if recorded else None,
        id=id_column.name if id_column else None,
        lines=lines,
        type=kind.name if kind else None,
        values=_values(rest, found),
        categories=_categories(rest, found),
        where=_where(customer),
        notes=_event_notes(found, customer, time, id_column, lines=lines),
    )


def _missing(what: str, found: Profile, option: str) -> InputError:
    listed = ", ".join(f"{column.name} ({column.kind})" for column in found.columns.values())
    return InputError(
        f"No column of {found.origin} looks like {what}. Its columns: {listed}.",
        hint=f"Rename the column, or write {option} in tenure.toml by hand (see docs/configuration.md).",
        origin=found.origin,
    )


def _customer(columns: list[Column], found: Profile) -> Column:
    named = [column for column in columns if _CUSTOMER.match(column.name)]
    loose = [c for c in columns if _CUSTOMER_LOOSE.search(c.name) and _CODE.search(c.name)]
    codes = [c for c in columns if c.name.lower() == "id"]
    for candidates in (named, loose, codes):
        usable = [column for column in candidates if column.distinct >= 1 and column.timed < 0.5]
        if usable:
            return max(usable, key=lambda column: column.distinct)
    raise _missing("a customer's id", found, "customer")


def _time(timed: list[Column], found: Profile) -> Column:
    if not timed:
        raise _missing("the time of an event", found, "time")
    return max(timed, key=lambda column: (column.filled > 0.99, column.distinct))


def _event_id(columns: Iterable[Column], found: Profile) -> Column | None:
    named = [column for column in columns if _EVENT_ID.search(column.name) and column.filled > 0.99]
    usable = [column for column in named if column.distinct > found.looked_at / 500]
    return max(usable, key=lambda column: column.distinct, default=None)


def _has_lines(engine: duckdb.DuckDBPyConnection, found: Profile, id_column: Column, customer: Column) -> bool:
    """An id that stands in several rows of one customer names an event with lines."""
    if id_column.distinct > 0.95 * found.looked_at * id_column.filled:
        return False
    name, person = quote_identifier(id_column.name), quote_identifier(customer.name)
    row = engine.execute(
        f"""SELECT count(*) FILTER (WHERE people = 1 AND lines > 1), count(*) FILTER (WHERE lines > 1)
            FROM (SELECT count(DISTINCT {person}) AS people, count(*) AS lines
                  FROM {quote_identifier(found.table)} WHERE {person} IS NOT NULL GROUP BY {name})"""
    ).fetchone()
    alike, several = row or (0, 0)
    return bool(several and alike > 0.9 * several)


def _values(columns: Iterable[Column], found: Profile) -> tuple[str, ...]:
    return tuple(
        column.name
        for column in columns
        if column.numeric > 0.99
        and column.distinct > 1
        and not found.counts_rows(column)
        and not _CODE.search(column.name)
        and not _CALENDAR.match(column.name)
    )


def _categories(columns: Iterable[Column], found: Profile) -> tuple[str, ...]:
    most = min(MOST_CATEGORIES, found.looked_at / 20)
    return tuple(
        column.name
        for column in columns
        if 1 < column.distinct <= most
        and (column.numeric < 0.99 or _CODE.search(column.name))
        and not _CALENDAR.match(column.name)
    )


def _where(customer: Column) -> str | None:
    """Rows without a customer cannot be anybody's events; leaving them out is said, not done silently."""
    if customer.filled >= 0.99:
        return None
    name = quote_identifier(customer.name)
    return f"{name} IS NOT NULL AND {name} <> ''" if customer.kind == "text" else f"{name} IS NOT NULL"


def _event_notes(
    found: Profile, customer: Column, time: Column, id_column: Column | None, *, lines: bool
) -> tuple[str, ...]:
    notes = [f"{customer.name}: {customer.distinct:,} customers in {found.looked_at:,} rows looked at"]
    if customer.filled < 0.99:
        notes.append(f"{1 - customer.filled:.1%} of the rows have no {customer.name}; `where` leaves them out")
    notes.append(f"{time.name}: from {time.first:%Y-%m-%d} to {time.last:%Y-%m-%d}")
    if id_column is not None and lines:
        notes.append(f"{id_column.name}: stands in several rows of one customer, so its rows are lines of one event")
    elif id_column is not None:
        notes.append(f"{id_column.name}: identifies events; the same id twice is a duplicate")
    return tuple(notes)


def event_types(engine: duckdb.DuckDBPyConnection, found: Profile, column: str) -> dict[str, int]:
    """The types of a source that holds several, most frequent first, with their rows among those looked at.

    Parameters
    ----------
    engine : DuckDBPyConnection
        The connection that the profile was made with.
    found : Profile
        Of the source.
    column : str
        The column with the type.
    """
    name = quote_identifier(column)
    sql = f"SELECT CAST({name} AS VARCHAR) AS kind, count(*) AS n FROM {quote_identifier(found.table)} "
    rows = engine.execute(sql + f"WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    return {str(kind): int(count) for kind, count in rows if str(kind).strip()}


def customer_roles(found: Profile, customer: str | None) -> CustomerRoles:
    """Guess the roles of a customers table's columns.

    Parameters
    ----------
    found : Profile
        Of the table.
    customer : str or None
        What the events call the customer; a column of that name is taken.

    Raises
    ------
    InputError
        No column can be the customer.
    """
    columns = list(found.columns.values())
    id_column = next((c for c in columns if c.name == customer), None) or _customer(columns, found)
    timed = [c for c in columns if c.timed > 0.95 and c is not id_column]
    repeated = id_column.distinct < 0.99 * found.looked_at * id_column.filled
    known_at = next((c for c in timed if _KNOWN_AT.search(c.name) and repeated), None)
    since = next((c for c in timed if c is not known_at and _SINCE.search(c.name)), None)
    rest = [c for c in columns if c is not id_column and c not in timed and c.distinct > 1]
    told = [c for c in rest if not found.counts_rows(c)]
    attributes = tuple(c.name for c in told if c.numeric > 0.99 or c.distinct <= MOST_CATEGORIES)
    notes = [f"{id_column.name}: {id_column.distinct:,} customers"]
    left_out = [
        c.name
        for c in columns
        if c.name not in {*attributes, id_column.name, *(k.name for k in (known_at, since) if k)}
    ]
    if left_out:
        notes.append(
            f"left out (constant, a time, a running number, or too many different texts): {', '.join(left_out)}"
        )
    if known_at is None and attributes:
        notes.append("attributes have no known_at: they count as known at every cutoff, which the audit checks")
    return CustomerRoles(
        id_column.name, since.name if since else None, known_at.name if known_at else None, attributes, tuple(notes)
    )


def table_roles(engine: duckdb.DuckDBPyConnection, found: Profile) -> TableRoles:
    """Guess the roles of a plain table's columns.

    Raises
    ------
    InputError
        No column looks like a label, or its values do not say which one means churned.
    """
    columns = list(found.columns.values())
    label = next((column for column in columns if _LABEL.match(column.name)), None)
    if label is None:
        raise _missing("a churn label", found, "[table] label and positive")
    values = event_types(engine, found, label.name)
    positive = next((value for known in _POSITIVE for value in values if value.strip().lower() == known), None)
    if len(values) != 2 or positive is None:
        shown = ", ".join(repr(value) for value in list(values)[:6])
        raise InputError(
            f"The label {label.name!r} of {found.origin} has the values {shown}; it needs two, "
            "one of which means churned.",
            hint="Correct the label, or write [table] positive by hand.",
            label=label.name,
        )
    id_column, notes = _table_id([column for column in columns if column is not label], found)
    ignore = tuple(c.name for c in columns if c is not label and c is not id_column and _useless(c, found))
    share = values[positive] / sum(values.values())
    notes.append(f"{label.name}: {positive!r} in {share:.1%} of {found.looked_at:,} rows means churned")
    if ignore:
        why = "constant, a time, a running number, or a different text in nearly every row"
        notes.append(f"no features ({why}): {', '.join(ignore)}")
    return TableRoles(id_column.name if id_column else None, label.name, positive, ignore, tuple(notes))


def _table_id(columns: Sequence[Column], found: Profile) -> tuple[Column | None, list[str]]:
    """The column that names a row's customer: one that is called so, else a running number."""
    unique = [column for column in columns if column.distinct == found.looked_at]
    named = next((c for c in unique if _CUSTOMER.match(c.name) or c.name.lower() == "id"), None)
    if named is not None:
        return named, [f"{named.name}: another one in every row, so it is the customer's id"]
    running = next((column for column in unique if found.counts_rows(column)), None)
    if running is None:
        return None, ["no column is called a customer's id, so customers are called by the number of their row, from 1"]
    return running, [f"{running.name}: a running number, another one in every row, so it is the id and no feature"]


def _useless(column: Column, found: Profile) -> bool:
    is_name = column.numeric < 0.99 and column.distinct > max(MOST_CATEGORIES, 0.5 * found.looked_at)
    return column.distinct <= 1 or is_name or column.timed > 0.95 or found.counts_rows(column)
