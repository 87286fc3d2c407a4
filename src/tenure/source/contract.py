"""The contract that every row of a source is held to.

Enters: a relation, the fields of its canonical table and the user's condition. Leaves: a temporary table in which every
row that was asked for is either read (`fault = 0`) or carries the number of the first reason against it, together with
the row as it came; then counts, a rejects file and, where there are too many, `ContractError`.
Invariant: rows read = rows left out by `where` + accepted + rejected. A row is judged once, in one scan of the source,
so that the numbers hold even for a source that changes while it is read.

Each layer of the query adds what the next one needs: the values as they came, the ways in which times are written, the
values as they were read, the fault, and for faulty rows alone what the rejects file shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from tenure.core.errors import ContractError
from tenure.core.files import atomic_path
from tenure.source.engine import quote_identifier, quote_literal
from tenure.source.fields import Check, Field
from tenure.source.history import SourceReport
from tenure.source.protocol import Relation
from tenure.source.where import Condition

__all__ = ["TOLERATED", "Checked", "Tally", "check_rows", "judge", "mark_rows", "tally", "write_rejects"]

_HINTS = {
    "missing": "If such rows are expected, leave them out with where = '{column} IS NOT NULL'.",
    "unreadable": "Write times as 2011-12-09 12:50:00 (ISO 8601), or as a number of seconds since 1970.",
    "malformed": "Correct those lines: every line needs as many fields as the header, in UTF-8.",
    "duplicate id": "If rows that share an id are lines of one event, set lines = true.",
    "duplicate customer": "If rows speak for different times, set known_at to the column that says since when.",
}
_CORRECT = "Correct the source, or raise contract.max_rejects."
# Reasons that are no sign of wrong data: the same row, delivered again.
TOLERATED = ("duplicate id", "duplicate customer", "duplicate period")


@dataclass(frozen=True)
class Checked:
    """A temporary table of judged rows: `fault` 0, or the place of its reason in `reasons`, counted from 1."""

    table: str
    fields: tuple[Field, ...]
    reasons: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int
    filtered: int
    malformed: str | None

    @property
    def table_sql(self) -> str:
        """The table, to stand after FROM."""
        return quote_identifier(self.table)


@dataclass(frozen=True)
class Tally:
    """Rejected rows by reason, most frequent first: how many, in which column, one offending value."""

    reason: str
    count: int
    column: str
    example: str | None


def check_rows(
    engine: duckdb.DuckDBPyConnection,
    relation: Relation,
    fields: Sequence[Field],
    *,
    table: str,
    condition: Condition | None = None,
    belongs_sql: str = "true",
    more: Sequence[Check] = (),
) -> Checked:
    """Read and judge every row of a relation.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where the temporary table is made.
    relation : Relation
        The source.
    fields : sequence of Field
        The columns to read, in the order in which their checks apply.
    table : str
        Name of the temporary table to make.
    condition : Condition, optional
        The user's `where`.
    belongs_sql : str
        Which of the source's rows are meant at all, for example those of one event type.
    more : sequence of Check
        Checks between fields, applied last.
    """
    unread = condition.unreadable if condition else ()
    checks = [
        *(Check(f"{u.column} is unreadable in where", u.column, f"u{n:d}", f"w{n:d}") for n, u in enumerate(unread)),
        *(check for field in fields for check in field.checks),
        *more,
    ]
    base_sql = _base_sql(relation, fields, condition, belongs_sql)
    name_sql = quote_identifier(table)
    judged_sql = _judged_sql(base_sql, fields, checks, relation.places)
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {name_sql} AS {judged_sql}")
    (kept,) = engine.execute(f"SELECT count(*) FROM {name_sql}").fetchone() or (0,)
    rows = kept
    if condition is not None:
        (rows,) = engine.execute(f"SELECT count(*) FROM {relation.sql} WHERE {belongs_sql}").fetchone() or (0,)
    reasons, columns = tuple(check.reason for check in checks), tuple(check.column for check in checks)
    return Checked(table, tuple(fields), reasons, columns, rows, rows - kept, relation.malformed)


def _base_sql(relation: Relation, fields: Sequence[Field], condition: Condition | None, belongs_sql: str) -> str:
    """The values as they came, of the rows that are asked for."""
    columns = [f"{quote_identifier(field.column)} AS {field.raw_sql}" for field in fields]
    kept_sql = "true"
    if condition is not None:
        fails = [f"({condition.sql}) IS NULL AND {unread.fails_sql}" for unread in condition.unreadable]
        columns += [f"{sql} AS u{n:d}" for n, sql in enumerate(fails)]
        columns += [f"{quote_identifier(u.column)} AS w{n:d}" for n, u in enumerate(condition.unreadable)]
        kept_sql = f"({condition.sql}){''.join(f' OR ({sql})' for sql in fails)}"
    return (
        f"SELECT {', '.join(sql for sql in columns)}, {relation.place_sql} AS place FROM {relation.sql} "
        f"WHERE ({belongs_sql}) AND ({kept_sql})"
    )


def _judged_sql(base_sql: str, fields: Sequence[Field], checks: Sequence[Check], places: Sequence[str]) -> str:
    # What only the rejects file shows is computed for faulty rows alone: a CASE looks no further than it must.
    names_sql = ", ".join(quote_literal(place) for place in places)
    place_sql = f"list_extract([{names_sql}], CAST(place AS INTEGER) + 1)" if places else "CAST(place AS VARCHAR)"
    forms_sql = "".join(f", {field.form_sql} AS {field.form_alias_sql}" for field in fields if field.form_sql)
    read_sql = ", ".join(f"{field.value_sql} AS {field.alias_sql}" for field in fields)
    faults_sql = " ".join(f"WHEN {check.fails_sql} THEN {n:d}" for n, check in enumerate(checks, start=1))
    fault_sql = f"CAST(CASE {faults_sql} ELSE 0 END AS SMALLINT)" if checks else "CAST(0 AS SMALLINT)"
    kept_sql = ", ".join(field.alias_sql for field in fields)
    kept_forms_sql = "".join(f", {field.form_alias_sql}" for field in fields if field.form_sql)
    values_sql = f"SELECT *, {read_sql} FROM (SELECT *{forms_sql} FROM ({base_sql}))"
    return (
        f"SELECT {kept_sql}{kept_forms_sql}, fault, CASE WHEN fault > 0 THEN {place_sql} END AS place, "
        f"CASE WHEN fault > 0 THEN {_offending_sql(checks)} END AS offending, "
        f"CASE WHEN fault > 0 THEN {_row_sql(fields)} END AS content "
        f"FROM (SELECT *, {fault_sql} AS fault FROM ({values_sql}))"
    )


def _offending_sql(checks: Sequence[Check]) -> str:
    """The value that the fault is about, as text."""
    cases_sql = " ".join(f"WHEN {n:d} THEN CAST({c.value_sql} AS VARCHAR)" for n, c in enumerate(checks, start=1))
    return f"CASE fault {cases_sql} END" if checks else "CAST(NULL AS VARCHAR)"


def _row_sql(fields: Sequence[Field]) -> str:
    """The whole row as it came, as JSON."""
    raw = {field.column: field.raw_sql for field in fields}
    members_sql = ", ".join(f"{quote_literal(column)}: {value_sql}" for column, value_sql in raw.items())
    return f"CAST(to_json({{{members_sql}}}) AS VARCHAR)"


def mark_rows(
    engine: duckdb.DuckDBPyConnection, checked: Checked, reasons: Sequence[tuple[str, Field]], found_sql: str
) -> Checked:
    """Reject rows that a comparison between rows found; the rejects file shows them as they were read.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where `checked` lives.
    checked : Checked
        The judged rows.
    reasons : sequence of (str, Field)
        New reasons, each with the field to show the value of.
    found_sql : str
        A table of `row_id` (DuckDB's rowid) and `reason`, the place of a new reason, counted from 1.
    """
    before = len(checked.reasons)
    members_sql = ", ".join(f"{quote_literal(field.column)}: {field.alias_sql}" for field in checked.fields)
    shown_sql = " ".join(
        f"WHEN {n:d} THEN CAST({field.alias_sql} AS VARCHAR)" for n, (_, field) in enumerate(reasons, start=1)
    )
    engine.execute(
        f"UPDATE {checked.table_sql} SET fault = {before:d} + found.reason, "
        f"offending = CASE found.reason {shown_sql} END, content = CAST(to_json({{{members_sql}}}) AS VARCHAR) "
        f"FROM {found_sql} AS found WHERE {checked.table_sql}.rowid = found.row_id"
    )
    return replace(
        checked,
        reasons=(*checked.reasons, *(reason for reason, _ in reasons)),
        columns=(*checked.columns, *(field.column for _, field in reasons)),
    )


def tally(engine: duckdb.DuckDBPyConnection, checked: Checked) -> tuple[Tally, ...]:
    """Count the rejected rows by reason."""
    found = engine.execute(
        f"SELECT fault, count(*), min(offending) FROM {checked.table_sql} WHERE fault > 0 GROUP BY fault"
    ).fetchall()
    counts = [Tally(checked.reasons[fault - 1], n, checked.columns[fault - 1], value) for fault, n, value in found]
    if checked.malformed is not None:
        lines, example = engine.execute(
            f"SELECT count(*), min(content) FROM {quote_identifier(checked.malformed)}"
        ).fetchone() or (0, None)
        counts += [Tally("malformed line", lines, "", example)] if lines else []
    return tuple(sorted(counts, key=lambda count: (-count.count, count.reason)))


def write_rejects(engine: duckdb.DuckDBPyConnection, checked: Checked, target: Path) -> None:
    """Write every rejected row with its reason to a CSV file."""
    reasons_sql = ", ".join(quote_literal(reason) for reason in checked.reasons)
    columns_sql = ", ".join(quote_literal(column) for column in checked.columns)
    query_sql = (
        f'SELECT list_extract([{reasons_sql}], fault) AS reason, list_extract([{columns_sql}], fault) AS "column", '
        f'offending AS "value", place AS file, content AS "row" FROM {checked.table_sql} WHERE fault > 0'
    )
    if checked.malformed is not None:
        query_sql += (
            " UNION ALL SELECT 'malformed line', NULL, problem, concat(place, ':', line), content "
            f"FROM {quote_identifier(checked.malformed)}"
        )
    with atomic_path(target) as path:
        engine.execute(f"COPY ({query_sql} ORDER BY ALL) TO {quote_literal(str(path))} (FORMAT csv, HEADER true)")


def judge(reports: Iterable[SourceReport], max_rejects: float) -> None:
    """Stop the run if too many rows of a source are bad.

    Raises
    ------
    ContractError
        More than `max_rejects` of the checked rows of a source were rejected and not merely delivered twice. The
        message names the worst reasons, one of the values behind each, and the file with all of them.

    Examples
    --------
    >>> judge([SourceReport("events.login", "l.csv", rows=200, accepted=199, rejected={"missing customer": 1})], 0.01)
    """
    broken = [report for report in reports if report.reject_share > max_rejects]
    if not broken:
        return
    worst = max(broken, key=lambda report: report.reject_share)
    reason = next(iter(worst.rejected))
    raise ContractError(
        "\n".join(_complaint(report, max_rejects) for report in broken),
        hint=_hint(reason, worst.blamed.get(reason, "")),
        sources=[report.source for report in broken],
        rejected={report.source: dict(report.rejected) for report in broken},
        rejects=[report.rejects for report in broken],
    )


def _complaint(report: SourceReport, max_rejects: float) -> str:
    bad, checked = report.rejected_rows - report.tolerated, report.rows - report.filtered
    share, allowed = _percent(report.reject_share), _percent(max_rejects)
    head = f"{report.source} ({report.origin}): {bad:,} of {checked:,} rows ({share}) break the contract"
    lines = [f"{head}; contract.max_rejects allows {allowed}."]
    width = max(len(f"{count:,}") for count in report.rejected.values())
    for reason, count in list(report.rejected.items())[:5]:
        example = report.examples.get(reason)
        shown = f", for example {json.dumps(example[:80], ensure_ascii=False)}" if example else ""
        again = ", the same row again: does not count" if reason in TOLERATED else ""
        lines.append(f"  {count:>{width},}  {reason}{again}{shown}")
    if len(report.rejected) > 5:
        lines.append(f"  and {len(report.rejected) - 5} more reasons")
    return "\n".join([*lines, f"  Every one of them is in {report.rejects}."])


def _percent(share: float) -> str:
    return f"{share:.2%}".replace(".00%", "%").replace("%", " %")


def _hint(reason: str, column: str) -> str:
    advice = next((text for word, text in _HINTS.items() if reason.startswith(word)), "")
    advice = advice.format(column=quote_identifier(column))
    return f"{advice} Or correct the source, or raise contract.max_rejects." if advice else _CORRECT
