"""Decisions and bands follow the money."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.value.decision import BANDS, NO_BAND, decide
from tenure.value.profit import incremental_profit
from tenure.value.threshold import t_star_range

SETTINGS = ValueSettings(clv="worth", contact_cost=10, incentive_cost=5, save_rate=(0.1, 0.5))
customers = st.lists(
    st.tuples(st.floats(0, 1), st.one_of(st.just(float("nan")), st.floats(0, 1e5))), min_size=1, max_size=30
)


@given(customers)
def test_whoever_reaches_the_threshold_is_contacted(rows: list[tuple[float, float]]) -> None:
    p, clv = (np.array(column) for column in zip(*rows, strict=True))
    found = decide(p, clv, SETTINGS)
    known = ~np.isnan(clv)
    threshold = t_star_range(np.where(known, clv, 0), SETTINGS).expected
    clear = known & (np.abs(p - threshold) > 1e-9)
    assert (found.contact[clear] == (p >= threshold)[clear]).all()
    assert not found.contact[~known].any()
    assert (found.contact == (found.profit.expected >= 0)).all()
    assert (found.band[known] == 2).tolist() == found.contact[known].tolist()
    half = clear & ~found.contact & (np.abs(p - threshold / 2) > 1e-9)
    assert (found.band[half] == np.where(p >= threshold / 2, 1, 0)[half]).all()


money = st.builds(
    lambda rates, incentive, contact: ValueSettings(
        clv="worth", save_rate=(min(rates), max(rates)), incentive_cost=incentive, contact_cost=contact
    ),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)) | st.floats(0.01, 1).map(lambda rate: (rate, rate)),
    st.just(0.0) | st.floats(0, 1e3),
    st.just(0.0) | st.floats(0, 1e3),
)


@given(customers, money)
def test_many_customers_are_decided_like_one_to_the_last_digit(
    rows: list[tuple[float, float]], value: ValueSettings
) -> None:
    chances, worth = (np.array(column) for column in zip(*rows, strict=True))
    found = decide(chances, worth, value)
    costs = {"incentive_cost": value.incentive_cost, "contact_cost": value.contact_cost}
    rates = (*value.save_rates, value.middle_save_rate)
    for row, (p, clv) in enumerate(rows):
        if np.isnan(clv):
            continue
        low, high, middle = (float(incremental_profit(p, clv, save_rate=rate, **costs)) for rate in rates)
        profit = (found.profit.low[row], found.profit.expected[row], found.profit.high[row])
        assert profit == (min(low, high), middle, max(low, high))
        threshold = float(t_star_range(clv, value).expected)
        assert found.band[row] == (2 if middle >= 0 else int(p >= threshold / 2))


def test_an_unknown_value_gives_neither_profit_nor_band() -> None:
    found = decide(np.array([0.9, 0.9]), np.array([np.nan, 600.0]), SETTINGS)
    assert np.isnan([found.profit.low[0], found.profit.expected[0], found.profit.high[0]]).all()
    assert (found.contact.tolist(), found.band[0]) == ([False, True], NO_BAND)
    assert BANDS[found.band[1]] == "high"


def test_a_range_is_decided_at_its_middle() -> None:
    """At 0.1 contacting loses, at 0.5 it earns; the middle, 0.3, decides."""
    found = decide(np.array([0.2]), np.array([400.0]), SETTINGS)
    assert found.profit.low[0] < 0 < found.profit.expected[0] < found.profit.high[0]
    assert found.contact[0]


@pytest.mark.parametrize(("p", "clv"), [(1.2, 600.0), (float("nan"), 600.0), (0.5, -1.0), (0.5, float("inf"))])
def test_numbers_that_make_no_sense_are_refused(p: float, clv: float) -> None:
    with pytest.raises(InputError, match="must be a number"):
        decide(np.array([p]), np.array([clv]), SETTINGS)
