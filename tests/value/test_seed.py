"""The popular score adds up as it is defined, and what is wrong with it shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.value.seed import seed_threshold, seed_value
from tenure.value.threshold import t_star

VALUE = ValueSettings(clv=600, contact_cost=10, incentive_cost=0, save_rate=0.3)
ROWS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.one_of(st.just(float("nan")), st.floats(0, 1000))), min_size=1
)


@given(ROWS)
def test_the_score_is_the_sum_of_its_four_kinds(rows: list[tuple[bool, bool, float]]) -> None:
    expected = 0.0
    for lost, contacted, worth in rows:
        if np.isnan(worth):
            continue
        if contacted:
            expected += worth * 0.3 - 10 if lost else -10
        elif lost:
            expected -= worth
    label, contacted_rows, clv = (np.array(part) for part in zip(*rows, strict=True))
    assert seed_value(label, contacted_rows, clv, VALUE) == pytest.approx(expected, abs=1e-6)


def test_the_threshold_is_the_best_of_the_grid_and_far_below_the_one_that_pays() -> None:
    random = np.random.default_rng(0)
    probability = random.beta(1, 6, 20_000)
    label = random.random(20_000) < probability
    value = VALUE.model_copy(update={"contact_cost": 60.0})
    found = seed_threshold(probability, label, 600.0, value)
    scores = {at / 100: seed_value(label, probability >= at / 100, 600.0, value) for at in range(1, 100)}
    assert scores[found] == max(scores.values())
    pays = float(t_star(600, save_rate=0.3, incentive_cost=0, contact_cost=60))
    assert found < pays / 3  # 60 / 780 against 60 / 180


def test_of_equal_thresholds_the_lowest_is_taken_and_a_grid_may_be_given() -> None:
    label = np.array([True, False])
    assert seed_threshold(np.array([0.9, 0.1]), label, 600.0, VALUE, (0.05, 0.2, 0.5)) == 0.2
    assert seed_threshold(np.array([0.5, 0.5]), label, 600.0, VALUE) == 0.01
    with pytest.raises(InputError, match="holds no threshold"):
        seed_threshold(np.array([0.5]), np.array([True]), 600.0, VALUE, ())


def test_a_negative_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"first is -5\.0"):
        seed_value(np.array([True]), np.array([True]), np.array([-5.0]), VALUE)
