"""All sections that read one source, from its opening to their canonical tables.

Enters: the tasks of one source and what they are done with. Leaves: an `Outcome` for each: its report, and its table
where the contract holds. Invariant: the source is looked at before it is read and read at most once; not at all if
nothing has changed. Whatever DuckDB says about a source reaches the user as a sentence about that source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path

import duckdb

from tenure.core.errors import ConfigError, InputError, NotFoundError, StateError, did_you_mean
from tenure.core.progress import Progress
from tenure.source.contract import TOLERATED, tally, write_rejects
from tenure.source.engine import quote_identifier
from tenure.source.history import SourceReport
from tenure.source.keep import Kept, content_fingerprint, fingerprint_of, keep, read_kept
from tenure.source.protocol import Relation, Source
from tenure.source.reading import text_sql
from tenure.source.section import Built, Section, require_columns
from tenure.source.sources import open_source, source_stamp
from tenure.source.sql import shown_path
from tenure.source.task import Task
from tenure.source.where import Condition, compile_where, where_columns

__all__ = ["Outcome", "Work", "run_group"]

MOST_TYPES = 20


@dataclass(frozen=True)
class Work:
    """What the tasks are done with; `latest` is the instant after which a time lies in the future."""

    engine: duckdb.DuckDBPyConnection
    root: Path
    workspace: Path
    zone: tzinfo
    latest: datetime
    tables: Mapping[str, object]
    max_rejects: float
    progress: Progress


@dataclass(frozen=True)
class Outcome:
    """What became of a task; `kept` is None where the contract is broken."""

    task: Task
    report: SourceReport
    kept: Kept | None
    other_types: Mapping[str, int]


def run_group(work: Work, tasks: Sequence[Task]) -> tuple[Outcome, ...]:
    """Do the tasks of one source, or find that they are done.

    Raises
    ------
    InputError
        The source cannot be read, or names in the sections do not fit it.
    StateError
        A database cannot be reached, or memory or disk are not enough.
    """
    stamp = source_stamp(tasks[0].settings, work.root, work.tables)
    prints = {task.name: _fingerprint(task, tasks, stamp, work) for task in tasks}
    kept = {task.name: read_kept(task.folder, prints[task.name], work.latest) for task in tasks} if stamp else {}
    missing = [task for task in tasks if kept.get(task.name) is None]
    made = _make(work, tasks, missing, prints if stamp else {}) if missing else {}
    return tuple(made.get(task.name) or _as_outcome(task, kept.get(task.name)) for task in tasks)


def _as_outcome(task: Task, kept: Kept | None) -> Outcome:
    if kept is None:
        raise StateError(f"The table of {task.name} was neither made nor found.", hint="Run the command again.")
    return Outcome(task, kept.report, kept, kept.other_types)


def _fingerprint(task: Task, tasks: Sequence[Task], stamp: object, work: Work) -> str:
    """Everything that a table depends on; `named` decides which rows of a shared source are of other types."""
    named = sorted(other.type_is or "" for other in tasks if other.type_column == task.type_column)
    first = task is tasks[0]  # the lines that are no rows are counted with the first section
    return fingerprint_of(task.name, stamp, task.settings.model_dump(mode="json"), str(work.zone), named, first)


def _make(work: Work, tasks: Sequence[Task], missing: Sequence[Task], prints: Mapping[str, str]) -> dict[str, Outcome]:
    with _explained(tasks[0]):
        source = open_source(work.engine, tasks[0].settings, work.root, work.tables)
        names: dict[str, None] = {}
        for task in missing:
            require_columns(task.name, source, task.columns)
            names.update(dict.fromkeys(_names(task, source)))
        work.progress(f"read {source.origin}", 0.0)
        relation = source.load(work.engine, tuple(names))
        types = _count_types(work.engine, relation, missing)
        outcomes = {}
        for number, task in enumerate(missing):
            own = relation if task is tasks[0] else replace(relation, malformed=None)
            section = _section(work, task, source.origin, own)
            _refuse_unknown_type(task, types, tasks)
            built = task.build(work.engine, section)
            others = _other_types(task, types, tasks)
            outcomes[task.name] = _finish(work, task, section, built, others, prints.get(task.name))
            work.engine.execute(f"DROP TABLE {built.checked.table_sql}")
            work.progress(f"read {source.origin}", (number + 1) / len(missing))
        return outcomes


def _names(task: Task, source: Source) -> Iterator[str]:
    """The source's columns that a task needs, those of its condition included."""
    if task.reads_all:
        yield from source.columns
        return
    yield from (column for _, column in task.columns)
    if task.settings.where is not None:
        compile_where(task.settings.where, source.columns, section=task.name)
        spelled = {name.casefold() for name in where_columns(task.settings.where, section=task.name)}
        yield from (name for name in source.columns if name.casefold() in spelled)


def _section(work: Work, task: Task, origin: str, relation: Relation) -> Section:
    belongs_sql = task.belongs_sql(relation.columns[task.type_column] if task.type_column else "VARCHAR")
    condition = _condition(work.engine, task, relation)
    return Section(task.name, origin, relation, work.zone, work.latest, condition, belongs_sql)


