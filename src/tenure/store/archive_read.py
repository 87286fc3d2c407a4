"""Archived files become one query in which every place in the log occurs once.

Enters: the files of an event type with the offsets that each covers, and the spans that are asked for. Leaves: a query.
Invariant: an offset that several files cover is taken from one of them.

A file holds every event of its type between its two offsets. So files that overlap, because a flush was killed and made
again, agree on what they share, and it is enough to give each a span of its own: in the order of their first offsets,
each begins where all before it have ended, and one that adds nothing is not read. Nothing has to be compared row by
row, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from tenure.source.engine import quote_identifier, quote_path

__all__ = ["Piece", "pieces_sql"]

_TYPE_SQL = {
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.timestamp("us"): "TIMESTAMP",
}


@dataclass(frozen=True)
class Piece:
    """A file with the offsets that it covers: from `first` to before `end`."""

    partition: int
    first: int
    end: int
    path: Path


def pieces_sql(
    pieces: Sequence[Piece], spans: Mapping[int, tuple[int, int]], columns: pa.Schema, *, once_per_id: bool
) -> str:
    """A query over files that gives every place in the log once.

    Parameters
    ----------
    pieces : sequence of Piece
        By partition and first offset, of those that begin alike the longest first.
    spans : mapping of int to (int, int)
        Of every partition, the first offset and the one to end before.
    columns : pyarrow.Schema
        What the query gives; `partition`, `offset` and `id` are among it.
    once_per_id : bool
        Whether to give only the first event of every id.
    """
    whole: list[Path] = []
    selects_sql = [_nothing_sql(columns)]  # names and types of all columns, whichever the files have
    for piece, kept in _clipped(pieces, spans):
        if kept == piece:
            whole.append(piece.path)
        else:
            within_sql = f'WHERE "offset" >= {kept.first:d} AND "offset" < {kept.end:d}'
            selects_sql.append(f"SELECT * FROM {_files_sql([piece.path])} {within_sql}")
    if whole:
        selects_sql.append(f"SELECT * FROM {_files_sql(whole)}")
    columns_sql = ", ".join(_column_sql(one) for one in columns)
    query_sql = f"SELECT {columns_sql} FROM ({' UNION ALL BY NAME '.join(selects_sql)})"
    if once_per_id:
        query_sql += ' QUALIFY id IS NULL OR row_number() OVER (PARTITION BY id ORDER BY partition, "offset") = 1'
    return query_sql


def _clipped(pieces: Sequence[Piece], spans: Mapping[int, tuple[int, int]]) -> Iterator[tuple[Piece, Piece]]:
    """Every file that is needed, with the span that it is needed for."""
    begins = {partition: start for partition, (start, _) in spans.items()}
    for piece in pieces:
        kept = replace(
            piece, first=max(piece.first, begins[piece.partition]), end=min(piece.end, spans[piece.partition][1])
        )
        if kept.first < kept.end:
            begins[piece.partition] = kept.end
            yield piece, kept


def _column_sql(column: pa.Field) -> str:
    """A column of the files; what an earlier type of it held and this one cannot is null."""
    name_sql, type_sql = quote_identifier(column.name), _TYPE_SQL[column.type]
    return f"TRY_CAST({name_sql} AS {type_sql}) AS {name_sql}"


def _nothing_sql(columns: pa.Schema) -> str:
    null_columns_sql = ", ".join(_null_sql(one) for one in columns)
    return f"SELECT {null_columns_sql} WHERE false"


def _null_sql(column: pa.Field) -> str:
    type_sql = _TYPE_SQL[column.type]
    return f"CAST(NULL AS {type_sql}) AS {quote_identifier(column.name)}"


def _files_sql(paths: Sequence[Path]) -> str:
    listed = ", ".join(quote_path(path) for path in paths)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
