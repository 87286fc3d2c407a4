"""The curve equals plain sums over rows, its band is that of drawing customers, and thinning moves no point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.value.curve import by_capacity, by_save_rate, by_threshold, profit_curve
from tenure.value.outcome import earned, outcome
from tenure.value.profit import incremental_profit
from tenure.value.threshold import t_star

COSTS = st.fixed_dictionaries(
    {"save_rate": st.floats(0, 1), "incentive_cost": st.floats(0, 80), "contact_cost": st.floats(0, 40)}
)
ROWS = st.lists(
    st.tuples(
        st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.9]), st.one_of(st.just(float("nan")), st.floats(50, 900)),
        st.integers(0, 4),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def parts(rows: list[tuple[bool, float, float, int]]) -> tuple[Any, ...]:
    label, chance, clv, group = (np.array(part) for part in zip(*rows, strict=True))
    return label, chance, clv, np.unique(group, return_inverse=True)[1]


@given(ROWS, COSTS)
def test_every_place_is_the_sum_of_its_contacts(rows: Any, costs: dict[str, float]) -> None:
    label, chance, clv, group = parts(rows)
    curve = profit_curve(chance, label, clv, group)
    at_stake = np.where(np.isnan(clv), -1.0, chance * np.nan_to_num(clv))
    value = ValueSettings().model_copy(update={"clv": "worth", **costs})
    profit, half = curve.profit(**costs), curve.half_width(**costs)
    assert (profit[0], half[0], curve.contacted[0]) == (0, 0, 0)
    for place in range(1, len(curve.score)):
        found = outcome(label, clv, at_stake >= curve.score[place], group, value)
        assert found.contacted == curve.contacted[place]
        assert profit[place] == pytest.approx(found.profit.value, abs=1e-6)
        assert half[place] == pytest.approx(found.profit.high - found.profit.value, rel=1e-6, abs=1e-3)


@given(ROWS, COSTS)
def test_one_value_for_all_is_ranked_by_probability(rows: Any, costs: dict[str, float]) -> None:
    label, chance, _, group = parts(rows)
    curve = profit_curve(chance, label, 600.0, group)
    money = incremental_profit(label.astype(float), 600.0, **costs)
    for threshold in (0.0, 0.1, 0.25, 0.9, 1.0):
        place = curve.at_threshold(threshold)
        assert curve.contacted[place] == (chance >= threshold).sum()
        assert curve.profit(**costs)[place] == pytest.approx(money[chance >= threshold].sum(), abs=1e-6)
    assert curve.at_threshold(np.inf) == 0


@given(ROWS, st.integers(0, 40))
def test_a_capacity_is_never_exceeded(rows: Any, capacity: int) -> None:
    label, chance, clv, group = parts(rows)
    curve = profit_curve(chance, label, clv, group)
    place = curve.at_capacity(capacity)
    assert curve.contacted[place] <= capacity
    assert place == len(curve.score) - 1 or curve.contacted[place + 1] > capacity


def shop() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(4)
    chance = random.beta(1, 5, 3000)
    return chance, random.random(3000) < chance, np.arange(3000) // 2


def test_thinning_keeps_points_and_moves_none() -> None:
    chance, label, group = shop()
    curve = profit_curve(chance, label, 600.0, group)
    keep = [17, 1234]
    thin = curve.thinned(100, keep)
    assert 60 < len(thin.score) <= 104
    places = np.searchsorted(curve.contacted, thin.contacted)
    assert set(keep) <= set(places.tolist())
    costs = {"save_rate": 0.2, "incentive_cost": 5.0, "contact_cost": 10.0}
    assert thin.profit(**costs).tolist() == curve.profit(**costs)[places].tolist()
    assert thin.half_width(**costs).tolist() == curve.half_width(**costs)[places].tolist()
    assert thin.score[-1] == chance.min()
    assert thin.thinned(500) is thin


def test_the_curves_are_the_curve_read_along_its_axes() -> None:
    chance, label, group = shop()
    curve = profit_curve(chance, label, 600.0, group)
    value = ValueSettings(clv=600, contact_cost=30, save_rate=(0.2, 0.4))
    money = earned(label, np.full(3000, 600.0), value).expected
    for at, point in zip((0.05, 0.5), by_threshold(curve, value, (0.05, 0.5)), strict=True):
        assert point.profit.value == pytest.approx(money[chance >= at].sum())
    best = np.argsort(-chance)
    for limit, point in zip((0, 50, 9999), by_capacity(curve, value, (0, 50, 9999)), strict=True):
        assert point.profit.value == pytest.approx(money[best[:limit]].sum())
        assert point.contacted == min(limit, 3000)
    for point in by_save_rate(curve, value, (0.1, 0.9)):
        pays = t_star(600, save_rate=point.at, incentive_cost=0, contact_cost=30)
        each = incremental_profit(label.astype(float), 600, save_rate=point.at, incentive_cost=0, contact_cost=30)
        assert point.profit.value == pytest.approx(each[chance >= pays].sum())
    fixed = by_save_rate(curve, value, (0.1, 0.9), threshold=0.2)
    assert {point.contacted for point in fixed} == {(chance >= 0.2).sum()}


def test_values_of_their_own_have_no_threshold_of_all() -> None:
    chance, label, group = shop()
    curve = profit_curve(chance, label, np.full(3000, 600.0), group)
    with pytest.raises(InputError, match="values of their own"):
        by_save_rate(curve, ValueSettings(), (0.1,))
    assert by_save_rate(curve, ValueSettings(), (0.3,), threshold=100.0)[0].contacted == (chance * 600 >= 100).sum()


def test_what_makes_no_sense_is_refused() -> None:
    label, group = np.array([True, False]), np.arange(2)
    with pytest.raises(InputError, match="A capacity of -1"):
        profit_curve([0.5, 0.1], label, 600.0, group).at_capacity(-1)
    with pytest.raises(InputError, match="churn probability must be a number from 0 to 1"):
        profit_curve([1.5, 0.1], label, 600.0, group)
    with pytest.raises(InputError, match=r"first is -1\.0"):
        profit_curve([0.5, 0.1], label, [-1.0, 5.0], group)


def test_no_known_value_is_a_curve_of_nobody() -> None:
    curve = profit_curve([0.5, 0.1], np.array([True, False]), [np.nan, np.nan], np.arange(2))
    assert (curve.rows, curve.score.tolist(), curve.worth.tolist()) == (0, [np.inf], [0.0])
