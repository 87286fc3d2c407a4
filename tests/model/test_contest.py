"""Everybody is judged on the same rows, with the same effort."""

from __future__ import annotations

import numpy as np
import pytest

from tenure.core.settings import ModelSettings
from tenure.model.contest import hold_contest
from tenure.model.evaluate import Judgement
from tenure.model.train import Trained, train
from tests.model.worlds import SPLIT, world

FRAME = world()


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(FRAME, SPLIT, ModelSettings(), threads=1)


def test_a_contest_judges_everybody_on_the_same_rows(trained: Trained) -> None:
    contest = hold_contest(trained, FRAME, SPLIT, 0.4, repeats=60)
    names = ["xgboost", "logistic", "recency", "frequency", "relative recency", "random", "contact everybody"]
    assert [judgement.name for judgement in contest.scorecard] == names
    assert [judgement.kind for judgement in contest.scorecard] == ["model"] * 2 + ["baseline"] * 5
    assert {(j.rows, j.positives) for j in contest.scorecard} == {(300, int(FRAME.label[900:].sum()))}
    cards: dict[str, Judgement] = {judgement.name: judgement for judgement in contest.scorecard}
    assert cards["contact everybody"].metrics["recall"].value == 1
    assert cards["contact everybody"].metrics["roc_auc"].value == 0.5
    share = cards["xgboost"].metrics["contacted_share"].value
    assert cards["recency"].metrics["contacted_share"].value == pytest.approx(share)
    assert cards["frequency"].metrics["contacted_share"].value >= share  # whole visits are often tied
    assert set(contest.lead) == set(names[1:])
    assert contest.lead["random"].low > 0
    gap = cards["xgboost"].metrics["roc_auc"].value - cards["frequency"].metrics["roc_auc"].value
    assert contest.lead["frequency"].value == pytest.approx(gap)
    assert contest == hold_contest(trained, FRAME, SPLIT, 0.4, repeats=60)


def test_a_threshold_per_customer_decides_who_is_contacted(trained: Trained) -> None:
    threshold = np.where(np.arange(300) < 30, 0.0, 2.0)
    contest = hold_contest(trained, FRAME, SPLIT, threshold, repeats=10)
    assert contest.scorecard[0].metrics["contacted_share"].value == pytest.approx(0.1)
    assert contest.scorecard[2].metrics["contacted_share"].value == pytest.approx(0.1)
