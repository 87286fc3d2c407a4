"""A shop's report with made-up customers, judged by the real code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from tenure.core.settings import ValueSettings
from tenure.core.time import parse_instant
from tenure.features.audit import AuditReport, Finding
from tenure.model.calibrate import correct_prior
from tenure.model.evaluate import Estimate, Judgement, difference, judge
from tenure.model.protocol import Flags, Vector, sigmoid
from tenure.model.segment import Judged, Segment, find_groupings, judge_segments
from tenure.model.split import Split
from tenure.report.inputs import Block, Campaign, Histogram, LabelHealth, Money, ReportInput
from tenure.report.swarm import Swarm
from tenure.source.history import ContractReport, SourceReport
from tenure.value.curve import profit_curve
from tenure.value.max_profit import expected_max_profit, max_profit
from tenure.value.outcome import outcome
from tenure.value.seed import seed_value

ROWS = 2_000
THRESHOLD = 0.06
REPEATS = 60


def shop(seed: int = 3) -> ReportInput:
    """A grocer: nine cutoffs, a fair model, a weaker fallback, five simple rules."""
    random = np.random.default_rng(seed)
    risk = random.normal(-2.4, 1.5, ROWS)
    label = random.random(ROWS) < sigmoid(risk)
    scores = {
        "xgboost": sigmoid(risk + random.normal(0, 0.5, ROWS)),
        "logistic": sigmoid(risk + random.normal(0, 0.9, ROWS)),
        "recency": risk + random.normal(0, 1.6, ROWS),
        "frequency": risk + random.normal(0, 2.0, ROWS),
        "relative recency": risk + random.normal(0, 2.6, ROWS),
        "random": random.random(ROWS),
        "contact everybody": np.zeros(ROWS),
    }
    ids = np.arange(ROWS)
    own = scores["xgboost"]
    return ReportInput(
        project="Greengrocer",
        version="v7",
        family="xgboost",
        created_at=parse_instant("2026-03-02T07:30:00"),
        churn="no purchase within 28 days by a customer with at least 2 active days, the last within 56 days",
        contract=contract(),
        labels=label_health(random),
        audit=audit(),
        split=split(),
        scorecard=tuple(entry(name, label, score) for name, score in scores.items()),
        differences={
            name: difference(label, own, score, ids, repeats=REPEATS)
            for name, score in scores.items()
            if name != "xgboost"
        },
        importance=importance(random),
        importance_means="A feature's share is how much its splits lowered the training loss.",
        predictions=Histogram.of(own, label),
        swarms=swarms(random),
        explanation="exact Shapley values (tree paths)",
        money=money(label, own),
        stages=stages(label, own),
        segments=segments(random, label, own),
        first=parse_instant("2025-01-01"),
        watermark=parse_instant("2026-02-28T21:14:00"),
        lookback=timedelta(days=84),
    )


def entry(name: str, label: Flags, score: Vector, *, trained: bool | None = None) -> Judgement:
    """Models give probabilities and are judged at the threshold; rules give an order."""
    trained = name in {"xgboost", "logistic"} if trained is None else trained
    return judge(
        name,
        "model" if trained else "baseline",
        "test",
        label,
        score,
        np.arange(ROWS),
        threshold=THRESHOLD if trained else -1.0 if name == "contact everybody" else None,
        probability=trained,
        repeats=REPEATS,
    )


def contract() -> ContractReport:
    purchases = SourceReport(
        "events.purchase",
        "transactions/*.parquet",
        rows=1_469_307,
        filtered=12_300,
        accepted=1_456_590,
        rejected={"missing customer": 350, "time in the future": 67},
        examples={"time in the future": "2062-01-04 10:00:00"},
        results=155_848,
        warnings=("column store_id is empty in 3 % of the rows",),
    )
    customers = SourceReport("customers", "customers.parquet", rows=2_469, accepted=2_469, results=2_469)
    return ContractReport((purchases, customers), {"transactions/*.parquet": {"refund": 1_204}})


def split() -> Split:
    day = timedelta(days=28)
    test = datetime(2026, 1, 31, tzinfo=UTC)
    train = tuple(test - day * step for step in range(9, 0, -1))
    late = (test - timedelta(days=7), "its label is settled on 2026-02-21, after the first test cutoff 2026-01-31")
    return Split(train, (), (test,), embargo=day, horizon=day, dropped=(late,))


def label_health(random: np.random.Generator) -> tuple[LabelHealth, ...]:
    blocks = split()
    found = []
    for step, cutoff in enumerate(blocks.cutoffs):
        rows = 1_700 + 33 * step
        share = 0.15 + random.normal(0, 0.01)
        block: Block = "test" if cutoff in blocks.test else "train"
        found.append(LabelHealth(block, rows, round(rows * share), cutoff))
    return tuple(found)


def audit() -> AuditReport:
    return AuditReport(
        (
            Finding("separates", "closing_reason", "leak", "its values alone rank churners with an AUC of 0.981"),
            Finding("future", "loyalty_tier", "note", "moves after the cutoff for 12 of 2,469 customers"),
        ),
        rows=15_300,
        columns=84,
        allowed=("closing_reason",),
    )


def importance(random: np.random.Generator) -> dict[str, float]:
    names = ["purchase_days_since_last", "purchase_relative_recency", "purchase_mean_gap", "household_size"]
    names += [f"purchase_{op}_{w}" for op in ("count", "active_days") for w in ("7d", "28d", "84d", "28d_over_84d")]
    names += [f"purchase_sales_value_{op}_{w}" for op in ("sum", "mean", "max", "std") for w in ("7d", "28d", "84d")]
    names += [f"purchase_sales_value_sum_28d_by_store_id={store}" for store in ("Main Street", "Harbour", "Old Town")]
    shares = np.sort(random.pareto(1.1, len(names)) + 0.05)[::-1]
    return dict(zip(names, (shares / shares.sum()).tolist(), strict=True))


def swarms(random: np.random.Generator) -> tuple[Swarm, ...]:
    """A number that is sometimes missing, a number with a long name, and a text."""
    effects = random.normal(size=(3, 80)) * [[0.04], [0.02], [0.001]]
    high = [None if n % 9 == 0 else bool(effect > 0) for n, effect in enumerate(effects[0].tolist())]
    return (
        Swarm("purchase_days_since_last", float(np.abs(effects[0]).mean()), tuple(effects[0].tolist()), tuple(high)),
        Swarm(
            "purchase_sales_value_sum_28d_by_store_id=Harbour", 0.016, tuple(effects[1].tolist()), (True, False) * 40
        ),
        Swarm("city", 0.0008, tuple(effects[2].tolist()), (None,) * 80),
    )


def money(label: Flags, score: Vector) -> Money:
    """Contacting where it pays, by the popular score's threshold, everybody, nobody; with the curve."""
    value = ValueSettings(clv=600, contact_cost=10, incentive_cost=0, save_rate=(0.1, 0.4), capacity=None)
    worth, group = np.full(len(label), 600.0), np.arange(len(label))

    def campaign(name: str, chosen: Flags) -> Campaign:
        found = outcome(label, worth, chosen, group, value)
        ends = Estimate(found.profit.value, found.worst, found.best)
        return Campaign(name, found.contacted, ends, found.profit, seed_value(label, chosen, worth, value))

    costs = {"clv": 600.0, "incentive_cost": 0.0, "contact_cost": 10.0}
    curve = profit_curve(score, label, 600.0, group)
    return Money(
        10 / 150,
        (
            campaign("contact from the threshold on", score >= 10 / 150),
            campaign("contact from 1 % on (grid search)", score >= 0.01),
            campaign("contact everybody", np.ones(len(label), dtype=np.bool_)),
            campaign("contact nobody", np.zeros(len(label), dtype=np.bool_)),
        ),
        value,
        most=max_profit(label, score, save_rate=0.25, **costs),
        expected_most=expected_max_profit(label, score, **costs),
        curve=curve.thinned(120, [curve.at_threshold(10 / 150)]),
        searched_on="cross-fitted training rows",
    )


