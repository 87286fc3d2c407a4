"""Reasons for the contacts at the top of a list.

Enters: who stands at the top; the snapshot with their features; an `Explainer`. Leaves: `reasons.jsonl`, a line per
customer with the reasons as data and as a text for people. Invariant: the file depends on the customers and the version
alone; no more than a page of customers is in memory.

It is no Parquet, so that whoever reads all Parquet files of the folder reads scores and nothing else.

Reasons cost many times what a score does, and nobody reads those of a million customers. So only the best contacts get
them, as many as `[score] explain` says; the others can be explained one by one with `tenure explain`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import duckdb
import pyarrow as pa

from tenure.core.files import atomic_path
from tenure.score.explain import Explainer, Reason
from tenure.score.scored import ID
from tenure.source.engine import quote_identifier, quote_path, read_parquet_sql

__all__ = ["REASONS", "read_reasons", "reasons_sql", "reasons_text", "write_reasons"]

REASONS = "reasons.jsonl"
_PAGE_ROWS = 1_000


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
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for table in _features(engine, snapshot, customer_ids, explainer.columns):
            found = explainer.raising(table, most)
            for customer_id, reasons in zip(table.column(ID).to_pylist(), found, strict=True):
                line = {ID: customer_id, "reasons": reasons_text(reasons), "reason": [asdict(one) for one in reasons]}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_reasons(path: Path) -> Iterator[tuple[str, tuple[Reason, ...]]]:
    """Customer and reasons, for every customer who was explained; none where there is no file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            found = json.loads(line)
            yield found[ID], tuple(Reason(**one) for one in found["reason"])


def reasons_sql(path: Path) -> str:
    """A table expression with the columns `customer_id` and `reasons`."""
    return (
        f"read_json({quote_path(path)}, format = 'newline_delimited', "
        "columns = {customer_id: 'VARCHAR', reasons: 'VARCHAR'})"
    )


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
