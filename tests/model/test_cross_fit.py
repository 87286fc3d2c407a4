"""Who is held out, when boosting stops, and what a choice is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.progress import silent
from tenure.model.cross_fit import best_rounds, held_out_rows, judged


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_every_row_is_held_out_once(numbers: list[int]) -> None:
    fold = np.array(numbers, dtype=np.int64)
    held_out = held_out_rows(fold)
    assert np.sum(held_out, axis=0).tolist() == [1] * len(fold)
    assert [number for row in range(len(fold)) for number, rows in enumerate(held_out) if rows[row]] == numbers


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(1, 8))
def test_rounds_end_where_the_loss_no_longer_falls(losses: list[float], patience: int) -> None:
    left = iter(losses)
    best = best_rounds(lambda: next(left), len(losses), patience, silent)
    rounds = len(losses) - len(list(left))
    assert best == 1 + int(np.argmin(losses[:rounds]))
    assert rounds - best == patience or (rounds == len(losses) and rounds - best < patience)


def test_rounds_tell_how_they_go() -> None:
    told: list[float] = []
    best_rounds(lambda: 1.0, 9, 3, lambda _, done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == 4


def test_a_choice_is_judged_by_the_mean_over_all_rows() -> None:
    label, margin = np.array([True, False, False]), np.array([2.0, -1.0, 0.5])
    found = judged(label, margin, {"rounds": 3.0})
    expected = np.logaddexp(0.0, np.where(label, -margin, margin)).mean()
    assert found.log_loss == pytest.approx(expected)
    assert found.probability.tolist() == pytest.approx((1 / (1 + np.exp(-margin))).tolist())
    assert found.choice == {"rounds": 3.0}
