"""Scores in the project's relational database, where services look customers up.

Enters: a finished result folder. Leaves: its scores in the table `scores`. Invariant: a reader who joins `score_runs`
on `state = 'published'` sees whole runs only, at most one per instant. Rows are added under a run that nobody reads
yet, in transactions of a few thousand, so that other writers never wait long; the count of rows moves in the same
transaction as the rows, so a load that was killed goes on behind the last committed one. When all rows are there, one
short transaction publishes the run and retires the one that it replaces, whose rows are removed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError

from tenure.core.database import metadata, utc_now_column
from tenure.core.errors import StateError
from tenure.core.progress import Progress, silent
from tenure.score.explain import Reason
from tenure.score.place import exclusive
from tenure.score.reason_rows import drop_reasons, load_reasons, reasons_from_json, score_reasons
from tenure.score.reasons import REASONS
from tenure.score.rows import open_snapshot
from tenure.score.run import ScoreSummary, read_summary
from tenure.source.engine import quote_identifier

__all__ = ["PublishedRun", "StoredScore", "publish_scores", "published_runs", "read_scores", "score_runs", "scores"]

LOADING, PUBLISHED, RETIRED = "loading", "published", "retired"
CHUNK_ROWS = 20_000

score_runs = sa.Table(
    "score_runs",
    metadata,
    sa.Column("run", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("identity", sa.String(64), nullable=False),
    utc_now_column("as_of"),
    utc_now_column("computed_at"),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("customers", sa.BigInteger, nullable=False),
    sa.Column("contacts", sa.BigInteger, nullable=False),
    sa.Column("loaded", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.UniqueConstraint("identity", "computed_at", name="one_run"),
    sqlite_autoincrement=True,
)
scores = sa.Table(
    "scores",
    metadata,
    sa.Column("run", sa.ForeignKey("score_runs.run"), primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("expected_profit", sa.Double),
    sa.Column("expected_profit_low", sa.Double),
    sa.Column("expected_profit_high", sa.Double),
    sa.Column("band", sa.String(16)),
    sqlite_with_rowid=False,  # rows lie in the order of the key: no second copy of it in an index
)


@dataclass(frozen=True)
class PublishedRun:
    """A run whose scores can be read: its instant (UTC), when it was computed (UTC), by which version, and how many."""

    as_of: datetime
    computed_at: datetime
    model_version: str
    customers: int
    contacts: int


@dataclass(frozen=True)
class StoredScore:
    """A customer's score as it was computed in a batch.

    Parameters
    ----------
    customer_id : str
        Whose score it is.
    probability : float
        Calibrated churn probability.
    decision : {"contact", "no_contact"}
        Whether contacting pays.
    expected_profit, expected_profit_low, expected_profit_high : float or None
        Incremental profit of contacting; the ends are None where the save rate is no range, all three where the
        customer's value is not known.
    band : str or None
        `low`, `medium` or `high`; None where the customer's value is not known.
    model_version : str
        Version that scored.
    features_as_of, computed_at : datetime
        UTC; cutoff of the features, and when the batch began.
    reasons : tuple of Reason or None
        What raises the probability most, the strongest effect first; None for those who were not explained.
    """

    customer_id: str
    probability: float
    decision: str
    expected_profit: float | None
    expected_profit_low: float | None
    expected_profit_high: float | None
    band: str | None
    model_version: str
    features_as_of: datetime
    computed_at: datetime
    reasons: tuple[Reason, ...] | None = None


def publish_scores(engine: Engine, folder: Path, progress: Progress = silent) -> None:
    """Load finished scores into the database and publish them; once more does nothing.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    folder : Path
        A finished result, from `tenure.score.place.scores_folder`.
    progress : Progress
        Told about the stage `table`.

    Raises
    ------
    StateError
        There is no finished result, another run is writing it, or the database is busy or cannot be reached.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> try:
    ...     publish_scores(open_database("sqlite://"), Path("/nowhere/scores/2026-01-31"))
    ... except StateError as error:
    ...     print(error.message)
    There are no finished scores in /nowhere/scores/2026-01-31.
    """
    read_summary(folder)  # before the lock, which would make the folder that holds it
    with _clear_failures(engine), exclusive(folder):
        summary = read_summary(folder)
        run = _enter(engine, summary)
        _sweep(engine)
        if run.state != PUBLISHED:
            _load(engine, run.run, run.loaded, summary, progress)
            load_reasons(engine, run.run, folder / REASONS)
            _publish(engine, run.run, run.as_of)
            _sweep(engine)
    progress("table", 1.0)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


@contextmanager
def _clear_failures(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, IntegrityError, engine.dialect.loaded_dbapi.Error) as error:
        raise StateError(
            f"The table of scores could not be written: {getattr(error, 'orig', error)}.",
            hint="What was published can still be read. Run the same command again; it goes on where it stopped.",
        ) from error


def _enter(engine: Engine, summary: ScoreSummary) -> sa.Row[Any]:
    """The run's own row; loads of the same instant that were left behind are given up."""
    mine = (score_runs.c.identity == summary.run) & (score_runs.c.computed_at == _text(summary.computed_at))
    same_instant = score_runs.c.as_of == _text(summary.as_of)
    with engine.begin() as connection:
        abandoned = same_instant & (score_runs.c.state == LOADING) & ~mine
        connection.execute(sa.update(score_runs).where(abandoned).values(state=RETIRED))
        found = connection.execute(sa.select(score_runs).where(mine, score_runs.c.state != RETIRED)).one_or_none()
        if found is not None:
            return found
    _sweep(engine)  # the same run may have been retired a moment ago and be wanted again
    with engine.begin() as connection:
        row = {
            "identity": summary.run,
            "as_of": _text(summary.as_of),
            "computed_at": _text(summary.computed_at),
            "model_version": summary.version,
            "customers": summary.tally.customers,
            "contacts": summary.contacts.contacts,
            "loaded": 0,
            "state": LOADING,
        }
        connection.execute(sa.insert(score_runs).values(row))
        return connection.execute(sa.select(score_runs).where(mine)).one()


