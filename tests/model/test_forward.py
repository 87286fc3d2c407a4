"""Folds run with time: what judges came after all that was learned from had matured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.forward import FOLDS, forward_folds, set_newest_apart
from tenure.model.frame import Frame
from tenure.model.split import Split, split_table
from tests.model.worlds import CUTOFFS, SPLIT, world


@given(st.integers(2, 12), st.integers(1, 80), st.integers(1, 60))
def test_labels_have_matured_before_the_row_that_judges(parts: int, every: int, embargo: int) -> None:
    cutoffs = tuple(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=every * part) for part in range(parts))
    frame = world(60, cutoffs=cutoffs)
    found = forward_folds(frame, Split(train=cutoffs, embargo=timedelta(days=embargo)))
    assert 1 <= len(found.folds) <= FOLDS
    for fold in found.folds:
        assert not (fold.learn & fold.judge).any()
        assert fold.learn.any()
        assert fold.judge.any()
        if found.how == "later cutoffs":
            latest = frame.cutoff[fold.learn].max() + np.timedelta64(embargo, "D")
            assert latest <= frame.cutoff[fold.judge].min()
    assert (found.how == "later cutoffs") == (every * (parts - 1) >= embargo)


def test_the_latest_cutoffs_judge_first() -> None:
    frame = world().take(SPLIT.blocks(world()).train)
    judged = [frame.cutoff[fold.judge] for fold in forward_folds(frame, SPLIT).folds]
    expected = [np.datetime64(cutoff.replace(tzinfo=None)) for cutoff in (CUTOFFS[2], CUTOFFS[1])]
    assert [times[0] for times in judged] == expected
    assert all((times == times[0]).all() for times in judged)


def test_rows_with_times_are_judged_by_later_rows() -> None:
    rows = 600
    times = np.datetime64("2026-01-01", "us") + np.random.default_rng(0).integers(0, 10**12, rows)
    frame = Frame.of(np.arange(rows), np.arange(rows) % 3 == 0, pa.table({"x": np.arange(rows)}), times)
    split = split_table(frame)
    training = frame.take(split.blocks(frame).train)
    found = forward_folds(training, split)
    assert (found.how, len(found.folds)) == ("later rows", 3)
    for fold in found.folds:
        assert training.cutoff[fold.learn].max() < training.cutoff[fold.judge].min()
    assert sum(fold.judge.sum() for fold in found.folds) == training.rows // 2


def test_rows_without_time_are_judged_by_customers_held_out() -> None:
    customers = np.arange(300) // 2
    frame = Frame.of(customers, customers % 3 == 0, pa.table({"x": np.arange(300)}))
    found = forward_folds(frame, Split(how="stratified"))
    assert found.how == "customers held out"
    for fold in found.folds:
        assert not set(customers[fold.learn]) & set(customers[fold.judge])
        assert (fold.learn | fold.judge).all()


def test_a_fold_without_churners_enough_is_left_out() -> None:
    frame = world()
    label = frame.label & (frame.cutoff != np.datetime64(CUTOFFS[2].replace(tzinfo=None)))
    poor = Frame(frame.customer_id, frame.cutoff, label, frame.features, frame.activity)
    found = forward_folds(poor.take(SPLIT.blocks(poor).train), SPLIT)
    assert len(found.folds) == 1


@given(st.integers(2, 12), st.integers(1, 80), st.integers(1, 60))
def test_the_search_is_judged_by_what_had_matured_before_the_newest_fold(parts: int, every: int, embargo: int) -> None:
    cutoffs = tuple(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=every * part) for part in range(parts))
    frame, split = world(60, cutoffs=cutoffs), Split(train=cutoffs, embargo=timedelta(days=embargo))
    found = forward_folds(frame, split, folds=FOLDS + 1)
    search, newest = set_newest_apart(found, frame, split)
    assert 1 <= len(search) <= FOLDS
    if newest is not None:
        matured = max(frame.cutoff[fold.judge].max() for fold in search) + np.timedelta64(embargo, "D")
        assert matured <= frame.cutoff[newest.judge].min() == frame.cutoff.max()
