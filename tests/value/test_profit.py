"""What a contact earns: the formula, its ranges, and the money that is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.value.profit import incremental_profit, profit_range

probabilities = st.floats(0, 1)
amounts = st.floats(0, 1e6)
rates = st.floats(0, 1)
costs = st.floats(0, 1e4)


def exact(p: float, clv: float, g: float, d: float, f: float) -> Fraction:
    """The same money told as a story about a hundred per cent of one customer, without rounding."""
    churns, stays = Fraction(p), 1 - Fraction(p)
    saved = churns * Fraction(g)
    return saved * (Fraction(clv) - Fraction(d)) - stays * Fraction(d) - Fraction(f)


@given(probabilities, amounts, rates, costs, costs)
def test_profit_is_the_stated_formula(p: float, clv: float, g: float, d: float, f: float) -> None:
    found = incremental_profit(p, clv, save_rate=g, incentive_cost=d, contact_cost=f)
    assert float(found) == pytest.approx(float(exact(p, clv, g, d, f)), rel=1e-9, abs=1e-9 * (1 + clv + d + f))


@given(st.lists(st.tuples(probabilities, amounts), min_size=1, max_size=20), rates, costs, costs)
def test_many_customers_are_judged_as_each_alone(rows: list[tuple[float, float]], g: float, d: float, f: float) -> None:
    together = incremental_profit(*map(list, zip(*rows, strict=True)), save_rate=g, incentive_cost=d, contact_cost=f)
    alone = [float(incremental_profit(p, clv, save_rate=g, incentive_cost=d, contact_cost=f)) for p, clv in rows]
    assert together.tolist() == alone


@given(
    st.lists(st.tuples(probabilities, amounts), min_size=1, max_size=20), st.floats(0.01, 1), st.floats(0.01, 1), costs
)
def test_a_range_encloses_every_rate_in_it(rows: list[tuple[float, float]], one: float, other: float, d: float) -> None:
    low, high = sorted((one, other))
    settings = ValueSettings(clv="worth", save_rate=(low, high), incentive_cost=d, contact_cost=1)
    p, clv = (np.array(column) for column in zip(*rows, strict=True))
    found = profit_range(p, clv, settings)
    slack = 1e-9 * (1 + clv + d)
    for rate in (low, (low + 2 * high) / 3, high):
        profit = incremental_profit(p, clv, save_rate=min(rate, 1.0), incentive_cost=d, contact_cost=1)
        assert (found.low <= profit + slack).all()
        assert (profit <= found.high + slack).all()
    np.testing.assert_allclose(found.expected, (found.low + found.high) / 2, rtol=1e-9, atol=1e-9 * (1 + clv.max() + d))


def test_a_range_of_one_rate_is_that_rate() -> None:
    found = profit_range([0.2, 0.9], [600, 50], ValueSettings(save_rate=0.3))
    at_rate = incremental_profit([0.2, 0.9], [600, 50], save_rate=0.3, incentive_cost=0, contact_cost=10)
    assert found.low.tolist() == found.expected.tolist() == found.high.tolist() == at_rate.tolist()


def test_saving_a_customer_worth_less_than_the_incentive_costs_more_the_more_are_saved() -> None:
    found = profit_range(
        [1.0], [40], ValueSettings(clv="worth", incentive_cost=50, contact_cost=0, save_rate=(0.1, 0.5))
    )
    assert (found.low[0], found.expected[0], found.high[0]) == pytest.approx((-5, -3, -1))


@pytest.mark.parametrize(
    ("given_money", "message"),
    [
        ({"probability": [0.5, 1.5]}, "A churn probability must be a number from 0 to 1; 1 of 2 are not"),
        (
            {"probability": [np.nan]},
            "A churn probability must be a number from 0 to 1; 1 of 1 are not, the first is nan",
        ),
        ({"clv": -1}, "A customer value must be a number of at least 0, not -1.0"),
        ({"clv": [1, np.nan]}, "the first is nan at position 1"),
        ({"clv": np.inf}, "A customer value must be a number of at least 0, not inf"),
        ({"save_rate": 1.01}, "A save rate must be a number from 0 to 1, not 1.01"),
        ({"incentive_cost": -0.5}, "An incentive cost must be a number of at least 0, not -0.5"),
        ({"contact_cost": np.nan}, "A contact cost must be a number of at least 0, not nan"),
    ],
)
def test_money_that_makes_no_sense_is_refused(given_money: dict[str, object], message: str) -> None:
    money = {"probability": 0.5, "clv": 600, "save_rate": 0.3, "incentive_cost": 5, "contact_cost": 1, **given_money}
    with pytest.raises(InputError) as caught:
        incremental_profit(**money)  # type: ignore[arg-type]
    assert message in str(caught.value)
