from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tenure.core.errors import ConfigError, InputError, NotFoundError
from tests.source.project import balanced, only_report, rows_of, take_in_table, write_csv

HEADER = ("who", "plan", "usage", "left")


def read(tmp_path: Path, rows: list[tuple[Any, ...]], header: Any = HEADER, **section: Any) -> Any:
    write_csv(tmp_path / "t.csv", header, rows)
    return take_in_table(tmp_path, **{"path": "t.csv", "label": "left", "positive": "Yes", **section})


def test_every_other_column_is_an_attribute(tmp_path: Path) -> None:
    done = read(tmp_path, [("u1", "pro", "1.5", "Yes"), ("u2", "", "", "No")], id="who")
    assert done.table.attributes == (("plan", "text"), ("usage", "number"))
    assert (done.table.rows, done.table.positives, done.table.has_time) == (2, 1, False)
    assert rows_of(done.table.paths) == [("u1", True, "pro", 1.5), ("u2", False, None, None)]


def test_without_an_id_the_number_of_the_row_is_one(tmp_path: Path) -> None:
    rows = [(f"u{n}", "pro", str(n), "Yes" if n % 2 else "No") for n in range(1, 5001)]
    done = read(tmp_path, rows, where="usage <> 3")
    stored = rows_of(done.table.paths, "customer_id, usage")
    assert stored == [(str(n), float(n)) for n in range(1, 5001) if n != 3]


def test_ignored_columns_are_left_out(tmp_path: Path) -> None:
    done = read(tmp_path, [("u1", "pro", "1", "Yes"), ("u2", "pro", "2", "No")], ignore=["who", "plan"])
    assert done.table.attributes == (("usage", "number"),)
    with pytest.raises(NotFoundError, match=r"table\.ignore = 'plam'.*Did you mean 'plan'"):
        read(tmp_path, [("u1", "pro", "1", "Yes")], ignore=["plam"])


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [
        (pa.array(["Yes", "No", "yes"]), "Yes", [True, False, False]),
        (pa.array(["1", "0", "1.0"]), 1, [True, False, True]),
        (pa.array([1, 0, 1]), 1, [True, False, True]),
        (pa.array([1, 0, 1]), "1", [True, False, True]),
        (pa.array([1.0, 0.0, 1.0]), 1, [True, False, True]),
        (pa.array([True, False, True]), True, [True, False, True]),
        (pa.array([True, False, True]), False, [False, True, False]),
        (pa.array([True, False, True]), "True", [True, False, True]),
        (pa.array([True, False, True]), 1, [True, False, True]),
        (pa.array(["true", "FALSE", "t"]), True, [True, False, True]),
        (pa.array([-1, 0, 2]), 0.0, [False, True, False]),
    ],
)
def test_labels_are_compared_as_what_positive_is(
    tmp_path: Path, labels: pa.Array, positive: Any, expected: list[bool]
) -> None:
    table = pa.table({"left": labels, "x": [1, 2, 3]})
    done = take_in_table(tmp_path, {"t": table}, path="t", label="left", positive=positive)
    assert [label for (label,) in rows_of(done.table.paths, "label")] == expected


def test_a_row_without_a_label_is_kept_for_scoring(tmp_path: Path) -> None:
    rows = [("u1", "pro", "1", "Yes"), ("u2", "pro", "2", "No"), ("u3", "pro", "3", ""), ("u4", "pro", "4", " ")]
    done = read(tmp_path, rows)
    assert (done.table.rows, done.table.labelled, done.table.positives) == (4, 2, 1)
    assert [label for (label,) in rows_of(done.table.paths, "label")] == [True, False, None, None]
    report = only_report(done)
    assert report.rejected == {}
    assert balanced(report)
    assert report.warnings == ("2 of 4 rows have no label: they can be scored, and nothing is learned from them",)


def test_a_label_that_nobody_has_is_an_error_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no row has that label\. Did you mean 'Yes'") as caught:
        read(tmp_path, [("u1", "pro", "1", "Yes"), ("u2", "pro", "2", "No")], positive="yes")
    assert "'left' holds: 'No', 'Yes'" in caught.value.hint


def test_a_label_that_everybody_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to tell apart"):
        read(tmp_path, [("u1", "pro", "1", "Yes"), ("u2", "pro", "2", "Yes")])


def test_more_than_two_labels_are_said(tmp_path: Path) -> None:
    rows = [("u1", "pro", "1", "Yes"), ("u2", "pro", "2", "No"), ("u3", "pro", "3", "Maybe")]
    assert only_report(read(tmp_path, rows)).warnings == (
        "the label has 3 values; all of these mean stayed: 'Maybe', 'No'",
    )


def test_equal_rows_without_an_id_stay_and_are_said(tmp_path: Path) -> None:
    report = only_report(read(tmp_path, [("u1", "pro", "1", "Yes")] * 3 + [("u2", "pro", "2", "No")]))
    assert report.accepted == 4
    assert report.warnings == (
        "2 rows equal another row in every column; they stay, and a split may put one on each side",
    )


def test_an_id_occurs_once(tmp_path: Path) -> None:
    rows = [("u1", "pro", "1", "Yes")] * 2 + [
        ("u2", "pro", "2", "No"),
        ("u3", "pro", "1", "Yes"),
        ("u3", "pro", "2", "Yes"),
    ]
    report = only_report(read(tmp_path, rows, id="who"))
    assert report.rejected == {"duplicate id": 1, "duplicate id, other content": 2}
    assert report.accepted == 2


def test_rows_may_carry_a_time(tmp_path: Path) -> None:
    header = (*HEADER, "at")
    rows = [
        ("u1", "pro", "1", "Yes", "2026-01-01"),
        ("u1", "pro", "1", "No", "2026-01-02"),
        ("u2", "pro", "1", "No", "soon"),
        ("u3", "pro", "1", "No", "2200-01-01"),
    ]
    done = read(tmp_path, rows, header, id="who", time="at")
    assert only_report(done).rejected == {"time in the future": 1, "unreadable time": 1}
    assert (done.table.has_time, str(done.table.first), str(done.table.last)) == (
        True,
        "2026-01-01 00:00:00+00:00",
        "2026-01-02 00:00:00+00:00",
    )


def test_a_column_of_dates_has_to_be_named_or_ignored(tmp_path: Path) -> None:
    table = pa.table({"left": ["Yes", "No"], "since": pa.array([1, 2], pa.date32())})
    with pytest.raises(ConfigError, match="'since' holds DATE"):
        take_in_table(tmp_path, {"t": table}, path="t", label="left", positive="Yes")


def test_a_table_of_the_wrong_kind_of_project_is_an_error(tmp_path: Path) -> None:
    from tenure.core.config import settings_from
    from tenure.core.time import fixed_clock
    from tenure.source.ingest import ingest

    settings = settings_from({"table": {"path": "t.csv", "label": "left", "positive": "Yes"}})
    with pytest.raises(ConfigError, match="has a"):
        ingest(settings, tmp_path, tmp_path / ".tenure", fixed_clock("2026-02-01"))
