"""MPC and EMPC equal those of the package empulse, and what brute force finds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tenure.core.errors import HistoryError, InputError
from tenure.core.settings import ValueSettings
from tenure.value.max_profit import expected_max_profit, max_profit
from tenure.value.outcome import earned

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from empulse.metrics import empc_score, mpc_score


def reference(metric: Any, label: Any, score: Any, **given: float) -> float:
    """What empulse says; it wants labels as numbers."""
    return float(metric(label.astype(int), score, **given))


COSTS = st.fixed_dictionaries(
    {"clv": st.floats(60, 900), "incentive_cost": st.floats(0, 50), "contact_cost": st.floats(0, 30)}
)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Any, Any]:
    rows = draw(st.integers(2, 60))
    label = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    assume(0 < label.sum() < rows)
    distinct = st.sampled_from([0.1, 0.2, 0.5, 0.9]) if draw(st.booleans()) else st.floats(0, 1, width=32)
    return label, np.array(draw(st.lists(distinct, min_size=rows, max_size=rows)), dtype=np.float64)


def world(rows: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    score = random.beta(1, 4, rows)
    return random.random(rows) < np.clip(score * random.lognormal(0, 0.5, rows), 0, 1), score


@given(scored(), COSTS, st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_mpc_equals_the_reference(given_rows: tuple[Any, Any], costs: dict[str, float], rate: float) -> None:
    label, score = given_rows
    found = max_profit(label, score, save_rate=rate, **costs)
    assert found.per_customer == pytest.approx(reference(mpc_score, label, score, accept_rate=rate, **costs), abs=1e-6)


@given(scored(), COSTS, st.floats(1, 30), st.floats(1, 30))
@settings(max_examples=60, deadline=None)
def test_empc_equals_the_reference(
    given_rows: tuple[Any, Any], costs: dict[str, float], alpha: float, beta: float
) -> None:
    label, score = given_rows
    found = expected_max_profit(label, score, alpha=alpha, beta=beta, **costs)
    assert found.per_customer == pytest.approx(
        reference(empc_score, label, score, alpha=alpha, beta=beta, **costs), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_both_equal_the_reference_on_many_rows(seed: int) -> None:
    label, score = world(4000, seed)
    costs = {"clv": 200.0, "incentive_cost": 10.0, "contact_cost": 1.0}
    assert max_profit(label, score, save_rate=0.3, **costs).per_customer == pytest.approx(
        reference(mpc_score, label, score, accept_rate=0.3, **costs), abs=1e-6
    )
    assert expected_max_profit(label, score, **costs).per_customer == pytest.approx(
        reference(empc_score, label, score, alpha=6, beta=14, **costs), abs=1e-6
    )


@given(scored(), COSTS, st.floats(0.01, 1))
def test_mpc_is_what_the_best_of_all_thresholds_earned(
    given_rows: tuple[Any, Any], costs: dict[str, float], rate: float
) -> None:
    label, score = given_rows
    money = earned(label, np.full(len(label), costs["clv"]), ValueSettings(save_rate=rate, **costs)).expected
    sums = {float(at): money[score >= at].sum() / len(label) for at in (*score, np.inf)}
    found = max_profit(label, score, save_rate=rate, **costs)
    assert found.per_customer == pytest.approx(max(sums.values()), abs=1e-9)
    assert sums[found.threshold] == pytest.approx(found.per_customer, abs=1e-9)
    assert found.share == pytest.approx((score >= found.threshold).mean())


def test_empc_is_the_mean_over_rates_of_the_best_threshold_for_each() -> None:
    label, score = world(300, 7)
    costs = {"clv": 150.0, "incentive_cost": 20.0, "contact_cost": 3.0}
    rates = np.random.default_rng(0).beta(2, 5, 4000)
    each = [max_profit(label, score, save_rate=float(rate), **costs) for rate in rates]
    found = expected_max_profit(label, score, alpha=2, beta=5, **costs)
    error = np.std([one.per_customer for one in each]) / np.sqrt(len(rates))
    assert found.per_customer == pytest.approx(np.mean([one.per_customer for one in each]), abs=5 * error)
    assert found.share == pytest.approx(np.mean([one.share for one in each]), abs=0.02)


def test_a_model_that_says_one_thing_contacts_everybody_or_nobody() -> None:
    label, score = np.arange(10) < 3, np.full(10, 0.3)
    rich = max_profit(label, score, clv=600, save_rate=0.3, incentive_cost=0, contact_cost=10)
    assert rich.per_customer == pytest.approx((3 * 180 - 100) / 10)
    assert rich.share == 1
    poor = max_profit(label, score, clv=60, save_rate=0.3, incentive_cost=0, contact_cost=10)
    assert (poor.per_customer, poor.share, poor.threshold) == (0.0, 0.0, np.inf)
    assert expected_max_profit(label, score, clv=1, incentive_cost=0, contact_cost=10).per_customer == 0.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clv": -1.0}, "customer value must be a number of at least 0"),
        ({"save_rate": 1.5}, "save rate must be a number from 0 to 1"),
        ({"contact_cost": -2.0}, "contact cost must be"),
        ({"incentive_cost": float("nan")}, "incentive cost must be"),
    ],
)
def test_money_that_makes_no_sense_is_refused(wrong: dict[str, float], words: str) -> None:
    costs = {"clv": 200.0, "save_rate": 0.3, "incentive_cost": 10.0, "contact_cost": 1.0}
    with pytest.raises(InputError, match=words):
        max_profit(np.array([True, False]), np.array([0.5, 0.1]), **{**costs, **wrong})


def test_one_kind_of_customer_and_an_impossible_distribution_are_refused() -> None:
    with pytest.raises(HistoryError, match="all 2 rows are churners"):
        max_profit(np.array([True, True]), np.zeros(2), clv=1, save_rate=0.1, incentive_cost=0, contact_cost=0)
    with pytest.raises(InputError, match="alpha must be a number above 0"):
        expected_max_profit(np.array([True, False]), np.zeros(2), clv=1, incentive_cost=0, contact_cost=0, alpha=0)
