"""Weighted measures of order agree with scikit-learn's, ties included, and with counting pairs one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from tenure.model.ranking import rank


@st.composite
def ranked_rows(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    """Scores with many ties, labels of both kinds, whole weights of which some are zero."""
    rows = draw(st.integers(2, 30))
    scores = draw(st.lists(st.integers(-3, 3) | st.integers(-1000, 1000), min_size=rows, max_size=rows))
    labels = draw(st.lists(st.booleans(), min_size=rows - 2, max_size=rows - 2))
    weights = draw(st.lists(st.integers(0, 3), min_size=rows - 2, max_size=rows - 2))
    # one churner and one stayer always count, so that every measure is defined
    return np.array(scores, float), np.array([*labels, True, False]), np.array([*weights, 1, 2], float)


@given(ranked_rows())
def test_roc_auc_and_average_precision_agree_with_scikit_learn(rows: tuple[Any, Any, Any]) -> None:
    score, label, weight = rows
    ranking = rank(score, label)
    steps = ranking.steps(weight[ranking.order])
    assert steps.roc_auc() == pytest.approx(roc_auc_score(label, score, sample_weight=weight), abs=1e-12)
    expected = average_precision_score(label, score, sample_weight=weight)
    assert steps.average_precision() == pytest.approx(expected, abs=1e-12)


@given(ranked_rows())
def test_a_weight_is_the_row_repeated(rows: tuple[Any, Any, Any]) -> None:
    score, label, weight = rows
    ranking = rank(score, label)
    weighted = ranking.steps(weight[ranking.order])
    times = weight.astype(int)
    repeated = rank(np.repeat(score, times), np.repeat(label, times)).steps()
    shares = np.linspace(0, 1, 11)
    assert weighted.roc_auc() == pytest.approx(repeated.roc_auc(), abs=1e-12)
    assert weighted.average_precision() == pytest.approx(repeated.average_precision(), abs=1e-12)
    assert weighted.gain(shares) == pytest.approx(repeated.gain(shares), abs=1e-12)


@given(ranked_rows(), st.randoms(use_true_random=False))
def test_the_order_of_equal_scores_does_not_matter(rows: tuple[Any, Any, Any], random: Any) -> None:
    score, label, _ = rows
    shuffled = list(range(len(score)))
    random.shuffle(shuffled)
    one, other = rank(score, label).steps(), rank(score[shuffled], label[shuffled]).steps()
    assert one.rows.tolist() == other.rows.tolist()
    assert one.churners.tolist() == other.churners.tolist()


@given(ranked_rows(), st.integers(1, 30))
def test_gain_is_the_mean_over_orders_of_the_tied_rows(rows: tuple[Any, Any, Any], top: int) -> None:
    score, label, _ = rows
    top = min(top, len(score))
    border = np.sort(score)[::-1][top - 1]
    above, tied = score > border, score == border
    places = top - int(above.sum())
    expected = (label[above].sum() + label[tied].sum() * places / tied.sum()) / label.sum()
    found = rank(score, label).steps().gain(np.array([top / len(score)]))
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_only_one_kind_of_row_has_no_order() -> None:
    stayers = rank(np.array([1.0, 2.0]), np.array([False, False])).steps()
    assert np.isnan(stayers.roc_auc())
    assert np.isnan(stayers.average_precision())
    assert np.isnan(stayers.gain(np.array([0.5]))).all()
    assert np.isnan(rank(np.array([1.0, 2.0]), np.array([True, True])).steps().roc_auc())


def test_stayers_without_a_churner_between_them_share_a_step() -> None:
    ranking = rank(np.arange(6.0), np.array([False, False, True, False, False, False]))
    assert ranking.starts.tolist() == [0, 3, 4]
    assert ranking.steps().rows.tolist() == [0, 3, 4, 6]


def test_infinite_scores_are_tied_like_any_other() -> None:
    steps = rank(np.array([np.inf, np.inf, 1.0, -np.inf]), np.array([True, False, True, False])).steps()
    assert steps.rows.tolist() == [0, 2, 3, 4]
    assert steps.roc_auc() == 0.625
