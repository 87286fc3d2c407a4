"""Whom to contact, best first, as a file for people.

Enters: finished files of scores, the money settings. Leaves: `contacts.csv`: everybody whom contacting pays for, or
the `capacity` best of them, ordered by expected incremental profit and, where that is equal, by customer id; and what
the list adds up to. Invariant: the order never depends on memory or threads. What does not fit into memory is sorted
on disk.

Money and probabilities are rounded to four decimals in the list; the exact numbers stand in the scores. Where reasons
were worked out, for the top of the list, they stand at the end of the line; further down that cell is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tenure.core.files import atomic_path
from tenure.core.settings import ValueSettings
from tenure.score.ahead import ahead, side_by_side
from tenure.score.reasons import reasons_sql
from tenure.score.rows import rechunk
from tenure.score.scored import CONTACT, ID, has_range
from tenure.source.engine import quote_identifier, quote_literal, read_parquet_sql

__all__ = ["ContactList", "best_contacts", "contact_columns", "write_contacts"]

_CHUNK_ROWS = 100_000
_DECIMALS = 4


@dataclass(frozen=True)
class ContactList:
    """What a contact list adds up to.

    Parameters
    ----------
    contacts : int
        How many customers stand in it.
    profit_low, profit_expected, profit_high : float
        Incremental profit of contacting all of them, over the range of the save rate.
    explained : int
        How many of them have reasons.

    Examples
    --------
    >>> ContactList(1, 5.0, 6.0, 7.0) + ContactList(2, 1.0, 2.0, 3.0, 2)
    ContactList(contacts=3, profit_low=6.0, profit_expected=8.0, profit_high=10.0, explained=2)
    """

    contacts: int = 0
    profit_low: float = 0.0
    profit_expected: float = 0.0
    profit_high: float = 0.0
    explained: int = 0

    def __add__(self, other: ContactList) -> ContactList:
        return ContactList(
            self.contacts + other.contacts,
            self.profit_low + other.profit_low,
            self.profit_expected + other.profit_expected,
            self.profit_high + other.profit_high,
            self.explained + other.explained,
        )


def contact_columns(value: ValueSettings) -> tuple[str, ...]:
    """Columns of the list after `rank`, without the reasons.

    Examples
    --------
    >>> contact_columns(ValueSettings(save_rate=0.3))
    ('customer_id', 'probability', 'band', 'clv', 'expected_profit')
    """
    ends = ("expected_profit_low", "expected_profit_high") if has_range(value) else ()
    return (ID, "probability", "band", "clv", "expected_profit", *ends)


def best_contacts(
    engine: duckdb.DuckDBPyConnection, parts: Sequence[Path], value: ValueSettings, most: int
) -> list[str]:
    """Ids of the contacts who stand first, at most `most` and at most as many as the capacity allows."""
    limit = most if value.capacity is None else min(most, value.capacity)
    rows = engine.sql(_ranked_sql(parts, (ID,), limit)).fetchall()
    return [customer_id for (customer_id,) in rows]


def write_contacts(
    engine: duckdb.DuckDBPyConnection,
    parts: Sequence[Path],
    path: Path,
    value: ValueSettings,
    reasons: Path | None = None,
) -> ContactList:
    """Write the contact list of finished scores.

    Parameters
    ----------
    engine : DuckDBPyConnection
        From `tenure.source.engine.open_engine`; its memory limit holds for the sort.
    parts : sequence of Path
        Files of scores.
    path : Path
        The list; it appears when it is whole.
    value : ValueSettings
        Its `capacity` bounds the list, and its `save_rate` says whether there is a range.
    reasons : Path, optional
        From `tenure.score.reasons.write_reasons`; without it the list has no such column.
    """
    columns = contact_columns(value)
    total = ContactList()
    ranked_sql = _ranked_sql(parts, columns, value.capacity)
    if reasons is not None:
        columns = (*columns, "reasons")
        ranked_sql = (
            f"SELECT ranked.*, explained.reasons FROM ({ranked_sql}) AS ranked "
            f"LEFT JOIN {reasons_sql(reasons)} AS explained USING ({quote_identifier(ID)}) "
            "ORDER BY expected_profit DESC, customer_id"
        )
    pages = side_by_side(_page, enumerate(ahead(_tables(engine, ranked_sql))))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write((",".join(("rank", *columns)) + "\n").encode())
        for text, subtotal in pages:
            file.write(text)
            total += subtotal
    return total


def _ranked_sql(parts: Sequence[Path], columns: Sequence[str], limit: int | None) -> str:
    chosen = ", ".join(quote_identifier(name) for name in columns)
    limit_sql = "" if limit is None else f"LIMIT {limit:d}"
    return (
        f"SELECT {chosen} FROM {read_parquet_sql(parts)} WHERE decision = {quote_literal(CONTACT)} "
        f"ORDER BY expected_profit DESC, customer_id {limit_sql}"
    )


def _tables(engine: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pa.Table]:
    rows = engine.sql(sql).to_arrow_reader(_CHUNK_ROWS)
    # Tables of one exact length: the totals are sums of floats, whose last digits depend on what is summed together.
    return rechunk((pa.Table.from_batches([batch]) for batch in rows), _CHUNK_ROWS)


def _page(numbered: tuple[int, pa.Table]) -> tuple[pa.Buffer, ContactList]:
    """Some rows of the list as CSV, and what they add up to."""
    number, table = numbered
    text = pa.BufferOutputStream()
    pa_csv.write_csv(_readable(table, number * _CHUNK_ROWS), text, pa_csv.WriteOptions(include_header=False))
    return text.getvalue(), _subtotal(table)


def _readable(table: pa.Table, before: int) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(index, field, pc.round(table.column(index), _DECIMALS))
    return table.add_column(0, "rank", pa.array(np.arange(before + 1, before + 1 + table.num_rows)))


def _subtotal(table: pa.Table) -> ContactList:
    expected = pc.sum(table.column("expected_profit")).as_py()
    explained = pc.count(table.column("reasons")).as_py() if "reasons" in table.column_names else 0
    if "expected_profit_low" not in table.column_names:
        return ContactList(table.num_rows, expected, expected, expected, explained)
    low, high = (pc.sum(table.column(f"expected_profit_{end}")).as_py() for end in ("low", "high"))
    return ContactList(table.num_rows, low, expected, high, explained)
