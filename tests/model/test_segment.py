"""Every row is in one segment of a column, shares are plain shares, and little evidence says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from tenure.model.segment import FEW, MOST_VALUES, Grouping, Judged, find_groupings, judge_segments, wilson

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "new", None]), st.one_of(st.none(), st.floats(-9, 9)), st.booleans(), st.booleans(),
        st.floats(0.01, 1),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def world(rows: list[Any]) -> tuple[Judged, pa.Table]:
    plan, visits, label, contacted, chance = zip(*rows, strict=True)
    judged = Judged(np.array(label), np.array(contacted), np.array(chance), np.arange(len(rows)))
    return judged, pa.table({"plan": pa.array(plan, pa.string()), "visits": pa.array(visits, pa.float64())})


@given(ROWS)
def test_the_segments_of_a_column_are_all_rows_once(rows: list[Any]) -> None:
    judged, features = world(rows)
    groupings = (Grouping("plan", ("a", "b")), Grouping("visits", borders=(-1.0, 2.5)))
    found = judge_segments(judged, features, groupings)
    for column in ("plan", "visits"):
        parts = [segment for segment in found if segment.column == column]
        assert sum(segment.rows for segment in parts) == len(rows)
        assert sum(segment.churners for segment in parts) == judged.label.sum()
        share = sum(segment.contacted_share * segment.rows for segment in parts) / len(rows)
        assert share == pytest.approx(judged.contacted.mean())


@given(ROWS)
def test_a_segment_is_judged_by_its_own_rows(rows: list[Any]) -> None:
    judged, features = world(rows)
    plan_of = {"a": "a", "other": "new", "missing": None}
    for segment in judge_segments(judged, features, (Grouping("plan", ("a", "b")),)):
        if segment.value == "b":
            continue
        own = [row for row in rows if row[0] == plan_of[segment.value]]
        assert segment.rows == len(own)
        lost = [row for row in own if row[2]]
        assert (segment.recall is None) == (not lost)
        if segment.recall is not None:
            assert segment.recall.value == pytest.approx(sum(row[3] for row in lost) / len(lost))
            assert 0 <= segment.recall.low <= segment.recall.value <= segment.recall.high <= 1
        assert segment.observed_expected is not None
        assert segment.observed_expected.value == pytest.approx(len(lost) / sum(row[4] for row in own))


def test_borders_are_thirds_and_belong_to_the_lower_part() -> None:
    features = pa.table({"visits": [1, 2, 3, 4, 5, 6, None], "site": ["x"] * 7})
    (grouping,) = find_groupings(features, ["site", "visits"])
    assert grouping.borders == (3.0, 5.0)
    judged = Judged(np.zeros(7, bool), np.zeros(7, bool), np.full(7, 0.1), np.arange(7))
    found = judge_segments(judged, features, (grouping,))
    assert [(part.value, part.rows) for part in found] == [
        ("up to 3", 3), ("above 3, up to 5", 2), ("above 5", 1), ("missing", 1),
    ]  # fmt: skip


def test_columns_that_tell_nobody_apart_are_left_out() -> None:
    table = pa.table({
        "site": ["x"] * 40, "street": [f"s{n}" for n in range(40)], "plan": ["a", "b"] * 20,
        "constant": [1.0] * 40, "empty": pa.array([None] * 40, pa.float64()), "zero": [0.0] * 39 + [5.0],
    })  # fmt: skip
    found = find_groupings(table, ["zero", *table.column_names[:-1]])
    assert [grouping.column for grouping in found] == ["plan", "zero"]
    assert found[1].borders == (0.0,)
    many = pa.table({"shop": [f"s{n % 20:02d}" for n in range(40)]})
    assert len(find_groupings(many, ["shop"])[0].values) == MOST_VALUES


def test_the_most_interesting_columns_of_either_kind_are_taken() -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {f"t{n}": random.choice(["a", "b"], 200) for n in range(6)}
        | {f"n{n}": random.normal(size=200) for n in range(5)}
    )
    names = ["n4", "t5", "t0", "n1", "t2", "t1", "n0", "t3", "n2"]
    assert [g.column for g in find_groupings(table, names)] == ["t5", "t0", "t2", "t1", "n4", "n1", "n0"]


def test_a_column_that_tells_the_same_is_passed_over() -> None:
    visits = np.arange(300.0)
    table = pa.table({"visits": visits, "visits_28d": visits + np.sin(visits), "spend": visits[::-1] % 97})
    assert [g.column for g in find_groupings(table, ["visits", "visits_28d", "spend"])] == ["visits", "spend"]


def test_borders_are_said_as_they_are_used() -> None:
    random = np.random.default_rng(0)
    table = pa.table({"days": random.exponential(9, 999), "spend": np.arange(999.0) * 5000})
    days, spend = find_groupings(table, ["days", "spend"])
    assert days.borders == tuple(float(f"{border:.3g}") for border in days.borders)
    judged = Judged(np.zeros(999, bool), np.zeros(999, bool), np.full(999, 0.1), np.arange(999))
    names = [segment.value for segment in judge_segments(judged, table, (days, spend))]
    assert names[:3] == [
        f"up to {days.borders[0]:g}", f"above {days.borders[0]:g}, up to {days.borders[1]:g}",
        f"above {days.borders[1]:g}",
    ]  # fmt: skip
    assert names[3] == "up to 1,665,000"
    rows = [segment.rows for segment in judge_segments(judged, table, (days,))]
    assert rows[0] == (table["days"].to_numpy() <= days.borders[0]).sum()


def test_small_segments_say_so_by_customers_and_not_by_rows() -> None:
    for customers, small in ((2 * FEW, False), (2 * FEW - 2, True)):
        group = np.repeat(np.arange(customers), 5)
        label = group % 2 == 0
        judged = Judged(label, label, np.full(len(group), 0.5), group)
        (segment,) = judge_segments(judged, pa.table({"plan": ["a"] * len(group)}), (Grouping("plan", ("a",)),))
        assert segment.is_small == small
        assert segment.recall is not None
        assert segment.recall.low == pytest.approx(wilson(1, 1, customers / 2).low)


@pytest.mark.parametrize(("share", "trials"), [(0.5, 40), (0.1, 60), (0.9, 200)])
def test_wilson_holds_the_true_share_about_as_often_as_it_says(share: float, trials: int) -> None:
    covered = sum(
        float(binom.pmf(count, trials, share))
        for count in range(trials + 1)
        if (estimate := wilson(count, trials, trials)).low <= share <= estimate.high
    )
    assert 0.92 < covered < 0.98
