"""Rates in place of codes: shrunk, never from a row's own customer, and only where there are many."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tenure.model.protocol import Column, Examples
from tenure.model.target_mean import FEW, learn_target_means, learning_rows

RANDOM = np.random.default_rng(8)


def examples(codes: np.ndarray, label: np.ndarray, categories: int, group: np.ndarray | None = None) -> Examples:
    matrix = np.asfortranarray(np.column_stack([np.arange(len(codes)), codes]).astype(np.float32))
    columns = (Column("x"), Column("shop", categories))
    return Examples(matrix, label, np.arange(len(codes)) if group is None else group, columns)


def test_rates_are_shrunk_towards_the_rate_of_all() -> None:
    codes = np.repeat(np.arange(20), 50)
    label = (codes < 4) | (np.arange(1000) % 10 == 0)
    rows = examples(codes, label, 21)
    means, _ = learn_target_means(rows, seed=0)
    assert means.columns == (1,)
    assert means.rates[0][0] == pytest.approx((50 + 50 * label.mean()) / 100)
    assert means.rates[0][20] == pytest.approx(label.mean())  # a code without rows


def test_missing_stays_missing_and_numbers_stay_themselves() -> None:
    codes = np.where(np.arange(400) % 4 == 0, np.nan, np.arange(400) % 15)
    rows = examples(codes, np.arange(400) % 3 == 0, 16)
    means, matrix = learn_target_means(rows, seed=0)
    applied = means.apply(rows.matrix)
    for encoded in (matrix, applied):
        assert np.isnan(encoded[:, 1]).tolist() == np.isnan(codes).tolist()
        assert encoded[:, 0].tolist() == rows.matrix[:, 0].tolist()
    np.testing.assert_array_equal(rows.matrix[:, 1], codes.astype(np.float32))


def test_few_categories_are_left_to_the_family() -> None:
    rows = examples(np.arange(300) % (FEW + 1), np.arange(300) % 2 == 0, FEW + 1)
    means, matrix = learn_target_means(rows, seed=0)
    assert means.columns == ()
    assert matrix is rows.matrix
    assert means.apply(matrix) is matrix


def test_rates_of_training_rows_do_not_know_their_labels() -> None:
    codes, label = RANDOM.integers(0, 500, 2000), RANDOM.random(2000) < 0.3
    means, matrix = learn_target_means(examples(codes, label, 501), seed=0)
    own = means.apply(examples(codes, label, 501).matrix)[:, 1]
    assert roc_auc_score(label, own) > 0.65  # what would be learned from noise
    assert abs(roc_auc_score(label, matrix[:, 1]) - 0.5) < 0.07


def test_a_customer_with_many_rows_is_not_in_their_own_rate() -> None:
    customer = np.repeat(np.arange(100), 10)
    label = RANDOM.random(100)[customer] < 0.3
    _, matrix = learn_target_means(examples(customer.astype(float), label, 101, customer), seed=0)
    assert len(np.unique(matrix[:, 1])) <= 5  # nobody else shares the code: only the rate of the other folds is left


def test_learning_rows_hold_codes_only_where_there_are_few() -> None:
    for categories in (FEW + 1, FEW + 2):
        rows = examples(np.arange(300) % categories, np.arange(300) % 2 == 0, categories)
        means, training = learning_rows(rows, seed=0)
        assert [column.is_category for column in training.columns] == [False, categories == FEW + 1]
        np.testing.assert_array_equal(training.matrix, learn_target_means(rows, seed=0)[1])
        assert len(means.columns) == (categories == FEW + 2)
