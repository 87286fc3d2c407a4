"""The threshold from money agrees with the money."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.value.profit import incremental_profit
from tenure.value.threshold import t_star, t_star_range

probabilities = st.floats(0, 1)
amounts = st.floats(0, 1e6)
rates = st.floats(0, 1)
costs = st.floats(0, 1e4)


@given(probabilities, amounts, rates, costs, costs)
@example(0.5, 0.0, 0.0, 5e-324, 1.0)
@example(0.0, 2.0, 1.0, 5e-324, 0.0)  # a threshold too small for a float, and so the zero before it
def test_contacting_pays_exactly_from_the_threshold_on(p: float, clv: float, g: float, d: float, f: float) -> None:
    money = {"save_rate": g, "incentive_cost": d, "contact_cost": f}
    profit = float(incremental_profit(p, clv, **money))
    threshold = float(t_star(clv, **money))
    rounding = 1e-9 * (p * g * (clv + d) + d + f) + sys.float_info.min
    if abs(profit) > rounding:  # within rounding of zero, money does not care which side is taken
        assert (p >= threshold) == (profit > 0)


@given(st.integers(0, 100), st.integers(0, 50), st.integers(0, 20), st.integers(0, 20), st.integers(0, 10))
def test_the_closed_form_is_where_profit_is_zero(p: int, clv: int, g: int, d: int, f: int) -> None:
    """In whole numbers nothing is rounded: p >= t* and profit >= 0 are the same statement."""
    chance, rate = Fraction(p, 100), Fraction(g, 20)
    profit = chance * rate * (clv - d) - (1 - chance) * d - f
    slope = rate * (clv - d) + d
    threshold = Fraction(d + f) / slope if slope > 0 else (0 if d + f == 0 else math.inf)
    assert (profit >= 0) == (chance >= threshold)
    assert float(t_star(clv, save_rate=g / 20, incentive_cost=d, contact_cost=f)) == pytest.approx(float(threshold))


@given(amounts, st.floats(0.01, 1), st.floats(0.01, 1), costs)
def test_a_range_of_rates_gives_a_range_of_thresholds(clv: float, one: float, other: float, d: float) -> None:
    low, high = sorted((one, other))
    found = t_star_range(clv, ValueSettings(clv="worth", save_rate=(low, high), incentive_cost=d, contact_cost=1))
    assert float(found.low) <= float(found.expected) * (1 + 1e-12)
    assert float(found.expected) <= float(found.high) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("clv", "incentive_cost", "contact_cost", "expected"),
    [
        (0.0, 0.0, 0.0, 0.0),  # nothing to win, nothing to lose
        (100.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 1.0, math.inf),
        (0.0, 50.0, 0.0, 1.0 / (1 - 0.3)),  # above 1: no probability reaches it
    ],
)
def test_the_edges(clv: float, incentive_cost: float, contact_cost: float, expected: float) -> None:
    found = t_star(clv, save_rate=0.3, incentive_cost=incentive_cost, contact_cost=contact_cost)
    assert float(found) == pytest.approx(expected)


def test_a_value_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="A customer value"):
        t_star(np.array([5.0, -5.0]), save_rate=0.3, incentive_cost=0, contact_cost=1)
