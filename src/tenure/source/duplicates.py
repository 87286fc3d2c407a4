"""Rows that share an id.

Enters: judged rows and what makes two of them the same. Leaves: the same rows with all but one of them rejected.
Invariant: whichever order the rows arrived in, the same ones are kept.

A log that is delivered at least once holds some rows twice, and that is no sign of wrong data: a row that says the
same as the one that is kept is rejected as a duplicate, counted and shown, but does not count towards
`contract.max_rejects`. A row that says something else under the same id does count. Of events the first is kept, for
that is what was known first. Of customers nothing tells which of two contradicting rows holds, so none of them is
kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from tenure.source.contract import Checked, mark_rows
from tenure.source.fields import Field

__all__ = ["mark_duplicates"]


def mark_duplicates(
    engine: duckdb.DuckDBPyConnection,
    checked: Checked,
    role: str,
    key: Sequence[Field],
    *,
    first_by: Sequence[str] = (),
    apart: Sequence[Field] = (),
) -> Checked:
    """Reject the rows that share a key with another.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where `checked` lives.
    checked : Checked
        The judged rows; only accepted ones are compared.
    role : str
        What the key is, for the reasons `duplicate {role}` and `duplicate {role}, other content`.
    key : sequence of Field
        The columns that no two rows may share; the first is shown in the rejects file.
    first_by : sequence of str
        SQL expressions by which the first row is found and kept. Empty: contradicting rows are all rejected.
    apart : sequence of Field
        Columns in which the same row may differ when it is delivered again.
    """
    key_sql = ", ".join(field.alias_sql for field in key)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {key_sql} FROM {checked.table_sql} "
        f"WHERE fault = 0 GROUP BY {key_sql} HAVING count(*) > 1"
    )
    (keys,) = engine.execute("SELECT count(*) FROM repeated").fetchone() or (0,)
    if not keys:
        return checked
    content = [field for field in checked.fields if field not in apart]
    content_sql = f"row({', '.join(field.alias_sql for field in content)})"
    order_sql = ", ".join(sql for sql in [*first_by, *(f"{field.alias_sql} NULLS FIRST" for field in checked.fields)])
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE ranked AS SELECT {key_sql}, {checked.table_sql}.rowid AS row_id, "
        f"row_number() OVER w AS nth, {content_sql} IS NOT DISTINCT FROM first_value({content_sql}) OVER w AS same "
        f"FROM {checked.table_sql} SEMI JOIN repeated USING ({key_sql}) WHERE fault = 0 "
        f"WINDOW w AS (PARTITION BY {key_sql} ORDER BY {order_sql})"
    )
    agree_sql = "true" if first_by else f"bool_and(same) OVER (PARTITION BY {key_sql})"
    found_sql = (
        f"(SELECT row_id, CASE WHEN same AND agree THEN 1 ELSE 2 END AS reason "
        f"FROM (SELECT *, {agree_sql} AS agree FROM ranked) WHERE nth > 1 OR NOT agree)"
    )
    reasons = [(f"duplicate {role}", key[0]), (f"duplicate {role}, other content", key[0])]
    return mark_rows(engine, checked, reasons, found_sql)
