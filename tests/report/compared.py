"""A comparison of made-up candidates, judged by the real code."""

from __future__ import annotations

from tenure.advise.candidate import Candidate
from tenure.advise.compare import Comparison, _judge
from tenure.advise.process import Failure, Trial
from tenure.advise.trial import Costs
from tenure.core.progress import silent
from tenure.core.time import parse_instant
from tenure.model.protocol import Vector, sigmoid
from tenure.report.comparison import ComparisonInput
from tests.advise.worlds import VALUE, World
from tests.report.world import split


def comparison(rows: int = 1500, *, failed: tuple[Failure, ...] = ()) -> Comparison:
    """Two families, each with and without a method that only moves the threshold, and one that is slow and poor."""
    world = World(rows, seed=3)
    good, fair, poor = world.seen(0.3), world.seen(0.5), world.seen(2.0)
    trials = (
        _trial(Candidate("xgboost"), good),
        _trial(Candidate("xgboost", "smote"), good + world.random.normal(0, 0.1, rows), shift=2.0),
        _trial(Candidate("logistic"), fair),
        _trial(Candidate("logistic", "weights"), fair + world.random.normal(0, 0.1, rows), shift=2.0),
        _trial(Candidate("neural"), poor, slower=40.0),
    )
    return _judge({trial.candidate: trial for trial in trials}, failed, world.stakes, 0, silent)


def _trial(candidate: Candidate, margin: Vector, *, shift: float = 0.0, slower: float = 1.0) -> Trial:
    costs = Costs(12.5 * slower, 0.4e-3 * slower, 0.9e-3 * slower, 2.1e6 / slower, 184_000, 512_000_000)
    kind = "exact Shapley values (tree paths)" if candidate.family == "xgboost" else "sampled Shapley values"
    return Trial(candidate, sigmoid(margin), sigmoid(margin + shift), costs, kind, "sigmoid", {"rounds": 90.0})


def compared_shop(failed: tuple[Failure, ...] = ()) -> ComparisonInput:
    """What the page of such a comparison shows."""
    return ComparisonInput(
        project="Greengrocer",
        created_at=parse_instant("2026-03-02T07:30:00"),
        churn="no purchase within 28 days",
        split=split(),
        value=VALUE,
        comparison=comparison(failed=failed),
        champion_is="the family and method of v7, learned from the same rows",
    )
