"""The law by which simulated customers leave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from tenure.source.simulation.hazard import CHANGED, STABLE, Law, Observed, Weights, intercept_for, log_odds


def customer(**columns: float) -> Observed:
    """One customer who logs in every other day and has no trouble, except as given."""
    usual = {
        "logins_30d": 15,
        "logins_90d": 45,
        "days_since_login": 2.0,
        "minutes_30d": 300.0,
        "failures_30d": 0,
        "tickets_30d": 0,
        "changes_90d": 0,
        "plan": 1,
        "tenure_days": 200.0,
    }
    return Observed(**{name: np.array([value]) for name, value in (usual | columns).items()})


def odds(weights: Weights = STABLE, **columns: float) -> float:
    return float(log_odds(customer(**columns), weights)[0])


@given(
    odds=nps.arrays(np.float64, st.integers(1, 30), elements=st.floats(-30, 30)),
    rate=st.floats(0.005, 0.5),
)
def test_the_intercept_gives_the_wanted_mean(odds: np.ndarray, rate: float) -> None:
    shifted = odds + intercept_for(odds, rate)
    assert (1 / (1 + np.exp(-shifted))).mean() == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(
    "column", [{"logins_30d": 3}, {"days_since_login": 20.0}, {"minutes_30d": 0.0}, {"failures_30d": 1}, {"plan": 0}]
)
def test_what_looks_like_leaving_raises_the_odds(column: dict[str, float]) -> None:
    assert log_odds(customer(**column), STABLE) > odds() + 0.2


def test_a_concept_shift_turns_plan_changes_round_and_cares_less_about_use() -> None:
    assert odds(changes_90d=1) > odds()
    assert odds(CHANGED, changes_90d=1) < odds(CHANGED)
    assert odds(CHANGED, logins_30d=3) - odds(CHANGED) < (odds(logins_30d=3) - odds()) / 2


def test_a_customer_who_was_never_seen_has_a_hazard() -> None:
    unseen = customer(logins_30d=0, logins_90d=0, days_since_login=np.inf, minutes_30d=0.0)
    assert 0 < Law(STABLE, 0.0).hazard(unseen)[0] < 1
    assert log_odds(unseen, STABLE) == log_odds(customer(**_unseen_for(30.0)), STABLE)


def _unseen_for(days: float) -> dict[str, float]:
    return {"logins_30d": 0, "logins_90d": 0, "days_since_login": days, "minutes_30d": 0.0}
