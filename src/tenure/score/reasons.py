"""Reasons for the contacts at the top of a list.

Enters: who stands at the top; the snapshot with their features; an `Explainer`. Leaves: `reasons.parquet`,
a row per customer with the reasons as data and as a text for people. Invariant: the file depends on the customers and
the version alone, not on how many are explained at a time; no more than a page of customers is in memory.

Reasons cost many times what a score does, and nobody reads those of a million customers. So only the best contacts get
them, as many as `[score] explain` says; the others can be explained one by one with `tenure explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tenure.core.files import atomic_path
from tenure.score.explain import Explainer, Reason
from tenure.score.scored import ID
from tenure.source.engine import quote_identifier, read_parquet_sql

__all__ = ["REASONS", "SCHEMA", "reasons_text", "write_reasons"]

REASONS = "reasons.parquet"
_PAGE_ROWS = 1_000
_REASON = pa.struct(
    [
        ("feature", pa.string()),
        ("value", pa.string()),
        ("usual", pa.float64()),
        ("contribution", pa.float64()),
        ("effect", pa.float64()),
        ("text", pa.string()),
    ]
)
SCHEMA = pa.schema([(ID, pa.string()), ("reasons", pa.string()), ("reason", pa.list_(_REASON))])


def reasons_text(reasons: Sequence[Reason]) -> str:
    """Reasons as one line for people.

    Examples
    --------
    >>> reasons_text([Reason("visits", 2.0, 9.0, 0.61, 0.124, "visits is 2 (usual: 9)")])
    'visits is 2 (usual: 9), +12 points'
    >>> reasons_text([])
    'nothing raises the risk above the usual'
    """
    return "; ".join(reason.words for reason in reasons) or "nothing raises the risk above the usual"


def write_reasons(
    engine: duckdb.DuckDBPyConnection,
    snapshot: Sequence[Path],
    customer_ids: Sequence[str],
    explainer: Explainer,
    path: Path,
    most: int,
) -> None:
    """Explain customers, in ascending order of their ids.

    Parameters
    ----------
    engine : DuckDBPyConnection
        From `tenure.source.engine.open_engine`.
    snapshot : sequence of Path
        Parquet files with the customers' features.
    customer_ids : sequence of str
        Whom to explain.
    explainer : Explainer
        Of the version that scored them.
    path : Path
        The file; it appears when it is whole.
    most : int
        Reasons per customer at most.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for table in _features(engine, snapshot, customer_ids, explainer.columns):
            found = explainer.raising(table, most)
            rows = [[_plain(reason) for reason in reasons] for reasons in found]
            columns = [pc.cast(table.column(ID), pa.string()), [reasons_text(reasons) for reasons in found], rows]
            writer.write_table(pa.table(columns, schema=SCHEMA))


def _features(
    engine: duckdb.DuckDBPyConnection, snapshot: Sequence[Path], customer_ids: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.Table]:
    wanted = ", ".join(quote_identifier(name) for name in dict.fromkeys((ID, *columns)))
    engine.register("explained_ids", pa.table({"wanted": pa.array(sorted(customer_ids), pa.string())}))
    rows = engine.sql(
        f"SELECT {wanted} FROM {read_parquet_sql(snapshot)} "
        f"WHERE {quote_identifier(ID)} IN (SELECT wanted FROM explained_ids) ORDER BY {quote_identifier(ID)}"
    ).to_arrow_reader(_PAGE_ROWS)
    for batch in rows:
        yield pa.Table.from_batches([batch])


def _plain(reason: Reason) -> dict[str, str | float | None]:
    value = None if reason.value is None else f"{reason.value}"
    return {
        "feature": reason.feature,
        "value": value,
        "usual": reason.usual,
        "contribution": reason.contribution,
        "effect": reason.effect,
        "text": reason.text,
    }
