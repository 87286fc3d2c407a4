"""Lines that become events.

Enters: judged rows of which several may share an id: the lines of a basket, an invoice, an order. Leaves: one row per
customer and id. Invariant: no line is lost, and no event is known before all of its lines are.

- An event belongs to a customer *and* an id: numbers of receipts start again in every shop and every year, so two
  customers may share one. That is said in the report, and the events stay apart.
- Its time is that of its earliest line. It counts from the moment at which its latest line is known: `recorded` is the
  latest of the lines' own `recorded`, or of their times where they have none. Without that, a line that was added on
  Friday would already be in the sum on Thursday. If no source column says when lines were recorded, and the lines of
  every event lie at one time, there is nothing to remember and no `recorded`.
- Values are summed, with compensation for rounding so that the order of the lines does not matter; an absent value adds
  nothing, and a value that no line has is absent.
- A category is the one that most of the lines have; of several, the first in alphabetical order; lines without one have
  no vote.
- Lines that are equal in every column read stay: two bottles of milk are two lines. Their number is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from tenure.source.contract import Checked
from tenure.source.engine import quote_identifier
from tenure.source.fields import Field

__all__ = ["Folded", "fold_lines"]


@dataclass(frozen=True)
class Folded:
    """Events that lines were folded into, and what was odd about the lines.

    `query_sql` gives the events with their canonical columns, in no order.
    `spread` counts the events whose lines lie at several times, `shared_ids` the ids that several customers have,
    `repeated` the lines that equal another line of their event in every column read.
    """

    query_sql: str
    events: int
    spread: int
    shared_ids: int
    repeated: int


def fold_lines(
    engine: duckdb.DuckDBPyConnection, checked: Checked, values: Sequence[Field], categories: Sequence[Field]
) -> Folded:
    """Fold the accepted lines into events.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where `checked` lives and the folded table is made.
    checked : Checked
        The judged lines, with the fields `customer_id`, `time`, `id` and, where configured, `recorded`.
    values, categories : sequence of Field
        The fields to sum and those to vote on.
    """
    named = {field.name: field for field in checked.fields}
    customer_sql, id_sql, time_sql = (named[name].alias_sql for name in ("customer_id", "id", "time"))
    own_sql = named["recorded"].alias_sql if "recorded" in named else ""
    known_sql = f"coalesce({own_sql}, {time_sql})" if own_sql else time_sql
    folded_sql = quote_identifier(f"{checked.table} folded")
    sums_sql = "".join(f", fsum({field.alias_sql}) AS {field.alias_sql}" for field in values)
    votes_sql = "".join(
        f", mode({field.alias_sql} ORDER BY {field.alias_sql}) AS {field.alias_sql}" for field in categories
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE {folded_sql} AS SELECT {customer_sql} AS customer_id, min({time_sql}) AS time, "
        f"CASE WHEN {f'count({own_sql}) > 0 OR ' if own_sql else ''}min({time_sql}) < max({time_sql}) "
        f"THEN max({known_sql}) END AS recorded, {id_sql} AS id{sums_sql}{votes_sql}, "
        f"min({time_sql}) < max({time_sql}) AS is_spread "
        f"FROM {checked.table_sql} WHERE fault = 0 GROUP BY {customer_sql}, {id_sql}"
    )
    events, spread, shared = engine.execute(
        f"SELECT count(*), count(*) FILTER (is_spread), count(*) - count(DISTINCT id) FROM {folded_sql}"
    ).fetchone() or (0, 0, 0)
    recorded_sql = "recorded, " if own_sql or spread else ""
    summed_sql = "".join(f", {field.alias_sql} AS {field.name_sql}" for field in (*values, *categories))
    query_sql = f"SELECT customer_id, time, {recorded_sql}id{summed_sql} FROM {folded_sql}"
    return Folded(query_sql, events, spread, shared, _repeated(engine, checked))


def _repeated(engine: duckdb.DuckDBPyConnection, checked: Checked) -> int:
    columns_sql = ", ".join(field.alias_sql for field in checked.fields)
    (repeated,) = engine.execute(
        f"SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM {checked.table_sql} "
        f"WHERE fault = 0 GROUP BY {columns_sql} HAVING count(*) > 1)"
    ).fetchone() or (0,)
    return int(repeated)
