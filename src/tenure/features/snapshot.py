"""One row per customer at risk at a cutoff, written as Parquet.

Enters: a `History`, a `FeatureSet`, the `[churn]` section and cutoffs. Leaves: Parquet files ordered by customer, with
`customer_id`, `cutoff`, for training `label` and the columns of `ACTIVITY` that the baselines rank by, and one column
per feature. Invariant: everything but the label was known at the cutoff.

Several cutoffs are written one after the other: each needs one hash table of its own customers, so memory does not grow
with their number, and reading stops at the cutoff (the history is ordered by time), so an early cutoff costs less.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from tenure.core.errors import HistoryError
from tenure.core.files import atomic_path
from tenure.core.progress import Progress, silent
from tenure.core.settings import ChurnSettings
from tenure.core.time import format_instant
from tenure.features.compile import event_features, without_events
from tenure.features.declare import TENURE_DAYS, Feature, FeatureSet, TopValues
from tenure.features.known import days_between, instant, known
from tenure.features.label import active_types, activity, at_risk, churned, matures_at
from tenure.features.rings import EVENTS, FIRST, LAST
from tenure.source.engine import quote_identifier, quote_literal, read_parquet_sql
from tenure.source.history import History

__all__ = [
    "ACTIVITY",
    "Tables",
    "everyone",
    "frequent_values",
    "open_tables",
    "require_matured",
    "snapshot",
    "snapshot_key",
    "write_snapshot",
    "write_snapshots",
]

RECENCY, FREQUENCY, RELATIVE_RECENCY = "_days_since_last", "_count", "_relative_recency"
ACTIVITY = (RECENCY, FREQUENCY, RELATIVE_RECENCY)
_FORMAT = 1


@dataclass(frozen=True)
class Tables:
    """A history opened in a query engine: every table as an Ibis expression."""

    history: History
    backend: Backend
    events: Mapping[str, ir.Table]
    customers: ir.Table | None
    periods: ir.Table | None


def open_tables(engine: duckdb.DuckDBPyConnection, history: History) -> Tables:
    """Open the tables of a history in a DuckDB connection.

    Parameters
    ----------
    engine : DuckDBPyConnection
        From `tenure.source.engine.open_engine`.
    history : History
        Canonical tables on disk.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.place import Place
    >>> from tenure.source.ingest import ingest
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with place.engine() as engine:
    ...     found = ingest(place.settings, place.root, place.workspace, place.clock)
    ...     sorted(open_tables(engine, found.history).events["order"].columns)
    ['amount', 'customer_id', 'time']
    """
    backend = ibis.duckdb.from_connection(engine)

    def view(name: str, paths: tuple[Path, ...]) -> ir.Table:
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {quote_identifier(name)} AS FROM {read_parquet_sql(paths)}")
        return backend.table(name)

    return Tables(
        history,
        backend,
        {name: view(f"events {name}", table.paths) for name, table in history.events.items()},
        view("customers", history.customers.paths) if history.customers else None,
        view("periods", history.periods.paths) if history.periods else None,
    )


def snapshot(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime, *, labels: bool = False
) -> ir.Table:
    """The customers at risk at a cutoff with their features, as an expression.

    Parameters
    ----------
    tables : Tables
        From `open_tables`.
    features : FeatureSet
        Which columns.
    churn : ChurnSettings
        Who is at risk, and what leaving means.
    cutoff : datetime
        UTC; only what was known before it enters the features.
    labels : bool
        Add `label` and the columns of `ACTIVITY`. The caller makes sure that the label has matured.

    Returns
    -------
    ibis table
        Ordered by `customer_id`.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> weekly = FeatureSet((Feature("order", "count"),))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     rows = snapshot(tables, weekly, place.settings.churn, datetime(2025, 6, 9, tzinfo=UTC))
    ...     tables.backend.to_pyarrow(rows)["order_count"].to_pylist()[:3]
    [11, 12, 36]
    """
    types = active_types(churn, tables.events)
    used = dict.fromkeys((*types, *(feature.event for feature in features.events)))
    facts = _facts(tables, features, used, cutoff)
    active = activity(facts, types)
    rows = at_risk(tables.events, tables.periods, active, churn, cutoff)
    if churn.expiry is not None:
        rows = _left_join(rows, active)
    rows = _with_activity(rows, cutoff)
    for name in used:
        if any(feature.name not in rows.columns for feature in _of(features, name)):
            rows = _left_join(rows, facts[name].drop(FIRST, LAST, EVENTS))
    rows = _with_attributes(without_events(rows, features.events), tables.customers, features, cutoff)
    rows = rows.mutate(cutoff=instant(cutoff))
    if labels:
        rows = churned(tables.events, tables.periods, rows, churn, cutoff)
    leading = ("customer_id", "cutoff", "label", *ACTIVITY) if labels else ("customer_id", "cutoff")
    return rows.select(*leading, *features.names).order_by("customer_id")


def everyone(tables: Tables, features: FeatureSet, cutoff: datetime) -> ir.Table:
    """Every customer known at a cutoff, at risk or not, with their features, as an expression.

    Parameters
    ----------
    tables : Tables
        From `open_tables`.
    features : FeatureSet
        Which columns.
    cutoff : datetime
        UTC; only what was known before it enters.

    Returns
    -------
    ibis table
        Those of `customer_id` and the features, in no particular order. Known is who has an event or attributes.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> count = FeatureSet((Feature("order", "count"),))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     rows = tables.backend.to_pyarrow(everyone(tables, count, datetime(2025, 6, 9, tzinfo=UTC)))
    >>> rows.column_names, rows.num_rows > 157
    (['customer_id', 'order_count'], True)
    """
    used = dict.fromkeys(feature.event for feature in features.events)
    facts = _facts(tables, features, used, cutoff)
    named = [fact.select("customer_id") for fact in facts.values()]
    if tables.customers is not None:
        named.append(tables.customers.select("customer_id"))
    rows = ibis.union(*named, distinct=True) if len(named) > 1 else named[0].distinct()
    for fact in facts.values():
        rows = _left_join(rows, fact.drop(FIRST, LAST, EVENTS))
    rows = _with_attributes(without_events(rows, features.events), tables.customers, features, cutoff)
    return rows.select("customer_id", *features.names)


def _facts(tables: Tables, features: FeatureSet, types: Iterable[str], cutoff: datetime) -> dict[str, ir.Table]:
    """The features of each event type, by customer."""
    return {name: event_features(tables.events[name], _of(features, name), cutoff) for name in types}


def _of(features: FeatureSet, event: str) -> tuple[Feature, ...]:
    return tuple(feature for feature in features.events if feature.event == event)


def _left_join(rows: ir.Table, other: ir.Table) -> ir.Table:
    return rows.left_join(other, "customer_id").drop("customer_id_right")


def _with_activity(rows: ir.Table, cutoff: datetime) -> ir.Table:
    since_last = days_between(instant(cutoff), rows[LAST])
    gap = days_between(rows[LAST], rows[FIRST]) / (rows[EVENTS] - 1).nullif(0)
    return rows.mutate(
        **{RECENCY: since_last, FREQUENCY: rows[EVENTS].fill_null(0), RELATIVE_RECENCY: since_last / gap.nullif(0.0)}
    )


def _with_attributes(rows: ir.Table, customers: ir.Table | None, features: FeatureSet, cutoff: datetime) -> ir.Table:
    names = [attribute.name for attribute in features.attributes]
    if customers is None or not (names or features.tenure):
        return rows
    at = instant(cutoff)
    if "known_at" in customers.columns:
        customers = customers.filter(customers.known_at <= at)
        latest_first = [ibis.desc("known_at"), *names]
        age = ibis.row_number().over(group_by="customer_id", order_by=latest_first)
        customers = customers.mutate(_age=age).filter(lambda table: table["_age"] == 0)
    if features.tenure:
        joined = customers.since <= at
        customers = customers.mutate(
            **{TENURE_DAYS: joined.ifelse(days_between(at, customers.since), ibis.null("float64"))}
        )
    return _left_join(rows, customers.select("customer_id", *([TENURE_DAYS] if features.tenure else []), *names))


def frequent_values(tables: Tables, splits: Iterable[tuple[str, str, int]], before: datetime) -> TopValues:
    """The most frequent values of categories, to be frozen into the declarations.

    Parameters
    ----------
    tables : Tables
        From `open_tables`.
    splits : iterable of (event, category, how many)
        From `tenure.features.declare.splits`.
    before : datetime
        UTC; the last training cutoff, so that nothing later decides what is declared.

    Returns
    -------
    mapping
        For each split its values, most frequent first, equals in alphabetical order.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     frequent_values(tables, [("order", "customer_id", 2)], datetime(2025, 6, 9, tzinfo=UTC))
    {('order', 'customer_id', 2): ('c083', 'c164')}
    """
    found: dict[tuple[str, str, int], tuple[str, ...]] = {}
    for event, category, top in splits:
        visible = known(tables.events[event], before)
        counts = (
            visible.filter(visible[category].notnull()).group_by(category).aggregate(_n=lambda table: table.count())
        )
        ranked = counts.order_by(ibis.desc("_n"), category).limit(top)
        found[event, category, top] = tuple(tables.backend.to_pyarrow(ranked)[category].to_pylist())
    return found


def write_snapshot(tables: Tables, rows: ir.Table, path: Path) -> int:
    """Run a snapshot expression and write its rows to one Parquet file.

    Parameters
    ----------
    tables : Tables
        The tables that the expression was built on.
    rows : ibis table
        From `snapshot`.
    path : Path
        The file; it appears only when it is whole.

    Returns
    -------
    int
        Number of rows.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     rows = snapshot(tables, FeatureSet(), place.settings.churn, datetime(2025, 6, 9, tzinfo=UTC))
    ...     write_snapshot(tables, rows, place.root / "snapshot.parquet")
    157
    """
    sql = str(ibis.to_sql(rows, dialect="duckdb"))
    with atomic_path(path) as temporary:
        target = quote_literal(str(temporary))
        tables.backend.con.execute(f"COPY ({sql}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
    return int(pq.read_metadata(path).num_rows)


def write_snapshots(
    tables: Tables,
    features: FeatureSet,
    churn: ChurnSettings,
    cutoffs: Iterable[datetime],
    folder: Path,
    progress: Progress = silent,
) -> dict[datetime, Path]:
    """Write the labelled snapshot of every cutoff, and reuse those that are already there.

    Parameters
    ----------
    tables : Tables
        From `open_tables`.
    features, churn
        What to compute.
    cutoffs : iterable of datetime
        UTC, all matured.
    folder : Path
        Where snapshots are kept; those that the given cutoffs do not need are removed.
    progress : Progress
        Told about the stage `snapshots`.

    Raises
    ------
    HistoryError
        A label has not matured.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> cutoffs = [datetime(2025, month, 9, tzinfo=UTC) for month in (5, 6)]
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     paths = write_snapshots(tables, FeatureSet(), place.settings.churn, cutoffs, place.root / "snapshots")
    >>> [path.exists() for path in paths.values()]
    [True, True]
    """
    cutoffs = sorted(cutoffs)
    require_matured(churn, cutoffs, tables.history.watermark)
    paths = {cutoff: folder / f"{snapshot_key(tables.history, features, churn, cutoff)}.parquet" for cutoff in cutoffs}
    for number, (cutoff, path) in enumerate(paths.items()):
        progress("snapshots", number / len(paths))
        if not path.exists():
            write_snapshot(tables, snapshot(tables, features, churn, cutoff, labels=True), path)
    for path in folder.glob("*.parquet"):
        if path not in paths.values():
            path.unlink()
    progress("snapshots", 1.0)
    return paths


def require_matured(churn: ChurnSettings, cutoffs: Iterable[datetime], watermark: datetime | None) -> None:
    """Refuse cutoffs whose labels cannot be judged yet.

    Raises
    ------
    HistoryError
        A label matures after the watermark.

    Examples
    --------
    >>> from datetime import timedelta
    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> require_matured(ChurnSettings(event="cancel", horizon="28d"), [start], start + timedelta(days=28))
    """
    for cutoff in cutoffs:
        if watermark is None or matures_at(churn, cutoff) > watermark:
            raise HistoryError(
                f"The labels of cutoff {format_instant(cutoff)} mature at {format_instant(matures_at(churn, cutoff))}, "
                f"but the log ends at {format_instant(watermark) if watermark else 'no event'}.",
                hint="Choose an earlier cutoff, a shorter horizon, or bring a longer log.",
                cutoff=cutoff,
            )


def snapshot_key(history: History, features: FeatureSet, churn: ChurnSettings, cutoff: datetime) -> str:
    """Name a snapshot by everything that its rows depend on.

    Parameters
    ----------
    history : History
        What was known.
    features : FeatureSet
        Which columns.
    churn : ChurnSettings
        Who is at risk, and what leaving means.
    cutoff : datetime
        UTC.

    Examples
    --------
    >>> history = History({}, None, None, "0f")
    >>> churn = ChurnSettings(event="cancel", horizon="28d")
    >>> len(snapshot_key(history, FeatureSet(), churn, datetime(2025, 6, 9, tzinfo=UTC)))
    24
    """
    definition = churn.model_dump(mode="json", exclude={"train", "test", "every"})
    parts = [_FORMAT, history.fingerprint, features.hash, definition, cutoff.astimezone(UTC).isoformat()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
