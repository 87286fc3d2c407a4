"""Golden rows cover what a version can meet, and their comparison misses nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.golden import GOLDEN_ROWS, choose_golden, golden_rows, largest_difference, split_golden

RANDOM = np.random.default_rng(0)


def sparse(rows: int, columns: int) -> pa.Table:
    """Columns of which each has exactly one missing value, each in another row."""
    names = [f"c{index}" for index in range(columns)]
    return pa.table({name: [None if row == i else 1.0 for row in range(rows)] for i, name in enumerate(names)})


def test_every_decile_is_covered_evenly() -> None:
    probability = RANDOM.random(10_000) ** 3
    rows = choose_golden(pa.table({"x": np.zeros(10_000)}), probability)
    deciles = np.searchsorted(np.quantile(probability, np.linspace(0.1, 0.9, 9)), probability[rows])
    assert len(rows) == len(set(rows)) == GOLDEN_ROWS
    assert np.bincount(deciles, minlength=10).min() >= 10
    assert {int(probability.argmin()), int(probability.argmax())} <= set(rows.tolist())


def test_a_missing_value_of_every_feature_is_covered() -> None:
    table = sparse(5_000, 60)
    rows = choose_golden(table, RANDOM.random(5_000))
    assert set(range(60)) <= set(rows.tolist())


def test_a_known_value_of_every_feature_is_covered() -> None:
    known = np.full(5_000, np.nan)
    known[4_321] = 1.0
    rows = choose_golden(pa.table({"x": known}), RANDOM.random(5_000))
    assert 4_321 in rows


def test_more_features_than_rows_stay_within_the_limit() -> None:
    rows = choose_golden(sparse(400, 300), RANDOM.random(400))
    assert len(rows) == GOLDEN_ROWS


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 30))
def test_the_choice_is_distinct_sorted_and_as_large_as_it_may_be(probability: list[float], limit: int) -> None:
    table = pa.table({"x": pa.array([None if p < 0.5 else p for p in probability], pa.float64())})
    rows = choose_golden(table, np.array(probability), limit)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == min(limit, len(probability))
    assert set(rows.tolist()) <= set(range(len(probability)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_rows_and_expectations_come_apart_as_they_went_together(probability: list[float]) -> None:
    features = pa.table({"expected_probability": [str(p) for p in probability], "y": [1] * len(probability)})
    back, expected = split_golden(golden_rows(features, np.array(probability)))
    assert back == features
    assert expected.tolist() == probability


@pytest.mark.parametrize(
    ("expected", "found", "difference"),
    [
        ([0.5, 0.25], [0.5, 0.25], 0.0),
        ([0.5, 0.25], [0.5, 0.125], 0.125),
        ([0.5, 0.25], [0.5], float("inf")),
        ([0.5], [float("nan")], float("inf")),
        ([float("nan")], [float("nan")], float("inf")),
        ([float("inf")], [float("inf")], float("inf")),
        ([], [], float("inf")),
    ],
)
def test_only_numbers_that_are_there_can_agree(expected: list[float], found: list[float], difference: float) -> None:
    assert largest_difference(np.array(expected), np.array(found)) == difference
