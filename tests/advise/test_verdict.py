"""Sentences claim what is true and shown, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from tenure.advise.candidate import Candidate
from tenure.advise.quality import Judged, draw
from tenure.advise.verdict import FEWEST, MARGIN, Finding, conclude
from tenure.model.protocol import sigmoid
from tests.advise.worlds import World

REPEATS = 200


def say(
    world: World, judged: Sequence[Judged], lost: int | None = None, stayed: int | None = None
) -> tuple[Finding, ...]:
    candidates = [Candidate(*one.name.split(" + ")) for one in judged]
    draws = draw(world.stakes, judged, repeats=REPEATS)
    stayers = len(world.risk) - world.lost
    return conclude(draws, candidates, world.lost if lost is None else lost, stayers if stayed is None else stayed)


def test_a_better_candidate_is_named() -> None:
    world = World()
    found = say(world, [world.candidate("xgboost", world.seen(2.0)), world.candidate("forest", world.seen(0.1))])
    assert found[0].kind == "better"
    assert found[0].about == ("forest", "xgboost")
    assert found[0].text.startswith("forest ranks better than the champion xgboost: ROC AUC +")
    assert "earns" in found[0].text


def test_the_best_champion_is_kept() -> None:
    world = World()
    judged = [world.candidate("xgboost", world.seen(0.1)), world.candidate("logistic", world.seen(2.0)),
              world.candidate("forest", world.seen(1.5))]  # fmt: skip
    (only,) = say(world, judged)
    assert only.kind == "champion"
    assert "the closest, forest" in only.text


def test_logistic_regression_can_be_enough() -> None:
    world = World()
    margin = world.seen(0.3)
    judged = [world.candidate("xgboost", margin + world.random.normal(0, 0.02, len(margin))),
              world.candidate("logistic", margin)]  # fmt: skip
    found = say(world, judged)[0]
    assert found.kind == "enough"
    assert found.text.startswith("Logistic regression is enough: nothing else can rank better")
    bound = re.search(r"by more than (\.\d+)", found.text)
    assert bound is None or float(bound[1]) < MARGIN


def test_logistic_regression_is_not_called_enough_where_it_is_not() -> None:
    world = World()
    judged = [world.candidate("logistic", world.seen(2.0)), world.candidate("xgboost", world.seen(0.1))]
    assert [finding.kind for finding in say(world, judged)] == ["better"]
    judged = [world.candidate("forest", world.seen(0.9)), *judged]
    kinds = {finding.about: finding.kind for finding in say(world, judged)}
    assert kinds["xgboost", "logistic"] == "better"


def test_too_few_rows_settle_nothing() -> None:
    world = World(400, seed=4)
    judged = [world.candidate("xgboost", world.seen(0.8)), world.candidate("logistic", world.seen(0.9))]
    found = say(world, judged)
    assert {finding.kind for finding in found} == {"insufficient"}
    assert found[0].text.startswith("Insufficient evidence to replace the champion xgboost")
    assert "is not settled" in found[1].text


@pytest.mark.parametrize("lost", [0, FEWEST - 1])
def test_too_few_leavers_settle_nothing(lost: int) -> None:
    world = World()
    judged = [world.candidate("xgboost", world.seen(3.0)), world.candidate("forest", world.seen(0.1))]
    (only,) = say(world, judged, lost=lost)
    assert only.kind == "insufficient"
    assert f"only {lost} customers of the test block left;" in only.text


@pytest.mark.parametrize("stayed", [0, FEWEST - 1])
def test_too_few_stayers_settle_nothing(stayed: int) -> None:
    world = World()
    judged = [world.candidate("xgboost", world.seen(3.0)), world.candidate("forest", world.seen(0.1))]
    (only,) = say(world, judged, stayed=stayed)
    assert only.kind == "insufficient"
    assert f"only {stayed} customers of the test block stayed;" in only.text


def test_a_candidate_alone_settles_nothing() -> None:
    world = World()
    (only,) = say(world, [world.candidate("xgboost", world.seen(0.1))])
    assert only.kind == "insufficient"
    assert "nothing to compare" in only.text


def test_rebalancing_that_only_moved_the_threshold_is_called_so() -> None:
    world = World()
    margin = world.seen(0.4)
    judged = [
        world.candidate("xgboost", margin),
        world.candidate("xgboost + smote", margin + world.random.normal(0, 0.05, len(margin)), shift=2.0, plain=margin),
    ]
    found = say(world, judged)[-1]
    assert found.kind == "rebalancing"
    assert found.text.startswith("xgboost + smote moved the threshold")
    assert "did not improve the model" in found.text


def test_rebalancing_that_helped_or_harmed_is_called_so() -> None:
    world = World()
    plain, better, worse = world.seen(1.5), world.seen(0.1), world.seen(3.0)
    judged = [
        world.candidate("xgboost", plain),
        world.candidate("xgboost + weights", better, plain=plain),
        world.candidate("xgboost + smote", worse, shift=2.0, plain=plain),
    ]
    helped, harmed = say(world, judged)[-2:]
    assert "improved the model" in helped.text
    assert "not improve" not in helped.text
    assert "made the model worse" in harmed.text


def test_equal_models_are_almost_never_told_apart() -> None:
    """The error that a conclusion may make: naming a better one where all are the same."""
    claims = 0
    for seed in range(40):
        world = World(600, seed=seed)
        judged = [world.candidate(name, world.seen(1.0)) for name in ("xgboost", "forest", "neural", "catboost")]
        claims += say(world, judged)[0].kind in {"better", "champion"}
    assert claims <= 8  # two criteria of 5 % each; 8 of 40 has a chance of one in forty at 10 %


def test_nothing_is_called_enough_by_absence_of_evidence() -> None:
    for seed in range(10):
        world = World(300, seed=seed)
        judged = [world.candidate("xgboost", world.seen(0.5)), world.candidate("logistic", world.seen(0.7))]
        found = say(world, judged)
        high = draw(world.stakes, judged, repeats=REPEATS).together([("xgboost", "logistic")], "roc_auc")[0].high
        assert np.isfinite(high)
        assert (found[0].kind == "enough") <= (high < MARGIN)


def test_more_money_by_a_few_customers_who_stayed_settles_nothing() -> None:
    """One candidate leaves out twelve stayers; none of them left, so no draw knows the risk of it."""
    world = World()
    margin = world.seen(0.3)
    low = np.flatnonzero(~world.stakes.label & (sigmoid(margin) > 0.06))[:12]
    fewer = margin.copy()
    fewer[low] = -6.0
    judged = [world.candidate("xgboost", margin), world.candidate("forest", fewer)]
    draws = draw(world.stakes, judged, repeats=REPEATS)
    assert draws.together([("forest", "xgboost")], "profit")[0].low > 0
    assert draws.leavers_apart("forest", "xgboost") == 0
    found = say(world, judged)[0]
    assert "earns more than" not in found.text
    assert "it earns +" not in found.text


def test_more_money_that_is_shown_is_said() -> None:
    world = World()
    judged = [world.candidate("xgboost", world.seen(3.0)), world.candidate("forest", world.seen(0.1))]
    found = say(world, judged)[0]
    assert "it earns +" in found.text
