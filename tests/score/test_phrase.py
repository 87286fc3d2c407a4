"""Words for every kind of feature: the value, what is usual, and never a cause."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tenure.core.settings import OPS, VALUE_OPS
from tenure.features.declare import Feature
from tenure.model.usual import UsualColumn
from tenure.score.phrase import Phrases, Value, readable

DAY = timedelta(days=1)
CAUSAL = ("because", "cause", "due to", "leads to", "makes", "why")


def said(feature: Feature, value: Value, median: float | None = None) -> str:
    column = UsualColumn(feature.name, 0.0, (0.0, median, 9.0) if median is not None else ())
    return Phrases({feature.name: feature}, {feature.name: column}, {}).say(feature.name, value)


@pytest.mark.parametrize(
    ("feature", "value", "median", "words"),
    [
        (Feature("login", "count", window=28 * DAY), 2, 9, "2 logins in the last 28 days (usual: 9)"),
        (Feature("login", "count", window=28 * DAY), 1, 9, "1 login in the last 28 days (usual: 9)"),
        (Feature("login", "count", window=7 * DAY), 0, 2, "no logins in the last 7 days (usual: 2)"),
        (Feature("purchase", "count"), 1234, 40, "1,234 purchases so far (usual: 40)"),
        (Feature("visit", "count", window=timedelta(hours=36)), 3, None, "3 visits in the last 36h"),
        (
            Feature("login", "active_days", window=28 * DAY), 3, 8.5,
            "logins on 3 days in the last 28 days (usual: 8.5)",
        ),
        (
            Feature("purchase", "sum", "sales_value", 28 * DAY), 12.345, 80.0,
            "total sales value of purchases in the last 28 days is 12.3 (usual: 80)",
        ),
        (
            Feature("purchase", "mean", "sales_value", 28 * DAY), None, 80.0,
            "no known sales value of purchases in the last 28 days (usual: 80)",
        ),
        (Feature("payment", "last", "amount"), 5, 10, "latest amount of payments so far is 5 (usual: 10)"),
        (Feature("order", "days_since_last"), 41.2, 6, "the last order was 41.2 days ago (usual: 6)"),
        (Feature("order", "days_since_last"), None, 6, "no orders so far (usual: 6)"),
        (Feature("order", "days_since_first"), 1, 6, "the first order was 1 day ago (usual: 6)"),
        (Feature("order", "mean_gap"), 15, 7, "15 days between orders on average (usual: 7)"),
        (Feature("order", "mean_gap"), None, 7, "fewer than two orders so far (usual: 7)"),
        (
            Feature("order", "relative_recency"), 3.4, 0.9,
            "the last order is 3.4 of the customer's own average gaps ago (usual: 0.9)",
        ),
        (
            Feature("login", "count", None, 28 * DAY, 84 * DAY), 0.1, 1 / 3,
            "logins of the last 28 days fell by 70 % against the last 84 days (usual: hardly changed)",
        ),
        (
            Feature("login", "active_days", None, 7 * DAY, 28 * DAY), 0.5, 0.3,
            "days with logins of the last 7 days rose by 100 % against the last 28 days (usual: rose by 20 %)",
        ),
        (
            Feature("session", "mean", "minutes", 7 * DAY, 28 * DAY), 0.8, 1.0,
            "mean minutes of sessions of the last 7 days fell by 20 % against the last 28 days (usual: hardly changed)",
        ),
        (
            Feature("payment", "sum", "amount", 7 * DAY, 28 * DAY), -0.5, None,
            "total amount of payments of the last 7 days changed its sign against the last 28 days",
        ),
        (
            Feature("login", "count", None, 7 * DAY, 28 * DAY), None, 0.25,
            "logins of the last 7 days: nothing in the last 28 days to compare with (usual: hardly changed)",
        ),
        (
            Feature("purchase", "count", None, 28 * DAY, None, "store_id", "S1"), 3, 1,
            "3 purchases with store id 'S1' in the last 28 days (usual: 1)",
        ),
    ],
)  # fmt: skip
def test_words_of_a_feature(feature: Feature, value: Value, median: float | None, words: str) -> None:
    assert said(feature, value, median) == words


@pytest.mark.parametrize("op", sorted(OPS))
@pytest.mark.parametrize("value", [None, 0.0, 1.0, 2.5])
def test_every_operation_has_words_that_name_no_cause(op: str, value: Value) -> None:
    feature = Feature("query", op, "size" if op in VALUE_OPS else None)
    words = said(feature, value, 1.0)
    assert "quer" in words
    assert not any(word in words for word in CAUSAL)


def test_attributes_say_how_many_share_them() -> None:
    plan = UsualColumn("plan", 0.02, shares=(0.75, 0.2, 0.03))
    income = UsualColumn("yearly_income", 0.1, (20_000.0, 35_000.0, 50_000.0))
    phrases = Phrases({}, {"plan": plan, "yearly_income": income}, {"plan": ("basic", "plus")})
    assert phrases.say("plan", "plus") == "plan is 'plus', as for 20 % of customers"
    assert phrases.say("plan", "new") == "plan is 'new'"
    assert phrases.say("plan", None) == "plan is not known, as for 2 % of customers"
    assert phrases.say("yearly_income", 1_250.0) == "yearly income is 1,250 (usual: 35,000)"
    assert phrases.say("yearly_income", None) == "yearly income is not known (usual: 35,000)"
    assert phrases.say("tenure_days", 1.0) == "a customer for 1 day"
    assert phrases.say("tenure_days", None) == "since when they are a customer is not known"


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (-3.0, "-3"), (99.96, "100.0"), (0.000012, "1.2e-05"), (1e6 + 0.5, "1,000,000")]
)
def test_numbers_have_as_many_digits_as_people_want(value: float, text: str) -> None:
    assert readable(value) == text