def _load(engine: Engine, run: int, loaded: int, summary: ScoreSummary, progress: Progress) -> None:
    source = open_snapshot(summary.parts, summary.run)
    names = [column.name for column in scores.c if column.name in source.schema.names]
    for table in source.read(loaded, source.rows, names, CHUNK_ROWS):
        rows = list(zip(repeat(run), *(table.column(name).to_pylist() for name in names), strict=False))
        with engine.begin() as connection:
            _advance(connection, run, loaded, len(rows))
            _insert(connection, ["run", *names], rows)
        loaded += len(rows)
        progress("table", loaded / source.rows)


def _insert(connection: sa.Connection, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Add rows by the driver's own shortest way: ten million of them would take SQLAlchemy's some ten times longer."""
    columns_sql = ", ".join(quote_identifier(name) for name in names)
    if connection.dialect.name == "postgresql":
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(f"COPY scores ({columns_sql}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    places_sql = ", ".join("?" for _ in names)
    connection.exec_driver_sql(f"INSERT INTO scores ({columns_sql}) VALUES ({places_sql})", rows)


def _advance(connection: sa.Connection, run: int, loaded: int, rows: int) -> None:
    """Move the count of loaded rows on, unless somebody else has done so."""
    mine = sa.update(score_runs).where(score_runs.c.run == run, score_runs.c.loaded == loaded)
    if connection.execute(mine.values(loaded=loaded + rows)).rowcount != 1:
        raise StateError("Another process is loading the same scores.", hint="Wait until it is done.", run=run)


def _publish(engine: Engine, run: int, as_of: str) -> None:
    with engine.begin() as connection:
        before = (score_runs.c.as_of == as_of) & (score_runs.c.state == PUBLISHED)
        connection.execute(sa.update(score_runs).where(before).values(state=RETIRED))
        connection.execute(sa.update(score_runs).where(score_runs.c.run == run).values(state=PUBLISHED))


def _sweep(engine: Engine) -> None:
    """Remove retired runs, a few thousand rows at a time."""
    with engine.begin() as connection:
        retired = connection.scalars(sa.select(score_runs.c.run).where(score_runs.c.state == RETIRED)).all()
    for run in retired:
        some = sa.select(scores.c.customer_id).where(scores.c.run == run).order_by(scores.c.customer_id)
        chunk = sa.delete(scores).where(scores.c.run == run, scores.c.customer_id.in_(some.limit(CHUNK_ROWS)))
        removed = 1
        while removed:
            with engine.begin() as connection:
                removed = connection.execute(chunk).rowcount
        drop_reasons(engine, run)
        with engine.begin() as connection:
            connection.execute(sa.delete(score_runs).where(score_runs.c.run == run))


def published_runs(engine: Engine) -> tuple[PublishedRun, ...]:
    """The runs whose scores can be read, newest instant first.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> published_runs(open_database("sqlite://"))
    ()
    """
    query = sa.select(score_runs).where(score_runs.c.state == PUBLISHED).order_by(score_runs.c.as_of.desc())
    with engine.begin() as connection:
        return tuple(
            PublishedRun(
                datetime.fromisoformat(row.as_of),
                datetime.fromisoformat(row.computed_at),
                row.model_version,
                row.customers,
                row.contacts,
            )
            for row in connection.execute(query)
        )


def read_scores(engine: Engine, customer_ids: Sequence[str], as_of: datetime | None = None) -> dict[str, StoredScore]:
    """Look customers up in the newest published run, or in that of an instant.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    customer_ids : sequence of str
        Whose scores are wanted; at most a thousand or so.
    as_of : datetime, optional
        UTC; the instant that the scores speak for. Default: the newest one published.

    Returns
    -------
    dict of str to StoredScore
        Customers who have no score in that run are absent.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> read_scores(open_database("sqlite://"), ["a"])
    {}
    """
    published = sa.select(score_runs).where(score_runs.c.state == PUBLISHED)
    if as_of is not None:
        published = published.where(score_runs.c.as_of == _text(as_of))
    run = published.order_by(score_runs.c.as_of.desc()).limit(1).subquery()
    own = (score_reasons.c.run == scores.c.run) & (score_reasons.c.customer_id == scores.c.customer_id)
    query = (
        sa.select(scores, run.c.as_of, run.c.computed_at, run.c.model_version, score_reasons.c.reasons)
        .join(run, run.c.run == scores.c.run)
        .outerjoin(score_reasons, own)
    )
    with engine.begin() as connection:
        found = connection.execute(query.where(scores.c.customer_id.in_(customer_ids)))
        return {row.customer_id: _stored(row) for row in found}


def _stored(row: sa.Row[Any]) -> StoredScore:
    return StoredScore(
        row.customer_id,
        row.probability,
        row.decision,
        row.expected_profit,
        row.expected_profit_low,
        row.expected_profit_high,
        row.band,
        row.model_version,
        datetime.fromisoformat(row.as_of),
        datetime.fromisoformat(row.computed_at),
        None if row.reasons is None else reasons_from_json(row.reasons),
    )
