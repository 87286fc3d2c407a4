from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenure.core.errors import ConfigError
from tests.source.project import balanced, day, document, rows_of, take_in, write_csv, write_parquet

HEADER = ("id", "joined", "seen", "income", "plan")


def with_customers(tmp_path: Path, rows: list[tuple[Any, ...]], header: Any = HEADER, **section: Any) -> Any:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    write_csv(tmp_path / "c.csv", header, rows)
    customers = {"path": "c.csv", "id": "id", **section}
    return take_in(
        tmp_path, document({"login": {"path": "log.csv"}}, customers=customers, contract={"max_rejects": 1.0})
    )


def report_of(done: Any, source: str = "customers") -> Any:
    return next(report for report in done.report.sources if report.source == source)


def test_attributes_are_numbers_or_text(tmp_path: Path) -> None:
    rows = [("a", "2020-01-01", "", "100.5", "pro"), ("b", "", "", " 7 ", ""), ("c", "2021-06-01", "", "", "basic")]
    done = with_customers(tmp_path, rows, since="joined", attributes=["income", "plan"])
    table = done.history.customers
    assert table.attributes == (("income", "number"), ("plan", "text"))
    assert (table.rows, table.has_since, table.has_known_at) == (3, True, False)
    assert rows_of(table.paths) == [
        ("a", day("2020-01-01"), 100.5, "pro"),
        ("b", None, 7.0, None),
        ("c", day("2021-06-01"), None, "basic"),
    ]


@pytest.mark.parametrize(
    ("values", "kind", "rejected"),
    [
        (["1", "2", ""], "number", 0),
        (["1", "2", "inf"], "number", 1),
        (["01069", "20095", "80331"], "text", 0),
        (["1", "2", "n/a"], "text", 0),
        ([str(n) for n in range(199)] + ["n/a"], "number", 1),
        (["0", "0.5", "0"], "number", 0),
        (["a", "b"], "text", 0),
        (["True", "False"], "text", 0),
        (["", ""], "text", 0),
    ],
)
def test_text_columns_are_numbers_if_nearly_all_their_values_are(
    tmp_path: Path, values: list[str], kind: str, rejected: int
) -> None:
    rows = [(f"c{n}", value) for n, value in enumerate(values)]
    done = with_customers(tmp_path, rows, ("id", "x"), attributes=["x"])
    assert done.history.customers.attributes == (("x", kind),)
    assert report_of(done).rejected_rows == rejected


def test_a_column_that_is_mostly_numbers_but_not_read_so_is_said(tmp_path: Path) -> None:
    rows = [(f"c{n}", value) for n, value in enumerate(["1", "2", "3", "5+"])]
    done = with_customers(tmp_path, rows, ("id", "x"), attributes=["x"])
    assert "column 'x' is read as text: 3 of 4 values are numbers, '5+' is not" in report_of(done).warnings


def test_typed_attributes_keep_their_kind(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("1", "2026-01-05")])
    columns = {"id": [1, 2], "n": [1, None], "x": [0.5, float("nan")], "yes": [True, False], "s": ["1", "2"]}
    write_parquet(tmp_path / "c.parquet", columns)
    customers = {"path": "c.parquet", "id": "id", "attributes": ["n", "x", "yes", "s"]}
    settings = document({"login": {"path": "log.csv"}}, customers=customers, contract={"max_rejects": 1.0})
    done = take_in(tmp_path, settings)
    assert done.history.customers is not None
    assert done.history.customers.attributes == (("n", "number"), ("x", "number"), ("yes", "number"), ("s", "number"))
    assert rows_of(done.history.customers.paths) == [("1", 1.0, 0.5, 1.0, 1.0)]
    assert report_of(done).rejected == {"x is not finite": 1}


def test_a_date_is_no_attribute(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("1", "2026-01-05")])
    write_parquet(tmp_path / "c.parquet", {"id": ["a"], "birthday": [day("2000-01-01")]})
    customers = {"path": "c.parquet", "id": "id", "attributes": ["birthday"]}
    with pytest.raises(ConfigError, match="'birthday' holds TIMESTAMP, which is neither a number nor text"):
        take_in(tmp_path, document({"login": {"path": "log.csv"}}, customers=customers))


def test_equal_rows_are_one_customer(tmp_path: Path) -> None:
    done = with_customers(tmp_path, [("a", "", "", "1", "x")] * 3, attributes=["income"])
    report = report_of(done)
    assert report.rejected == {"duplicate customer": 2}
    assert (report.reject_share, report.accepted) == (0.0, 1)
    assert balanced(report)


def test_of_contradicting_rows_none_holds(tmp_path: Path) -> None:
    rows = [("a", "", "", "1", ""), ("a", "", "", "2", ""), ("a", "", "", "1", ""), ("b", "", "", "3", "")]
    done = with_customers(tmp_path, rows, attributes=["income"])
    assert report_of(done).rejected == {"duplicate customer, other content": 3}
    assert rows_of(done.history.customers.paths) == [("b", 3.0)]


def test_rows_of_several_times_speak_for_their_times(tmp_path: Path) -> None:
    rows = [
        ("a", "", "2026-01-01", "1", ""),
        ("a", "", "2026-01-02", "2", ""),
        ("a", "", "2026-01-02", "2", ""),
        ("b", "", "2026-01-02", "3", ""),
        ("b", "", "2026-01-02", "4", ""),
        ("c", "", "", "5", ""),
    ]
    done = with_customers(tmp_path, rows, known_at="seen", attributes=["income"])
    assert report_of(done).rejected == {
        "duplicate customer, other content": 2,
        "duplicate customer": 1,
        "missing known_at": 1,
    }
    assert rows_of(done.history.customers.paths) == [("a", day("2026-01-01"), 1.0), ("a", day("2026-01-02"), 2.0)]


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    rows = [
        ("", "", "", "", ""),
        ("a", "soon", "", "", ""),
        ("b", "2200-01-01", "", "", ""),
        ("c", "1900-01-01", "", "", ""),
    ]
    report = report_of(with_customers(tmp_path, rows, since="joined"))
    assert report.rejected == {
        "missing customer": 1,
        "since in the future": 1,
        "since out of range": 1,
        "unreadable since": 1,
    }


def test_customers_that_no_event_knows_are_said(tmp_path: Path) -> None:
    done = with_customers(tmp_path, [("A", "", "", "", ""), ("b", "", "", "", "")])
    (warning,) = report_of(done).warnings
    assert warning.startswith("none of 2 customers looked at has an event")
    assert "'A'" in warning
    assert "'a'" in warning
    assert done.report.warnings == (f"customers: {warning}",)
    assert report_of(with_customers(tmp_path, [("a", "", "", "", "")])).warnings == ()
