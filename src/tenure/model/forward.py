"""Folds that run with time: learn from what was known, judge on what came later.

Enters: the training rows and the split they belong to. Leaves: pairs of masks. Invariant: in a fold of cutoffs, every
label that is learned from had matured before the first row that judges it; in a fold of row times, every row that is
learned from is earlier than every row that judges (a table does not say when its labels matured); no fold touches a
block of the split but the training block.

A search over settings that is judged by shuffled customers finds the settings for yesterday. Here each fold stands
where a training would have stood: on one of the last training cutoffs, with those at least one embargo before it. Where
the rows have no time, or the log is too short for even one such fold, customers are dealt into folds instead, and `how`
says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tenure.model.fold import customer_folds
from tenure.model.frame import Frame
from tenure.model.protocol import Flags
from tenure.model.split import Split

__all__ = ["ForwardFold", "ForwardFolds", "forward_folds", "set_newest_apart"]

FOLDS = 3
LEAST = 10
How = Literal["later cutoffs", "later rows", "customers held out"]


@dataclass(frozen=True, eq=False)
class ForwardFold:
    """Masks over the training rows: what is learned from, and what judges."""

    learn: Flags
    judge: Flags


@dataclass(frozen=True, eq=False)
class ForwardFolds:
    """Folds, the latest first, and what makes them honest."""

    how: How
    folds: tuple[ForwardFold, ...]


def set_newest_apart(
    found: ForwardFolds, training: Frame, split: Split, *, most: int = FOLDS
) -> tuple[tuple[ForwardFold, ...], ForwardFold | None]:
    """Folds to search on, and the newest one to judge what was found; None where history is too short for both.

    Parameters
    ----------
    found : ForwardFolds
        One more than the search may use.
    training : Frame
        Rows of the training block.
    split : Split
        Its embargo: the labels that a search is judged by have matured before the newest fold is judged.
    most : int
        Folds to search on at most.

    Examples
    --------
    >>> import pyarrow as pa
    >>> frame = Frame.of(range(60), [True, False] * 30, pa.table({"x": range(60)}))
    >>> split = Split(how="stratified")
    >>> search, newest = set_newest_apart(forward_folds(frame, split), frame, split)
    >>> len(search), newest
    (3, None)
    """
    newest, *others = found.folds
    if found.how == "customers held out":
        return found.folds[:most], None
    first = training.cutoff[newest.judge].min()
    span = np.timedelta64(split.embargo)
    earlier = tuple(fold for fold in others if training.cutoff[fold.judge].max() + span <= first)[:most]
    return (earlier, newest) if earlier else (found.folds[:most], None)


def forward_folds(training: Frame, split: Split, *, folds: int = FOLDS, seed: int = 0) -> ForwardFolds:
    """Deal training rows into folds that run with time.

    Parameters
    ----------
    training : Frame
        Rows of the training block.
    split : Split
        How the blocks were made, and the embargo.
    folds : int
        At most.
    seed : int
        Of the deal where there is no time.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from datetime import UTC, datetime, timedelta
    >>> starts = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    >>> times = np.repeat(np.array([t.replace(tzinfo=None) for t in starts], dtype="datetime64[us]"), 40)
    >>> frame = Frame.of(np.arange(120) % 40, np.arange(120) % 2 == 0, pa.table({"x": np.arange(120)}), times)
    >>> found = forward_folds(frame, Split(train=tuple(starts), embargo=timedelta(days=28)))
    >>> found.how, [(int(fold.learn.sum()), int(fold.judge.sum())) for fold in found.folds]
    ('later cutoffs', [(80, 40), (40, 40)])
    """
    found: list[ForwardFold] = []
    how: How = "later cutoffs" if split.how == "cutoffs" else "later rows"
    if split.how == "cutoffs":
        found = _by_cutoff(training, split)
    elif split.how == "row times":
        found = _by_row_time(training, folds)
    usable = tuple(fold for fold in found if _can_judge(training, fold))[:folds]
    return ForwardFolds(how, usable) if usable else _by_customer(training, folds, seed)


def _by_cutoff(training: Frame, split: Split) -> list[ForwardFold]:
    span = np.timedelta64(split.embargo)
    return [
        ForwardFold((training.cutoff + span <= cutoff) & (training.cutoff < cutoff), training.cutoff == cutoff)
        for cutoff in np.unique(training.cutoff)[::-1]
    ]


def _by_row_time(training: Frame, folds: int) -> list[ForwardFold]:
    """The later half in equal parts, each judged by what learned from all before it."""
    times = np.sort(training.cutoff)
    edges = [times[len(times) * (folds + part) // (2 * folds)] for part in range(folds)]
    ends = [*edges[1:], times[-1] + np.timedelta64(1, "us")]
    parts = [
        ForwardFold(training.cutoff < edge, (training.cutoff >= edge) & (training.cutoff < end))
        for edge, end in zip(edges, ends, strict=True)
    ]
    return parts[::-1]


def _by_customer(training: Frame, folds: int, seed: int) -> ForwardFolds:
    dealt = customer_folds(training.group(), training.label, folds=folds, seed=seed)
    parts = (ForwardFold(dealt != number, dealt == number) for number in range(folds))
    return ForwardFolds("customers held out", tuple(parts))


def _can_judge(training: Frame, fold: ForwardFold) -> bool:
    """Whether there are churners and stayers enough to learn from and to judge by."""
    return all(
        min(training.label[rows].sum(), (~training.label[rows]).sum()) >= LEAST for rows in (fold.learn, fold.judge)
    )
