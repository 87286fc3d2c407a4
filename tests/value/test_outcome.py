"""What contacts earned is a plain sum, and its interval is that of drawing customers."""

from __future__ import annotations

import numpy as np
import pytest

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.model.bootstrap import interval, resample
from tenure.value.outcome import earned, outcome, sum_with_interval

VALUE = ValueSettings(clv="worth", contact_cost=10, incentive_cost=20, save_rate=(0.1, 0.4))


def test_a_contact_earns_what_happened() -> None:
    found = earned(np.array([True, False, True]), np.array([600.0, 600.0, np.nan]), VALUE)
    assert found.low.tolist() == [0.1 * 580 - 10, -30, 0]
    assert found.high == pytest.approx([0.4 * 580 - 10, -30, 0])


def test_whose_value_is_not_known_is_nobody() -> None:
    label, clv = np.array([True, True, False]), np.array([600.0, np.nan, 600.0])
    found = outcome(label, clv, np.ones(3, dtype=np.bool_), np.arange(3), VALUE)
    assert (found.rows, found.contacted) == (2, 2)
    assert found.profit.value == pytest.approx(0.25 * 580 - 10 - 30)
    assert found.per_customer.value == pytest.approx(found.profit.value / 2)
    assert (found.worst, found.best) == pytest.approx((0.1 * 580 - 40, 0.4 * 580 - 40))


def test_the_interval_is_that_of_drawing_customers() -> None:
    random = np.random.default_rng(3)
    group = random.integers(0, 800, 2000)
    group = np.unique(group, return_inverse=True)[1]
    amounts = random.normal(1, 10, 2000) + group % 7
    found = sum_with_interval(amounts, group)
    sums = np.bincount(group, amounts)
    low, high = interval(resample(lambda drawn: np.array([drawn @ sums]), len(sums), seed=0, repeats=2000))
    assert found.low == pytest.approx(low[0], rel=0.05)
    assert found.high == pytest.approx(high[0], rel=0.05)
    assert found.value == pytest.approx(amounts.sum())


def test_a_negative_value_is_refused_with_its_place() -> None:
    with pytest.raises(InputError, match=r"1 of 2 are not, the first is -3\.0 at position 1"):
        earned(np.array([True, False]), np.array([1.0, -3.0]), VALUE)
