from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.errors import ContractError
from tenure.source.contract import judge
from tenure.source.history import SourceReport
from tests.source.project import (
    balanced,
    document,
    logins,
    only_report,
    rejects,
    take_in,
    take_in_events,
    write_csv,
)

HEADER = ("customer_id", "time", "recorded", "id", "amount", "kind")
LOG: dict[str, Any] = {"recorded": "recorded", "id": "id", "values": ["amount"], "categories": ["kind"]}


def good(n: int) -> list[str]:
    return [f"c{n % 7}", f"2026-01-{n % 28 + 1:02d} 10:00", "", f"e{n}", str(n), "web"]


# One row for each way to be wrong: the column, what is in it, and the reason that has to be given.
FAULTS = [
    (0, "", "missing customer"),
    (0, " \t ", "missing customer"),
    (1, "", "missing time"),
    (1, "yesterday", "unreadable time"),
    (1, "31/12/2025", "unreadable time"),
    (1, "1970-01-01", "time out of range"),
    (1, "0", "time out of range"),
    (1, "1970-12-31T23:59:59.999999Z", "time out of range"),
    (1, "2200-01-01", "time in the future"),
    (1, "2026-02-01T00:05:00.000001", "time in the future"),
    (2, "soon", "unreadable recorded time"),
    (2, "2030-01-01", "recorded time in the future"),
    (2, "1969-01-01", "recorded time out of range"),
    (3, "", "missing id"),
    (4, "ten", "amount is not a number"),
    (4, "1,5", "amount is not a number"),
    (4, "inf", "amount is not finite"),
    (4, "-Infinity", "amount is not finite"),
    (4, "NaN", "amount is not finite"),
    (4, "1e999", "amount is not finite"),
]


def test_every_planted_fault_is_counted_under_its_reason(tmp_path: Path) -> None:
    rows = [good(n) for n in range(100)]
    for n, (column, content, _) in enumerate(FAULTS, start=100):
        row = good(n)
        row[column] = content
        rows.insert(n * 37 % len(rows), row)
    write_csv(tmp_path / "log.csv", HEADER, rows)
    report = only_report(take_in_events(tmp_path, path="log.csv", **LOG))
    assert report.rejected == Counter(reason for _, _, reason in FAULTS)
    assert (report.rows, report.accepted, report.results) == (100 + len(FAULTS), 100, 100)
    assert balanced(report)


def test_the_rejects_file_shows_each_row_with_the_offending_value(tmp_path: Path) -> None:
    bad = good(1)
    bad[4] = "ten"
    write_csv(tmp_path / "log.csv", HEADER, [good(0), bad])
    report = only_report(take_in_events(tmp_path, path="log.csv", **LOG))
    (row,) = rejects(report)
    shown = json.loads(row.pop("row"))
    assert row == {
        "reason": "amount is not a number",
        "column": "amount",
        "value": "ten",
        "file": str(tmp_path / "log.csv"),
    }
    assert shown == dict(zip(HEADER, [*bad[:2], None, *bad[3:]], strict=True))


def test_the_first_reason_counts(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", HEADER, [["", "soon", "soon", "", "ten", ""]])
    report = only_report(take_in_events(tmp_path, path="log.csv", **LOG))
    assert report.rejected == {"missing customer": 1}


def test_the_edges_of_what_is_allowed_are_allowed(tmp_path: Path) -> None:
    times = ["1971-01-01T00:00:00Z", "2026-02-01T00:05:00Z"]
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", time) for time in times])
    report = only_report(take_in_events(tmp_path, path="log.csv"))
    assert (report.accepted, report.rejected) == (2, {})


def bad_share(tmp_path: Path, bad: int, rows: int = 1000, **more: Any) -> Any:
    content = [("" if n < bad else f"c{n}", "2026-01-05") for n in range(rows)]
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), content)
    return take_in(tmp_path, document({"login": {"path": "log.csv"}}, **more))


def test_one_percent_is_tolerated_and_more_stops_the_run(tmp_path: Path) -> None:
    assert only_report(bad_share(tmp_path, 10)).rejected == {"missing customer": 10}
    with pytest.raises(ContractError) as caught:
        bad_share(tmp_path, 11)
    error = caught.value
    assert error.exit_code == 2
    assert error.message.splitlines() == [
        "events.login (log.csv): 11 of 1,000 rows (1.10 %) break the contract; contract.max_rejects allows 1 %.",
        "  11  missing customer",
        f"  Every one of them is in {tmp_path / '.tenure/rejects/events.login.csv'}.",
    ]
    assert "where = '\"customer_id\" IS NOT NULL'" in error.hint
    assert error.ids["rejected"] == {"events.login": {"missing customer": 11}}
    assert len(rejects(SourceReport("", "", 0, rejects=error.ids["rejects"][0]))) == 11  # type: ignore[index]


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    assert only_report(bad_share(tmp_path, 11, contract={"max_rejects": 0.02})).accepted == 989
    with pytest.raises(ContractError):
        bad_share(tmp_path, 1, contract={"max_rejects": 0})


