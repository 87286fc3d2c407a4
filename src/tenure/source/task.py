"""What the source stage has to do for a project: one task per section that names rows.

Enters: the settings. Leaves: `Task`s, each with its columns, with the functions that read its rows and describe the
result, and with the folder that the result is kept in. Invariant: tasks that read the same source stand together, so
that it is opened and read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from tenure.core.config import Settings
from tenure.core.settings import CustomersSettings, EventSettings, ExpirySettings, SourceSettings, TableSettings
from tenure.source.customers import build_customers, customer_columns, describe_customers
from tenure.source.engine import quote_identifier, quote_literal
from tenure.source.events import build_events, describe_events, event_columns
from tenure.source.periods import build_periods, describe_periods, period_columns
from tenure.source.plain import build_plain, describe_plain, plain_columns
from tenure.source.reading import text_sql
from tenure.source.section import Built, Section

__all__ = ["Task", "history_tasks", "table_task"]


@dataclass(frozen=True)
class Task:
    """One section on its way to a canonical table.

    Parameters
    ----------
    name : str
        The section, for example `events.purchase`.
    settings : SourceSettings
        What the section says.
    folder : Path
        Where its canonical table is kept.
    columns : tuple of (str, str)
        Keys of the section with the source columns that they name.
    build : callable
        Reads and judges the rows: `build(engine, section) -> Built`.
    describe : callable
        Describes the finished table: `describe(engine, section, paths)`.
    type_column, type_is : str or None
        Which rows of a shared source are meant: those with this content in this column.
    reads_all : bool
        Whether the columns that the section does not name are read too.
    """

    name: str
    settings: SourceSettings
    folder: Path
    columns: tuple[tuple[str, str], ...]
    build: Callable[[duckdb.DuckDBPyConnection, Section], Built]
    describe: Callable[[duckdb.DuckDBPyConnection, Section, tuple[Path, ...]], Any]
    type_column: str | None = None
    type_is: str | None = None
    reads_all: bool = False

    @property
    def place(self) -> tuple[str, str | None]:
        """What tasks that read the same source have in common."""
        return self.settings.path, self.settings.table

    def belongs_sql(self, column_type: str) -> str:
        """Which rows of the source are this task's, given the type of the type column."""
        if self.type_column is None or self.type_is is None:
            return "true"
        return f"{text_sql(quote_identifier(self.type_column), column_type)} = {quote_literal(self.type_is)}"


def history_tasks(settings: Settings, workspace: Path) -> tuple[tuple[Task, ...], ...]:
    """The tasks of a project with events, those of one source together.

    Examples
    --------
    >>> from tenure.core.config import settings_from
    >>> log = {"path": "log.csv", "type": "kind"}
    >>> churn = {"inactivity": ["login"], "horizon": "28d"}
    >>> settings = settings_from({"events": {"login": log, "order": log}, "churn": churn})
    >>> [[task.name for task in group] for group in history_tasks(settings, Path(".tenure"))]
    [['events.login', 'events.order']]
    """
    groups: dict[tuple[str, str | None], list[Task]] = {}
    for task in _tasks(settings, workspace):
        groups.setdefault(task.place, []).append(task)
    return tuple(tuple(group) for group in groups.values())


def _tasks(settings: Settings, workspace: Path) -> Iterator[Task]:
    for name, events in settings.events.items():
        yield _event_task(name, events, workspace)
    if settings.customers is not None:
        yield _customers_task(settings.customers, workspace)
    if settings.churn is not None and settings.churn.expiry is not None:
        yield _periods_task(settings.churn.expiry, workspace)


def _event_task(name: str, settings: EventSettings, workspace: Path) -> Task:
    return Task(
        f"events.{name}",
        settings,
        workspace / "events" / name,
        tuple(event_columns(settings)),
        partial(build_events, settings=settings),
        lambda engine, _, paths: describe_events(engine, name, settings, paths),
        type_column=settings.type,
        type_is=(settings.type_is or name) if settings.type is not None else None,
    )


def _customers_task(settings: CustomersSettings, workspace: Path) -> Task:
    return Task(
        "customers",
        settings,
        workspace / "customers",
        tuple(customer_columns(settings)),
        partial(build_customers, settings=settings),
        lambda engine, _, paths: describe_customers(engine, settings, paths),
    )


def _periods_task(settings: ExpirySettings, workspace: Path) -> Task:
    return Task(
        "churn.expiry",
        settings,
        workspace / "periods",
        tuple(period_columns(settings)),
        partial(build_periods, settings=settings),
        lambda engine, section, paths: describe_periods(engine, paths, section.latest),
    )


def table_task(settings: TableSettings, workspace: Path, *, labelled: bool = True) -> Task:
    """The task of a project with a plain table; one that is only scored needs no labels.

    Examples
    --------
    >>> table_task(TableSettings(path="t.csv", label="Churn", positive="Yes"), Path(".tenure")).columns
    (('label', 'Churn'),)
    """
    return Task(
        "table",
        settings,
        workspace / "table",
        tuple(plain_columns(settings, labelled=labelled)),
        partial(build_plain, settings=settings, labelled=labelled),
        lambda engine, _, paths: describe_plain(engine, settings, paths, ""),
        reads_all=True,
    )
