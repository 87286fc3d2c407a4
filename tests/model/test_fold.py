"""Folds keep customers whole and share out those who were lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.fold import at_most, customer_folds
from tenure.model.protocol import Column, Examples
from tests.oracle.split import customers_in_two_folds


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=120), st.integers(2, 6))
def test_a_customer_is_in_one_fold_and_folds_are_even(rows: list[tuple[int, bool]], folds: int) -> None:
    group = np.unique([customer for customer, _ in rows], return_inverse=True)[1].astype(np.int64)
    label = np.array([lost for _, lost in rows])
    fold = customer_folds(group, label, folds=folds, seed=1)
    assert not customers_in_two_folds(zip(group.astype(str).tolist(), fold.tolist(), strict=True))
    lost = dict.fromkeys(group.tolist(), False) | dict.fromkeys(group[label].tolist(), True)
    home = dict(zip(group.tolist(), fold.tolist(), strict=True))
    for kind in (True, False):
        counts = np.bincount([home[c] for c in home if lost[c] == kind], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_folds_follow_the_seed() -> None:
    group, label = np.arange(100), np.arange(100) % 4 == 0
    one, same, other = (customer_folds(group, label, folds=5, seed=seed) for seed in (3, 3, 4))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_of_too_many_rows_whole_customers_are_drawn() -> None:
    group = np.repeat(np.arange(50), 3)
    matrix = np.asfortranarray(np.arange(150, dtype=np.float32)[:, None])
    rows = Examples(matrix, group % 4 == 0, group, (Column("x"),))
    drawn = at_most(rows, 60, seed=1)
    assert 30 <= len(drawn.label) <= 60
    assert np.unique(drawn.group, return_counts=True)[1].tolist() == [3] * (len(drawn.label) // 3)
    assert at_most(rows, 150, seed=1) is rows
