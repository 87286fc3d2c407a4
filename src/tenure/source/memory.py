"""Tables that Python gives in place of paths: Arrow, pandas, polars, and whatever else speaks Arrow.

Enters: a mapping from the `path` of a section to a table. Leaves: an opened `Source` that DuckDB reads in place.
Invariant: the table is not changed, and pandas' two ways to write "absent" (None and NaN) are both absent. In a column
of mixed objects every value is read as its text.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from tenure.core.errors import InputError
from tenure.source.engine import quote_identifier
from tenure.source.protocol import Relation, refuse_duplicates

__all__ = ["TableSource", "open_table", "to_arrow"]

_numbers = itertools.count()


@dataclass(frozen=True)
class TableSource:
    """An Arrow table under the name of a view; the view lives as long as the connection."""

    origin: str
    table: pa.Table
    view: str
    columns: Mapping[str, str]
    lacking: Mapping[str, str]

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:  # noqa: ARG002 - read in place
        """Make the named columns readable, straight from the table's memory."""
        return Relation(quote_identifier(self.view), {name: self.columns[name] for name in names})


def open_table(engine: duckdb.DuckDBPyConnection, name: str, table: object) -> TableSource:
    """Open a table given from Python.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where a view of the table is registered.
    name : str
        The `path` of the section that it stands in for.
    table : object
        A pyarrow table, a pandas or polars data frame, or any object with `__arrow_c_stream__`.

    Raises
    ------
    InputError
        It is no table, or two of its columns share a name.

    Examples
    --------
    >>> frame = pd.DataFrame({"id": ["a", None], "amount": [1.5, float("nan")]})
    >>> with duckdb.connect() as engine:
    ...     open_table(engine, "orders", frame).table.to_pylist()
    [{'id': 'a', 'amount': 1.5}, {'id': None, 'amount': None}]
    """
    arrow = to_arrow(name, table)
    refuse_duplicates(f"The table {name!r}", arrow.column_names)
    view = f"table_{next(_numbers)}"
    engine.register(view, arrow)
    described = engine.execute(f"DESCRIBE {quote_identifier(view)}").fetchall()
    return TableSource(f"table {name!r}", arrow, view, {row[0]: row[1] for row in described}, {})


def to_arrow(name: str, table: object) -> pa.Table:
    """Give an Arrow table with the columns of a data frame.

    Parameters
    ----------
    name : str
        How messages call it.
    table : object
        A pyarrow table, a pandas or polars data frame, or any object with `__arrow_c_stream__`.

    Raises
    ------
    InputError
        It is no table, or two of its columns share a name.

    Examples
    --------
    >>> to_arrow("orders", pd.DataFrame({"amount": [1.5, float("nan")]}))["amount"].to_pylist()
    [1.5, None]
    """
    if isinstance(table, pd.DataFrame):
        refuse_duplicates(f"The table {name!r}", [str(column) for column in table.columns])
        return _from_pandas(table)
    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "__arrow_c_stream__"):
        return pa.table(table)
    raise InputError(
        f"The table {name!r} is a {type(table).__name__}, which tenure does not read.",
        hint="Give a pyarrow table, or a pandas or polars data frame.",
        table=name,
    )


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    return pa.table({str(name): _column(frame[name]) for name in frame.columns})


def _column(series: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        absent = series.isna()
        texts = [None if gone else _text(value) for value, gone in zip(series, absent, strict=True)]
        return pa.array(texts, pa.string())


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