def stages(label: Flags, score: Vector) -> tuple[Judgement, ...]:
    """A model that learned from rebalanced rows: far too high, then moved back, then calibrated."""
    steps = {
        "as the model gives them": correct_prior(score, 1.7),
        "after prior correction": correct_prior(score, 0.1),
        "after calibration": score,
    }
    return tuple(entry(name, label, probability, trained=True) for name, probability in steps.items())


def segments(random: np.random.Generator, label: Flags, score: Vector) -> tuple[Segment, ...]:
    store = random.choice(["Main Street", "Harbour", "Old Town", "Corner kiosk"], ROWS, p=[0.5, 0.3, 0.18, 0.02])
    visits = random.poisson(3, ROWS)
    features = pa.table({"store_id": store, "purchase_count_28d": visits})
    judged = Judged(label, score >= THRESHOLD, score, np.arange(ROWS))
    return judge_segments(judged, features, find_groupings(features, ["store_id", "purchase_count_28d"]))


def plain_table() -> ReportInput:
    """The same shop as if its rows had no time, no money, and nothing beside the model."""
    report = shop()
    return replace(
        report,
        split=Split(how="stratified"),
        labels=(LabelHealth("train", 8_000, 1_200), LabelHealth("test", 2_000, 301)),
        differences={},
        importance={},
        swarms=(),
        predictions=None,
        money=None,
        stages=(),
        segments=(),
        first=None,
        watermark=None,
        scorecard=report.scorecard[:1],
        audit=AuditReport((), 8_000, 20, ()),
    )
