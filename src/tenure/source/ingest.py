"""The source stage as a whole: settings in, canonical tables and the report about their rows out.

Enters: settings, the folder that their paths start from, the workspace and a clock. Leaves: a `History` (or a
`PlainTable`) and a `ContractReport`. Invariant: the tables are whole and their rows passed the contract, or there is an
error; each row of each source is in the report exactly once.

All sections are judged before the run stops, so that one run shows everything there is to correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb

from tenure.core.config import Settings
from tenure.core.errors import ConfigError, StateError
from tenure.core.progress import Progress, silent
from tenure.core.time import Clock, parse_timezone
from tenure.source.contract import judge
from tenure.source.engine import open_engine, read_parquet_sql
from tenure.source.fields import TOLERANCE
from tenure.source.group import Outcome, Work, run_group
from tenure.source.history import ContractReport, CustomerTable, EventTable, History, PeriodTable, PlainTable
from tenure.source.keep import fingerprint_of, table_from
from tenure.source.sources import refuse_unused_tables
from tenure.source.task import history_tasks, table_task

__all__ = ["Ingested", "IngestedTable", "ingest", "ingest_table"]

# How many customers of a table are looked for in the events to see whether the two speak of the same people.
SAMPLE = 1_000

Table = TypeVar("Table")


@dataclass(frozen=True)
class Ingested:
    """The history and what became of every row on the way to it."""

    history: History
    report: ContractReport


@dataclass(frozen=True)
class IngestedTable:
    """The plain table and what became of every row on the way to it."""

    table: PlainTable
    report: ContractReport


def ingest(
    settings: Settings,
    root: Path,
    workspace: Path,
    clock: Clock,
    tables: Mapping[str, object] | None = None,
    progress: Progress = silent,
) -> Ingested:
    """Read, check and keep the events, customers and periods of a project.

    Parameters
    ----------
    settings : Settings
        The project, with `[events.…]`.
    root : Path
        Folder that relative paths start from: that of `tenure.toml`.
    workspace : Path
        Folder for canonical tables, rejects and what does not fit into memory: `.tenure`.
    clock : Clock
        Tells the present moment; a time more than five minutes after it lies in the future.
    tables : mapping of str to table, optional
        Arrow tables, pandas or polars data frames, each in place of the `path` that it is named after.
    progress : Progress
        Told about each source.

    Raises
    ------
    ContractError
        More than `contract.max_rejects` of a source's rows are bad.
    InputError
        A source cannot be read, or a name in the settings does not fit it.
    ConfigError
        The project has a `[table]`: use `ingest_table`.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.core.config import settings_from
    >>> from tenure.core.time import fixed_clock
    >>> import pyarrow as pa
    >>> log = pa.table({"customer_id": ["ana", "bo"], "time": ["2026-01-05", "2026-01-31T12:00:00Z"]})
    >>> settings = settings_from(
    ...     {"events": {"login": {"path": "log"}}, "churn": {"inactivity": ["login"], "horizon": "28d"}}
    ... )
    >>> folder = Path(tempfile.mkdtemp())
    >>> done = ingest(settings, folder, folder / ".tenure", fixed_clock("2026-02-01"), {"log": log})
    >>> done.history.events["login"].rows, done.history.watermark.isoformat()
    (2, '2026-01-31T12:00:00+00:00')
    """
    if not settings.events:
        raise ConfigError("The project has a [table], not [events.…].", hint="Use ingest_table.")
    groups = history_tasks(settings, workspace)
    given = dict(tables or {})
    refuse_unused_tables(given, [task.settings for group in groups for task in group])
    with _working(settings, root, workspace, clock, given, progress) as work:
        outcomes = [outcome for group in groups for outcome in run_group(work, group)]
        judge([outcome.report for outcome in outcomes], work.max_rejects)
        history = _history(settings, outcomes)
        return Ingested(history, _report(outcomes, _strangers(work.engine, history)))


def ingest_table(
    settings: Settings,
    root: Path,
    workspace: Path,
    clock: Clock,
    tables: Mapping[str, object] | None = None,
    progress: Progress = silent,
    *,
    labelled: bool = True,
) -> IngestedTable:
    """Read, check and keep the plain table of a project; parameters as in `ingest`.

    A table that is only scored (`labelled` is false) needs no label column, and whatever it holds is accepted.

    Raises
    ------
    ContractError
        More than `contract.max_rejects` of the rows are bad.
    InputError
        The table cannot be read, or a name in the settings does not fit it.
    ConfigError
        The project has no `[table]`: use `ingest`.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.core.config import settings_from
    >>> from tenure.core.time import fixed_clock
    >>> import pyarrow as pa
    >>> rows = pa.table({"plan": ["basic", "pro", "pro"], "left": ["Yes", "No", "No"]})
    >>> settings = settings_from({"table": {"path": "rows", "label": "left", "positive": "Yes"}})
    >>> folder = Path(tempfile.mkdtemp())
    >>> done = ingest_table(settings, folder, folder / ".tenure", fixed_clock("2026-02-01"), {"rows": rows})
    >>> done.table.rows, done.table.positives, done.table.attributes
    (3, 1, (('plan', 'text'),))
    """
    if settings.table is None:
        raise ConfigError("The project has [events.…], not a [table].", hint="Use ingest.")
    given = dict(tables or {})
    refuse_unused_tables(given, [settings.table])
    with _working(settings, root, workspace, clock, given, progress) as work:
        work.engine.execute("SET preserve_insertion_order = true")  # a row's number is its id where there is no other
        (outcome,) = run_group(work, [table_task(settings.table, workspace, labelled=labelled)])
        judge([outcome.report], work.max_rejects)
        table = _table(PlainTable, outcome)
        fingerprint = outcome.kept.fingerprint if outcome.kept else ""
        return IngestedTable(replace(table, fingerprint=fingerprint), _report([outcome], {}))


@contextmanager
def _working(
    settings: Settings,
    root: Path,
    workspace: Path,
    clock: Clock,
    tables: Mapping[str, object],
    progress: Progress,
) -> Iterator[Work]:
    with open_engine(settings.runtime, workspace) as engine:
        yield Work(
            engine,
            root,
            workspace,
            parse_timezone(settings.project.timezone),
            clock() + TOLERANCE,
            tables,
            settings.contract.max_rejects,
            progress,
        )


def _history(settings: Settings, outcomes: Iterable[Outcome]) -> History:
    done = {outcome.task.name: outcome for outcome in outcomes}
    events = {name: _table(EventTable, done[f"events.{name}"]) for name in settings.events}
    customers = _table(CustomerTable, done["customers"]) if "customers" in done else None
    periods = _table(PeriodTable, done["churn.expiry"]) if "churn.expiry" in done else None
    prints = sorted((name, outcome.kept.fingerprint) for name, outcome in done.items() if outcome.kept)
    return History(events, customers, periods, fingerprint_of("history", prints))


def _table(kind: type[Table], outcome: Outcome) -> Table:
    if outcome.kept is None:
        raise StateError(f"The table of {outcome.task.name} is missing.", hint="Run the command again.")
    return table_from(kind, outcome.kept, outcome.task.folder)


def _report(outcomes: Iterable[Outcome], warnings: Mapping[str, str]) -> ContractReport:
    """The report, with further warnings by section."""
    sources, others = [], {}
    for outcome in outcomes:
        more = warnings.get(outcome.task.name)
        report = outcome.report
        sources.append(replace(report, warnings=(*report.warnings, more)) if more else report)
        if outcome.other_types:
            others[f"{report.origin}, column {outcome.task.type_column}"] = outcome.other_types
    return ContractReport(tuple(sources), others)


def _strangers(engine: duckdb.DuckDBPyConnection, history: History) -> dict[str, str]:
    """Say where customers or periods speak of people that no event knows: their ids may be written otherwise."""
    events_sql = read_parquet_sql(path for table in history.events.values() for path in table.paths)
    beside = {"customers": history.customers, "churn.expiry": history.periods}
    warnings = {}
    for name, table in beside.items():
        if table is None or not table.rows:
            continue
        engine.execute(
            "CREATE OR REPLACE TEMP TABLE sample AS SELECT DISTINCT customer_id "
            f"FROM {read_parquet_sql(table.paths)} ORDER BY customer_id LIMIT {SAMPLE:d}"
        )
        looked, example, met, other = engine.execute(
            "SELECT count(*), min(customer_id), (SELECT count(*) FROM sample SEMI JOIN "
            f"(SELECT customer_id FROM {events_sql}) USING (customer_id)), "
            f"(SELECT min(customer_id) FROM {events_sql}) FROM sample"
        ).fetchone() or (0, None, 0, None)
        if not met:
            warnings[name] = (
                f"none of {looked:,} customers looked at has an event; ids are compared exactly: here one is "
                f"{example!r}, in the events {other!r}"
            )
    return warnings