def _condition(engine: duckdb.DuckDBPyConnection, task: Task, relation: Relation) -> Condition | None:
    where = task.settings.where
    if where is None:
        return None
    condition = compile_where(where, relation.columns, section=task.name)
    try:
        described = engine.execute(f"DESCRIBE SELECT {condition.sql} FROM {relation.sql}").fetchall()
    except duckdb.Error as error:
        problem = str(error).splitlines()[0].partition(": ")[2]
        raise ConfigError(
            f"{task.name}.where = {where!r} does not fit the columns' types: {problem}",
            hint="Say how to read a column, for example CAST(amount AS DOUBLE) > 0.",
        ) from error
    if described[0][1] != "BOOLEAN":
        raise ConfigError(
            f"{task.name}.where = {where!r} gives {described[0][1]}, not true or false.",
            hint="Compare it with something, for example quantity > 0.",
        )
    return condition


def _count_types(
    engine: duckdb.DuckDBPyConnection, relation: Relation, tasks: Sequence[Task]
) -> dict[str, dict[str | None, int]]:
    """For each type column that the tasks name: how many rows of the source have each type."""
    counts: dict[str, dict[str | None, int]] = {}
    for column in dict.fromkeys(task.type_column for task in tasks):
        if column is not None:
            type_sql = text_sql(quote_identifier(column), relation.columns[column])
            counts[column] = dict(
                engine.execute(
                    f"SELECT {type_sql} AS type, count(*) FROM {relation.sql} GROUP BY type ORDER BY 2 DESC, type"
                ).fetchall()
            )
    return counts


def _refuse_unknown_type(task: Task, types: Mapping[str, Mapping[str | None, int]], tasks: Sequence[Task]) -> None:
    """A type that does not occur may be new or rare; one that is nearly spelled like a type nobody names is a slip."""
    if task.type_column is None or task.type_is is None or task.type_is in types[task.type_column]:
        return
    others = _other_types(task, types, tasks)
    suggestion = did_you_mean(task.type_is, others)
    if suggestion.startswith("Did you mean"):
        raise NotFoundError(
            f"{task.name}: no row has the type {task.type_is!r} in column {task.type_column!r}. {suggestion}",
            hint="Correct the section's name, or set type_is to the content of the column.",
            available=list(others),
        )


def _other_types(task: Task, types: Mapping[str, Mapping[str | None, int]], tasks: Sequence[Task]) -> dict[str, int]:
    """Rows of the task's source whose type no section names, most frequent type first."""
    if task.type_column is None:
        return {}
    named = {other.type_is for other in tasks if other.type_column == task.type_column}
    others = [(name or "(no type)", rows) for name, rows in types[task.type_column].items() if name not in named]
    shown, rest = dict(others[:MOST_TYPES]), others[MOST_TYPES:]
    if rest:
        shown[f"{len(rest):,} further types"] = sum(rows for _, rows in rest)
    return shown


def _finish(
    work: Work, task: Task, section: Section, built: Built, others: Mapping[str, int], fingerprint: str | None
) -> Outcome:
    """Report on the rows and, where the contract holds, keep the canonical table."""
    report = _report(work, task, section.origin, built)
    if report.reject_share > work.max_rejects:
        return Outcome(task, report, None, others)
    if fingerprint is None:
        fingerprint = fingerprint_of(task.name, content_fingerprint(work.engine, built.query_sql))
    kept = Kept(fingerprint, {}, report, others, built.valid_from, built.valid_until)
    kept = keep(work.engine, task.folder, kept, built.query_sql, partial(task.describe, work.engine, section))
    return Outcome(task, kept.report, kept, others)


def _report(work: Work, task: Task, origin: str, built: Built) -> SourceReport:
    checked, found = built.checked, tally(work.engine, built.checked)
    malformed = sum(count.count for count in found if not count.column)
    rejected = {count.reason: count.count for count in found}
    _refuse_empty(task, origin, rows=checked.rows + malformed, filtered=checked.filtered)
    rejects = work.workspace / "rejects" / f"{task.name}.csv"
    rejects.unlink(missing_ok=True)
    if found:
        write_rejects(work.engine, checked, rejects)
    accepted = checked.rows + malformed - checked.filtered - sum(rejected.values())
    return SourceReport(
        task.name,
        origin,
        rows=checked.rows + malformed,
        filtered=checked.filtered,
        accepted=accepted,
        rejected=rejected,
        examples={count.reason: count.example for count in found if count.example is not None},
        blamed={count.reason: count.column for count in found if count.column},
        tolerated=sum(rejected.get(reason, 0) for reason in TOLERATED),
        results=accepted if built.results is None else built.results,
        repeated_lines=built.repeated_lines,
        rejects=str(rejects) if found else None,
        warnings=built.warnings,
    )


def _refuse_empty(task: Task, origin: str, *, rows: int, filtered: int) -> None:
    if not rows and task.type_is is None:
        raise InputError(f"{task.name}: {origin} has no rows.", hint="Write the source again, or name another one.")
    if rows and rows == filtered:
        raise InputError(
            f"{task.name}: where = {task.settings.where!r} leaves none of {rows:,} rows.",
            hint="Correct the condition; values in it are compared exactly.",
        )


@contextmanager
def _explained(task: Task) -> Iterator[None]:
    """Turn what DuckDB says about a source into a sentence for whoever named it."""
    path = shown_path(task.settings.path)
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StateError(
            f"{task.name}: reading {path} needs more memory or disk than there is: {_line(error)}.",
            hint="Raise runtime.memory, or make room where the workspace lies.",
        ) from error
    except duckdb.Error as error:
        raise InputError(
            f"{task.name}: {path} cannot be read: {_line(error)}.",
            hint="Write the source again; it may be damaged, or a value does not fit its column's type.",
        ) from error


def _line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0].rstrip(".")
