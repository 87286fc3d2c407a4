from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.app.money import (
    SearchRows,
    contacted_where_it_pays,
    customer_values,
    judge_money,
    require_values,
    threshold_of,
)
from tenure.core.errors import InputError, NotFoundError
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


def shop(rows: int = 2000, seed: int = 0) -> tuple[Frame, Any]:
    """One row per customer at two cutoffs, with true probabilities."""
    random = np.random.default_rng(seed)
    chance = random.beta(1, 5, rows)
    worth = np.where(random.random(rows) < 0.1, np.nan, random.integers(100, 900, rows))
    cutoff = np.where(np.arange(rows) % 2, "2026-01-01", "2026-02-01").astype("datetime64[us]")
    table = pa.table({"worth": pa.array(worth, from_pandas=True)})
    return Frame.of(np.arange(rows) // 2, random.random(rows) < chance, table, cutoff), chance


def test_each_batch_has_the_whole_capacity() -> None:
    test, chance = shop()
    contacted = contacted_where_it_pays(test, chance, ValueSettings(contact_cost=1, capacity=30))
    for cutoff in np.unique(test.cutoff):
        inside = test.cutoff == cutoff
        assert contacted[inside].sum() == 30
        assert chance[inside & contacted].min() >= chance[inside & ~contacted].max()
    assert judge_money(test, chance, ValueSettings(capacity=30)).batches == 2
    assert contacted_where_it_pays(test, chance, ValueSettings(capacity=0)).sum() == 0


def test_a_searched_threshold_never_sees_the_rows_that_judge_it() -> None:
    test, chance = shop()
    elsewhere, far = shop(seed=1)
    value = ValueSettings(contact_cost=60)
    search = SearchRows(elsewhere, far, "calibration block")
    money = judge_money(test, chance, value, search)
    turned = Frame.of(test.customer_id, ~test.label, test.features, test.cutoff)
    again = judge_money(turned, chance, value, search)
    names = [campaign.name for campaign in money.campaigns]
    assert names == [campaign.name for campaign in again.campaigns]
    assert names[1].endswith("(grid search)")
    assert [one.contacted for one in money.campaigns] == [one.contacted for one in again.campaigns]
    assert money.searched_on == "calibration block"
    where, searched, everybody, nobody = money.campaigns
    assert where.contacted < searched.contacted < everybody.contacted
    assert where.profit.value > searched.profit.value > everybody.profit.value
    assert searched.seed_value is not None
    assert where.seed_value is not None
    assert searched.seed_value > where.seed_value
    assert nobody.seed_value == -600 * test.label.sum()


def test_a_campaign_has_an_interval_and_a_range_of_its_own() -> None:
    test, chance = shop()
    best = judge_money(test, chance, ValueSettings(contact_cost=10, save_rate=(0.1, 0.4))).campaigns[0]
    assert best.sampled is not None
    assert best.profit.low < best.sampled.low < best.sampled.value == best.profit.value < best.sampled.high
    assert best.profit.high > best.sampled.high


def test_the_threshold_of_money_earns_most_of_what_was_possible() -> None:
    test, chance = shop(20_000)
    money = judge_money(test, chance, ValueSettings(contact_cost=20))
    assert money.most is not None
    assert money.expected_most is not None
    share = money.campaigns[0].profit.value / (money.most.per_customer * test.rows)
    assert 0.97 < share <= 1
    assert judge_money(test, chance, ValueSettings(clv="worth")).most is None


def test_the_curve_holds_the_place_where_it_pays() -> None:
    test, chance = shop()
    for value in (ValueSettings(contact_cost=20), ValueSettings(contact_cost=20, capacity=40)):
        money = judge_money(test, chance, value)
        assert money.curve is not None
        assert money.threshold is not None
        assert money.curve.contacted[money.curve.at_threshold(money.threshold)] == (chance >= money.threshold).sum()
        if value.capacity is not None:
            assert money.curve.contacted[money.curve.at_capacity(80)] == 80


def test_values_that_are_not_known_are_counted() -> None:
    test, chance = shop()
    money = judge_money(test, chance, VALUE)
    assert money.unknown == test.features["worth"].null_count
    assert money.curve is not None
    assert money.curve.rows == test.rows - money.unknown


def test_values_that_make_no_sense_are_refused_before_the_long_work() -> None:
    for wrong, words in ((-5.0, "the first is -5"), (float("inf"), "the first is inf")):
        with pytest.raises(InputError, match=f"'worth', in which 1 of 2 values are below 0 or infinite; {words}"):
            require_values(pa.table({"worth": [100.0, wrong]}), VALUE)
    with pytest.raises(InputError, match="empty in all 3 rows"):
        require_values(pa.table({"worth": pa.array([None] * 3, pa.float64())}), VALUE)
    require_values(pa.table({"worth": pa.array([], pa.float64())}), VALUE)


def test_a_model_that_says_one_thing_is_judged_all_the_same() -> None:
    test, _ = shop(200)
    money = judge_money(test, np.full(200, 0.3), ValueSettings(), SearchRows(test, np.full(200, 0.3), "elsewhere"))
    assert {one.contacted for one in money.campaigns} == {0, 200}
    assert money.curve is not None
    assert len(money.curve.score) == 2
