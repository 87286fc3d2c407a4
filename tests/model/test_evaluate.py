"""A judgement says what scikit-learn says, with intervals that know whose rows belong together."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tenure.core.errors import HistoryError, InputError
from tenure.model.evaluate import METRICS, Judgement, difference, judge

RANDOM = np.random.default_rng(3)
SCORE = RANDOM.beta(1, 4, 1500)
LABEL = RANDOM.random(1500) < SCORE
CUSTOMER = np.array([f"c{i}" for i in RANDOM.integers(0, 400, 1500)], dtype=object)


def judged(**changes: Any) -> Judgement:
    given: dict[str, Any] = {
        "label": LABEL,
        "score": SCORE,
        "customer_id": CUSTOMER,
        "threshold": 0.3,
        "repeats": 100,
    } | changes
    return judge("xgboost", "model", "test", **given)


def test_every_metric_is_the_one_of_scikit_learn() -> None:
    metrics = judged().metrics
    contacted = SCORE >= 0.3
    expected = {
        "roc_auc": roc_auc_score(LABEL, SCORE),
        "average_precision": average_precision_score(LABEL, SCORE),
        "brier": brier_score_loss(LABEL, SCORE),
        "log_loss": log_loss(LABEL, SCORE),
        "observed_expected": LABEL.sum() / SCORE.sum(),
        "lift_top_decile": LABEL[np.argsort(-SCORE)[:150]].mean() / LABEL.mean(),
        "recall": recall_score(LABEL, contacted),
        "precision": precision_score(LABEL, contacted),
        "contacted_share": contacted.mean(),
    }
    assert tuple(metrics) == METRICS
    assert {key: estimate.value for key, estimate in metrics.items()} == pytest.approx(expected, abs=1e-12)


def test_every_value_lies_inside_its_interval() -> None:
    judgement = judged()
    estimates = [
        *judgement.metrics.values(),
        *(d.lift for d in judgement.deciles),
        *(d.gain for d in judgement.deciles),
    ]
    estimates += [part.observed for part in judgement.calibration]
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in estimates)
    assert all(np.isfinite([estimate.low, estimate.high]).all() for estimate in estimates)


def test_rows_of_one_customer_count_as_one_piece_of_evidence() -> None:
    once = judged(customer_id=np.arange(1500), repeats=400).metrics["roc_auc"]
    label, score = np.tile(LABEL, 4), np.tile(SCORE, 4)
    together = judged(label=label, score=score, customer_id=np.tile(np.arange(1500), 4), repeats=400).metrics["roc_auc"]
    apart = judged(label=label, score=score, customer_id=np.arange(6000), repeats=400).metrics["roc_auc"]
    assert together.value == pytest.approx(once.value)
    assert (together.low, together.high) == pytest.approx((once.low, once.high))
    assert apart.high - apart.low < 0.65 * (once.high - once.low)  # theory: half


def test_deciles_add_up() -> None:
    deciles = judged().deciles
    assert [d.decile for d in deciles] == list(range(1, 11))
    assert sum(d.rows for d in deciles) == 1500
    assert sum(d.positives for d in deciles) == LABEL.sum()
    assert np.mean([d.lift.value for d in deciles]) == pytest.approx(1)
    assert deciles[-1].gain.value == pytest.approx(1)
    assert deciles[0].lift.value == judged().metrics["lift_top_decile"].value


def test_the_roc_curve_has_the_area_that_is_reported() -> None:
    judgement = judged()
    false, true = np.array(judgement.roc).T
    assert len(judgement.roc) <= 200
    assert len(judgement.precision_recall) <= 200
    assert [false[0], true[0], false[-1], true[-1]] == [0, 0, 1, 1]
    assert np.trapezoid(true, false) == pytest.approx(judgement.metrics["roc_auc"].value, abs=2e-3)
    recall, precision = np.array(judgement.precision_recall).T
    assert (np.diff(recall) >= 0).all()
    assert [recall[-1], precision[-1]] == pytest.approx([1, LABEL.mean()])


def test_calibration_bins_cover_all_rows_and_keep_ties_together() -> None:
    bins = judged().calibration
    assert [part.rows for part in bins] == [150] * 10
    assert sum(part.predicted * part.rows for part in bins) == pytest.approx(SCORE.sum())
    assert sum(part.observed.value * part.rows for part in bins) == pytest.approx(LABEL.sum())
    coarse = judged(score=np.round(SCORE, 1)).calibration
    assert sum(part.rows for part in coarse) == 1500
    assert len({part.predicted for part in coarse}) == len(coarse)
    constant = judged(score=np.full(1500, 0.2)).calibration
    assert [part.rows for part in constant] == [1500]
    assert constant[0].predicted == pytest.approx(0.2)


def test_a_ranking_has_no_probability_metrics() -> None:
    judgement = judged(score=SCORE * 50, probability=False, threshold=None)
    assert tuple(judgement.metrics) == ("roc_auc", "average_precision", "lift_top_decile")
    assert judgement.calibration == ()


def test_a_threshold_may_differ_by_row() -> None:
    threshold = np.where(np.arange(1500) % 2 == 0, 0.0, 1.1)
    assert judged(threshold=threshold).metrics["contacted_share"].value == 0.5


def test_contacting_nobody_has_no_precision() -> None:
    metrics = judged(threshold=2.0).metrics
    assert metrics["recall"].value == 0
    assert "precision" not in metrics


def test_a_judgement_can_be_written_as_strict_json() -> None:
    assert json.dumps(asdict(judged()), allow_nan=False)


def test_the_same_seed_gives_the_same_judgement() -> None:
    assert judged(seed=5) == judged(seed=5)
    assert judged(seed=5) != judged(seed=6)


def test_a_difference_is_narrower_than_the_two_intervals() -> None:
    worse = SCORE + RANDOM.normal(0, 0.02, 1500)
    gap = difference(LABEL, SCORE, worse, CUSTOMER, repeats=200)
    one = judged(repeats=200).metrics["roc_auc"]
    assert gap.value == pytest.approx(roc_auc_score(LABEL, SCORE) - roc_auc_score(LABEL, worse))
    assert gap.high - gap.low < (one.high - one.low) / 2
    same = difference(LABEL, SCORE, SCORE, CUSTOMER, repeats=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize("churner", [True, False])
def test_rows_of_one_kind_are_refused(*, churner: bool) -> None:
    with pytest.raises(HistoryError, match=f"all 1500 rows are {'churners' if churner else 'stayers'}"):
        judged(label=np.full(1500, churner))


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(HistoryError, match="at least two customers"):
        judged(customer_id=np.zeros(1500))
    with pytest.raises(HistoryError, match="there are no rows"):
        judged(label=LABEL[:0], score=SCORE[:0], customer_id=CUSTOMER[:0])
    with pytest.raises(InputError, match="3 of 1500 scores are missing"):
        judged(score=np.where(np.arange(1500) < 3, np.nan, SCORE))
    with pytest.raises(InputError, match="Probabilities reach from"):
        judged(score=SCORE * 3)
    with pytest.raises(InputError, match="1499 scores"):
        judged(score=SCORE[1:])