def test_rows_that_where_leaves_out_are_no_part_of_the_share(tmp_path: Path) -> None:
    rows = [("a", "2026-01-05", "1")] * 50 + [("a", "2026-01-05", "0")] * 949 + [("", "2026-01-05", "1")]
    write_csv(tmp_path / "log.csv", ("customer_id", "time", "ok"), rows)
    with pytest.raises(ContractError, match="1 of 51 rows"):
        take_in(tmp_path, document({"login": {"path": "log.csv", "where": "ok = 1"}}))


def test_all_sections_are_judged_before_the_run_stops(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ("customer_id", "time"), [("", "2026-01-05")])
    write_csv(tmp_path / "b.csv", ("customer_id", "time"), [("a", "x"), ("b", "2026-01-05")])
    with pytest.raises(ContractError) as caught:
        take_in(tmp_path, document({"login": {"path": "a.csv"}, "order": {"path": "b.csv"}}))
    assert caught.value.ids["sources"] == ["events.login", "events.order"]
    assert 'unreadable time, for example "x"' in str(caught.value)


def test_a_value_that_where_cannot_read_makes_a_reject(tmp_path: Path) -> None:
    rows = [("a", "2026-01-05", amount) for amount in ("1", "0", "", "many")]
    write_csv(tmp_path / "log.csv", ("customer_id", "time", "amount"), rows)
    report = only_report(take_in_events(tmp_path, path="log.csv", where="amount > 0"))
    assert (report.rows, report.filtered, report.accepted) == (4, 2, 1)
    assert report.rejected == {"amount is unreadable in where": 1}
    assert rejects(report)[0]["value"] == "many"


def test_a_report_is_plain_json(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05"), ("", "x")])
    done = take_in_events(tmp_path, path="log.csv")
    read = json.loads(json.dumps(asdict(done.report)))
    assert read["sources"][0]["rejected"] == {"missing customer": 1}
    assert done.report.rows == 2


def test_a_share_of_nothing_is_no_breach() -> None:
    judge([SourceReport("events.login", "log.csv", rows=5, filtered=5)], 0.0)


# The property: whatever the rows are, each is in the report exactly once.


@dataclass(frozen=True)
class Dirty:
    """A row as text, and what has to become of it, found by plain Python."""

    cells: tuple[str, str, str, str]
    fate: str


def fate(customer: str, time: str, amount: str, kind: str) -> str:
    if kind not in {"login", "order"}:
        return "other"
    if amount == "many":
        return "rejected"
    if amount in {"-3", ""}:
        return "filtered"
    bad = not customer.strip() or time not in {"2026-01-05", "2026-01-05T10:00:00Z", "1767571200"} or amount == "inf"
    return "rejected" if bad else "accepted"


dirty_rows = st.builds(
    lambda *cells: Dirty(cells, fate(*cells)),
    st.sampled_from(["ana", "01", "1", " ", "", "Zoë", "顧客", 'say "hi", twice', "line\nbreak"]),
    st.sampled_from(["2026-01-05", "2026-01-05T10:00:00Z", "1767571200", "", "soon", "1970-01-01", "2200-01-01"]),
    st.sampled_from(["1", "2.5", "-3", "", "many", "inf"]),
    st.sampled_from(["login", "order", "logout", ""]),
)


@given(rows=st.lists(dirty_rows, min_size=1, max_size=60))
@settings(max_examples=40)
def test_every_row_of_a_dirty_log_is_accounted_for(rows: list[Dirty]) -> None:
    section = {"path": "log.csv", "type": "kind", "values": ["amount"], "where": "amount > 0"}
    wanted = {name: [row.fate for row in rows if row.cells[3] == name] for name in ("login", "order")}
    if any(fates and set(fates) == {"filtered"} for fates in wanted.values()):
        return  # that where leaves nothing is an error of its own
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("customer_id", "time", "amount", "kind")])
        csv.writer(text, lineterminator="\n").writerows(row.cells for row in rows)
        (root / "log.csv").write_text(text.getvalue(), encoding="utf-8")
        done = take_in(root, document({"login": section, "order": section}, contract={"max_rejects": 1.0}))
        for report in done.report.sources:
            fates = Counter(wanted[report.source.removeprefix("events.")])
            found = {"filtered": report.filtered, "accepted": report.accepted, "rejected": report.rejected_rows}
            assert {name: count for name, count in found.items() if count} == fates
            assert balanced(report)
        others = sum(sum(types.values()) for types in done.report.other_types.values())
        assert others == sum(row.fate == "other" for row in rows)
        assert done.report.rows == len(rows)
        assert sorted(customer for (customer,) in logins(done, "customer_id")) == sorted(
            row.cells[0] for row in rows if row.fate == "accepted" and row.cells[3] == "login"
        )
