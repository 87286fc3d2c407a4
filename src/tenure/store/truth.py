"""What has happened, once each: history until an instant, the archive and the end of the log, as tables to query.

Enters: where the parts are, and from where to where each speaks. Leaves: one DuckDB table per event type, in canonical
form. States are restored from these tables and compared with them, so they are put together by queries alone and share
nothing with the fold but the events themselves.

Invariant: an event is in a table once. Of events with the same id the first is kept, history before the log; events
without an id that history had known count from history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa

from tenure.core.time import EPOCH
from tenure.source.engine import quote_identifier, quote_literal, read_parquet_sql
from tenure.source.history import History
from tenure.source.record import EventSchema
from tenure.store.archive import Archive
from tenure.store.folding import SEED_SPAN

__all__ = ["Span", "Truth", "open_truth"]


@dataclass(frozen=True)
class Span:
    """Which records of a partition count: from `first` to before `end`."""

    first: int
    end: int


@dataclass(frozen=True)
class Truth:
    """Where the parts of the truth are.

    Parameters
    ----------
    schemas : mapping of str to EventSchema
        Event types.
    history : History or None
        What was there before the log; only with `as_of`.
    as_of : datetime or None
        The instant until which history speaks.
    archive : Archive
        Raw events of the log.
    spans : mapping of int to Span
        Which records count, by partition; other partitions do not.
    tail : mapping of str to Arrow table
        Records that the archive lacks, in its columns.
    """

    schemas: Mapping[str, EventSchema]
    history: History | None
    as_of: datetime | None
    archive: Archive
    spans: Mapping[int, Span]
    tail: Mapping[str, pa.Table] = field(default_factory=dict)


def open_truth(
    engine: duckdb.DuckDBPyConnection, truth: Truth, customers: Sequence[str] | None = None
) -> dict[str, str]:
    """Make the tables.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where they are made, as temporary views.
    truth : Truth
        The parts.
    customers : sequence of str, optional
        Only these.

    Returns
    -------
    dict of str to str
        By event type, the quoted name of its table: `customer_id`, `time`, `recorded`, `id` where the type has ids,
        values and categories, `_partition` where the event is the log's, and `_appended` where the log has taken it.
    """
    if customers is not None:
        engine.register("truth_customers", pa.table({"customer_id": pa.array(customers, pa.string())}))
    names = {}
    for name, schema in truth.schemas.items():
        view_sql = names[name] = quote_identifier(f"truth {name}")
        own_sql = "" if customers is None else " WHERE customer_id IN (SELECT customer_id FROM truth_customers)"
        engine.execute(
            f"CREATE OR REPLACE TEMP VIEW {view_sql} AS "
            f"SELECT * EXCLUDE (_offset, _turn) FROM ({_once_sql(engine, truth, schema)}){own_sql}"
        )
    return names


def _once_sql(engine: duckdb.DuckDBPyConnection, truth: Truth, schema: EventSchema) -> str:
    parts = [_log_sql(engine, truth, schema)]
    if truth.history is not None and truth.as_of is not None:
        parts.append(_history_sql(truth.history, truth.as_of, schema))
    whole_sql = " UNION ALL ".join(parts)
    if not schema.needs_id:
        return f"SELECT * EXCLUDE (_known), 1 AS _turn FROM ({whole_sql}) WHERE NOT _known"
    turn_sql = "row_number() OVER (PARTITION BY id ORDER BY _partition NULLS FIRST, _offset) AS _turn"
    # Whichever of the same id counts: it is remembered from when the log first took one of them.
    told_sql = f"SELECT * REPLACE (min(_appended) OVER (PARTITION BY id) AS _appended), {turn_sql} FROM ({whole_sql})"
    return f"SELECT * EXCLUDE (_known) FROM ({told_sql}) WHERE (_turn = 1 AND NOT _known) OR id IS NULL"


def _columns_sql(schema: EventSchema, *, recorded: bool = True) -> str:
    columns = ["customer_id", "time", "recorded" if recorded else "CAST(NULL AS TIMESTAMP) AS recorded"]
    columns += ["id"] if schema.needs_id else []
    own_sql = ", ".join(quote_identifier(name) for name in (*schema.values, *schema.categories))
    return ", ".join([*columns, own_sql] if own_sql else columns)


def _instant_sql(instant: datetime) -> str:
    text = instant.astimezone(EPOCH.tzinfo).replace(tzinfo=None).isoformat(sep=" ")
    return f"CAST({quote_literal(text)} AS TIMESTAMP)"


def _history_sql(history: History, as_of: datetime, schema: EventSchema) -> str:
    table = history.events[schema.name]
    at_sql = _instant_sql(as_of)
    known_sql = f"time < {at_sql}"
    if table.has_recorded:
        known_sql += f" AND (recorded IS NULL OR recorded <= {at_sql})"
    return (
        f"SELECT {_columns_sql(schema, recorded=table.has_recorded)}, CAST(NULL AS INTEGER) AS _partition, "
        f"CAST(NULL AS BIGINT) AS _offset, CAST(NULL AS TIMESTAMP) AS _appended, false AS _known "
        f"FROM {read_parquet_sql(table.paths)} WHERE {known_sql}"
    )


def _log_sql(engine: duckdb.DuckDBPyConnection, truth: Truth, schema: EventSchema) -> str:
    """Records of the log in the spans, each place once, and of which of them history speaks."""
    spans = {partition: (span.first, span.end) for partition, span in truth.spans.items()}
    log_sql = truth.archive.archived_sql(schema.name, spans)
    if schema.name in truth.tail:
        name = f"truth tail {schema.name}"
        engine.register(name, truth.tail[schema.name])
        log_sql += f" UNION ALL BY NAME SELECT * FROM {quote_identifier(name)}"
    place_sql = 'partition AS _partition, "offset" AS _offset, appended AS _appended'
    query_sql = f"SELECT {_columns_sql(schema)}, {place_sql} FROM ({log_sql})"
    known_sql = "false" if truth.as_of is None else f"coalesce({_in_history_sql(truth.as_of, schema)}, false)"
    return f"SELECT *, {known_sql} AS _known FROM ({query_sql})"


def _in_history_sql(as_of: datetime, schema: EventSchema) -> str:
    """The rule by which the consumer leaves out what history brought and no id tells."""
    at_sql = _instant_sql(as_of)
    before_sql = f"time < {at_sql} AND (recorded IS NULL OR recorded <= {at_sql})"
    if not schema.needs_id:
        return before_sql
    return f"{before_sql} AND _appended <= {at_sql} AND time < {_instant_sql(as_of - SEED_SPAN)}"
