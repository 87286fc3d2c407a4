from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.app.money import customer_values, judge_money, threshold_of
from tenure.core.errors import NotFoundError
from tenure.core.settings import ValueSettings
from tenure.model.frame import Frame

ROWS = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1), st.one_of(st.none(), st.integers(50, 900))), min_size=1, max_size=30
)
VALUE = ValueSettings(clv="worth", contact_cost=10, incentive_cost=20, save_rate=(0.1, 0.4))


def earned(left: bool, worth: float, save_rate: float) -> float:
    """What one contact earned: a saved customer less the incentive, or the incentive given away; less the contact."""
    return (save_rate * (worth - 20) if left else -20) - 10


@given(ROWS)
def test_campaigns_are_the_sums_of_their_contacts(rows: list[tuple[bool, float, int | None]]) -> None:
    left, chances, worths = zip(*rows, strict=True)
    table = pa.table({"worth": pa.array(worths, pa.float64())})
    test = Frame.of([f"c{number:02d}" for number in range(len(rows))], left, table)
    pays, everybody, nobody = judge_money(test, np.array(chances), VALUE).campaigns
    known = [(gone, worth) for gone, worth in zip(left, worths, strict=True) if worth is not None]
    assert everybody.contacted == len(known)
    for rate, found in ((0.1, everybody.profit.low), (0.4, everybody.profit.high)):
        assert found == pytest.approx(sum(earned(gone, worth, rate) for gone, worth in known))
    assert (nobody.contacted, nobody.profit.value) == (0, 0.0)
    assert pays.contacted <= len(known)


@given(ROWS, st.integers(0, 10))
def test_a_capacity_bounds_the_contacts(rows: list[tuple[bool, float, int | None]], capacity: int) -> None:
    left, chances, worths = zip(*rows, strict=True)
    test = Frame.of(range(len(rows)), left, pa.table({"worth": pa.array(worths, pa.float64())}))
    bounded = VALUE.model_copy(update={"capacity": capacity})
    free, limited = (judge_money(test, np.array(chances), value).campaigns[0] for value in (VALUE, bounded))
    assert limited.contacted == min(free.contacted, capacity)


def test_a_value_may_be_a_column_or_an_amount() -> None:
    table = pa.table({"worth": [100, None], "name": ["a", "b"]})
    assert customer_values(table, ValueSettings(clv=7.0)).tolist() == [7.0, 7.0]
    assert np.isnan(customer_values(table, ValueSettings(clv="worth"))[1])
    for column in ("wroth", "name"):
        with pytest.raises(NotFoundError, match=f"'{column}', which is no numeric feature"):
            customer_values(table, ValueSettings(clv=column))


def test_one_threshold_only_where_one_value_holds_for_all() -> None:
    assert threshold_of(ValueSettings(clv="worth")) is None
    assert threshold_of(ValueSettings(clv=1_000, contact_cost=10, save_rate=0.5)) == pytest.approx(10 / 500)
