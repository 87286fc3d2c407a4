from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.config import settings_from
from tenure.core.errors import ConfigError
from tests.source.project import day, document, logins, only_report, take_in_events

JAN5 = day("2026-01-05")


def fold(rows: list[dict[str, Any]], *, recorded: bool = False, **more: Any) -> Any:
    names = ["customer_id", "time", "id", "amount", "shop", *(["recorded"] if recorded else [])]
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    with tempfile.TemporaryDirectory() as folder:
        done = take_in_events(
            Path(folder), path="lines", tables={"lines": table}, id="id", lines=True, values=["amount"],
            categories=["shop"], **({"recorded": "recorded"} if recorded else {}), **more,
        )  # fmt: skip
        return done, logins(done)


def line(customer: str = "ana", time: Any = JAN5, id: str = "b1", **more: Any) -> dict[str, Any]:  # noqa: A002
    return {"customer_id": customer, "time": time, "id": id, "amount": 1.0, "shop": "s1", **more}


def test_lines_of_one_id_are_one_event_with_summed_values() -> None:
    done, events = fold([line(amount=1.5), line(amount=2.0), line(amount=None), line(id="b2", amount=None)])
    assert events == [("ana", JAN5, "b1", 3.5, "s1"), ("ana", JAN5, "b2", None, "s1")]
    report = only_report(done)
    assert (report.rows, report.accepted, report.results) == (4, 4, 2)
    assert not done.history.events["login"].has_recorded


def test_equal_lines_are_kept_and_counted() -> None:
    done, events = fold([line(), line(), line(), line(amount=2.0)])
    assert events[0][3] == 5.0
    assert only_report(done).repeated_lines == 2
    assert only_report(done).rejected == {}


def test_an_event_happens_with_its_first_line_and_is_known_with_its_last() -> None:
    done, events = fold([line(time=JAN5 + timedelta(hours=hours)) for hours in (30, 0, 2)])
    assert done.history.events["login"].has_recorded
    assert events == [("ana", JAN5, JAN5 + timedelta(hours=30), "b1", 3.0, "s1")]
    assert only_report(done).warnings[0].startswith("1 events have lines at several times")


def test_lines_are_known_when_they_were_recorded_or_else_when_they_happened() -> None:
    day_after = JAN5 + timedelta(days=1)
    late = JAN5 + timedelta(days=3)
    rows = [
        line(recorded=day_after),
        line(time=late, recorded=None),
        line(id="b2", recorded=day_after),
        line(id="b2", recorded=late),
        line(id="b3", recorded=None),
    ]
    _, events = fold(rows, recorded=True)
    assert [(event[3], event[2]) for event in sorted(events, key=lambda event: str(event[3]))] == [
        ("b1", late),
        ("b2", late),
        ("b3", None),
    ]


def test_an_id_that_two_customers_share_is_two_events_and_is_said() -> None:
    done, events = fold([line(), line("bo", amount=2.0), line(amount=3.0)])
    assert [(event[0], event[3]) for event in events] == [("ana", 4.0), ("bo", 2.0)]
    assert only_report(done).warnings == (
        "1 ids are shared by several customers: each customer has an event of their own",
    )


@pytest.mark.parametrize(
    ("shops", "winner"),
    [
        (["s2", "s1", "s2"], "s2"),
        (["s2", "s1"], "s1"),
        ([None, None, "s3"], "s3"),
        ([None], None),
        (["b", "a", "c", "c", "a"], "a"),
    ],
)
def test_the_category_of_most_lines_wins_and_ties_go_by_alphabet(shops: list[str | None], winner: str | None) -> None:
    for order in (shops, shops[::-1]):
        _, events = fold([line(shop=shop, amount=n) for n, shop in enumerate([None, *order])][1:])
        assert events[0][4] == winner


def test_a_bad_line_is_rejected_and_the_others_stay() -> None:
    done, events = fold([line(amount=1.0), line(amount=float("nan")), line(id="", amount=1.0)])
    assert events == [("ana", JAN5, "b1", 1.0, "s1")]
    assert only_report(done).rejected == {"amount is not finite": 1, "missing id": 1}


def test_lines_need_an_id() -> None:
    with pytest.raises(ConfigError, match="lines = true needs id"):
        settings_from(document({"login": {"path": "x.csv", "lines": True}}))


lines = st.builds(
    line,
    customer=st.sampled_from(["ana", "bo"]),
    time=st.integers(0, 3).map(lambda n: JAN5 + timedelta(hours=n)),
    id=st.sampled_from(["b1", "b2", "b3"]),
    amount=st.none() | st.integers(-64, 64).map(lambda n: n / 8),
    shop=st.none() | st.sampled_from("abc"),
)


@given(rows=st.lists(lines, min_size=1, max_size=40))
@settings(max_examples=25)
def test_folding_equals_folding_by_hand(rows: list[dict[str, Any]]) -> None:
    done, events = fold(rows)
    groups = defaultdict(list)
    for row in rows:
        groups[row["customer_id"], row["id"]].append(row)
    expected = set()
    for (customer, number), group in groups.items():
        times, shops = [row["time"] for row in group], [row["shop"] for row in group if row["shop"] is not None]
        amounts = [row["amount"] for row in group if row["amount"] is not None]
        shop = min(shops, key=lambda shop: (-shops.count(shop), shop)) if shops else None
        known = (max(times) if min(times) < max(times) else None,)
        has_recorded = done.history.events["login"].has_recorded
        total = sum(amounts) if amounts else None
        expected.add((customer, min(times), *(known if has_recorded else ()), number, total, shop))
    assert set(events) == expected
    assert len(events) == len(expected)
