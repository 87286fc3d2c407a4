"""What the source stage hands to every later one: where the canonical tables lie, and what their rows had to pass.

Enters: nothing; these are plain records that `ingest` fills. Leaves: `History` (or `PlainTable`) and `ContractReport`.
Invariant: every path in a record is a finished Parquet file in canonical form. Ids and categories are text, values and
numeric attributes are finite doubles, every time is UTC in microseconds, stored without an offset, and no event lies
after the moment of ingestion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

__all__ = [
    "AttributeKind",
    "ContractReport",
    "CustomerTable",
    "EventTable",
    "History",
    "PeriodTable",
    "PlainTable",
    "SourceReport",
]

AttributeKind = Literal["number", "text"]


@dataclass(frozen=True)
class EventTable:
    """All accepted events of one type.

    The files hold, ordered by time: `customer_id VARCHAR`, `time TIMESTAMP` (UTC), `recorded TIMESTAMP` where
    `has_recorded`, `id VARCHAR` where `has_id`, each of `values` as `DOUBLE` and each of `categories` as `VARCHAR`.
    `first` and `last` are the smallest and the largest time, None without events.
    """

    name: str
    paths: tuple[Path, ...]
    rows: int
    customers: int
    first: datetime | None
    last: datetime | None
    values: tuple[str, ...]
    categories: tuple[str, ...]
    has_recorded: bool
    has_id: bool


@dataclass(frozen=True)
class CustomerTable:
    """Attributes of customers: one row each, or one row per customer and `known_at` where `has_known_at`.

    The files hold `customer_id VARCHAR`, `since TIMESTAMP` where `has_since`, `known_at TIMESTAMP` where
    `has_known_at`, and each attribute under its configured name, `DOUBLE` for a number and `VARCHAR` for text.
    """

    paths: tuple[Path, ...]
    rows: int
    attributes: tuple[tuple[str, AttributeKind], ...]
    has_since: bool
    has_known_at: bool


@dataclass(frozen=True)
class PeriodTable:
    """Subscription periods: `customer_id VARCHAR`, `start TIMESTAMP`, `"end" TIMESTAMP`, ordered by start.

    An open period ends at 9999-12-31. `last_start` is the latest start that is not in the future: a renewal that is
    booked ahead says nothing about how far the log reaches.
    """

    paths: tuple[Path, ...]
    rows: int
    first_start: datetime | None
    last_start: datetime | None


@dataclass(frozen=True)
class History:
    """Everything known about the customers of a project.

    `fingerprint` changes when any source, or a setting that shapes what is read from it, changes.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 31, tzinfo=UTC)
    >>> login = EventTable("login", (), 1, 1, day, day, (), (), has_recorded=False, has_id=False)
    >>> History({"login": login}, None, None, "0f").watermark == day
    True
    """

    events: Mapping[str, EventTable]
    customers: CustomerTable | None
    periods: PeriodTable | None
    fingerprint: str

    @property
    def first(self) -> datetime | None:
        """The earliest event or period start; None in an empty history."""
        starts = [self.periods.first_start] if self.periods else []
        return min(_known([table.first for table in self.events.values()] + starts), default=None)

    @property
    def watermark(self) -> datetime | None:
        """The latest event or period start, which is how far the log reaches; None in an empty history."""
        starts = [self.periods.last_start] if self.periods else []
        return max(_known([table.last for table in self.events.values()] + starts), default=None)


def _known(instants: Iterable[datetime | None]) -> list[datetime]:
    return [instant for instant in instants if instant is not None]


@dataclass(frozen=True)
class PlainTable:
    """A customer table with a label, in place of events.

    The files hold, in the order of the source: `customer_id VARCHAR`, `time TIMESTAMP` where `has_time`, `label
    BOOLEAN` (true: churned; missing: not known), and each attribute, `DOUBLE` for a number and `VARCHAR` for text.
    Without an id column the customer's id is the row's number in the source, from 1.
    """

    paths: tuple[Path, ...]
    rows: int
    labelled: int
    positives: int
    attributes: tuple[tuple[str, AttributeKind], ...]
    has_time: bool
    first: datetime | None
    last: datetime | None
    fingerprint: str


@dataclass(frozen=True)
class SourceReport:
    """What became of every row of one source: `rows == filtered + accepted + rejected_rows`.

    Parameters
    ----------
    source : str
        The section that names it, for example `events.purchase`.
    origin : str
        The file, glob, database table or Python table that was read, without any password.
    rows : int
        Rows of the source, those of other event types left out.
    filtered : int
        Rows that `where` leaves out.
    accepted : int
        Rows that passed every check.
    rejected : mapping of str to int
        Rows that did not, by the first reason that applies, most frequent first.
    examples : mapping of str to str
        For each of these reasons that concerns a value, one of the offending ones.
    blamed : mapping of str to str
        For each of these reasons that concerns a column, the source's column.
    tolerated : int
        Rejected rows that are no sign of wrong data (the same row delivered again) and do not count towards
        `contract.max_rejects`.
    results : int
        Rows of the canonical table; fewer than `accepted` where lines become events.
    repeated_lines : int
        With `lines = true`: accepted lines that equal another line of their event in every column read. They are kept.
    rejects : str or None
        The CSV file with every rejected row, its reason and the offending value; None where there are none.
    warnings : tuple of str
        What is odd enough to be said, but no reason to reject a row.

    Examples
    --------
    >>> SourceReport("customers", "c.csv", rows=200, accepted=199, rejected={"missing customer": 1}).reject_share
    0.005
    """

    source: str
    origin: str
    rows: int
    filtered: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    blamed: Mapping[str, str] = field(default_factory=dict)
    tolerated: int = 0
    results: int = 0
    repeated_lines: int = 0
    rejects: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rejected_rows(self) -> int:
        """Rows that failed a check."""
        return sum(self.rejected.values())

    @property
    def reject_share(self) -> float:
        """Share of the checked rows that count as bad; 0 where no row was checked."""
        checked = self.rows - self.filtered
        return (self.rejected_rows - self.tolerated) / checked if checked else 0.0


@dataclass(frozen=True)
class ContractReport:
    """What became of every row of every source; `dataclasses.asdict` of it is JSON.

    `other_types` counts, for each source that several event types share, the rows whose type no section names.

    Examples
    --------
    >>> ContractReport((SourceReport("events.login", "l.csv", rows=3, accepted=3),), {}).rows
    3
    """

    sources: tuple[SourceReport, ...]
    other_types: Mapping[str, Mapping[str, int]]

    @property
    def rows(self) -> int:
        """Rows read from all sources, those of other types included."""
        others = sum(sum(types.values()) for types in self.other_types.values())
        return sum(report.rows for report in self.sources) + others

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every warning, with the section that it concerns."""
        return tuple(f"{report.source}: {text}" for report in self.sources for text in report.warnings)
