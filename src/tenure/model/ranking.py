"""Rows in the order of their scores, counted with weights.

Enters: scores and labels of some rows. Leaves: a `Ranking`, and from it, for any weight per row, the number of rows and
of churners down to every distinct score. All measures of order (ROC AUC, average precision, gain) read only these.

Ties
----
Rows with equal scores have no order, so nothing here depends on the one they came in. They form one step. ROC AUC
counts a tied pair of churner and stayer as half won (midranks); average precision takes a step as a whole, as
scikit-learn does; gain spreads a step's churners evenly over its rows, which is what a random order among equals gives
on average.

Cost
----
Sorting happens once; a bootstrap repeat is a new weight per row in the same order. Neighbouring steps that hold stayers
alone are merged, which changes none of the measures: along such a run the number of churners stands still. What is left
has at most two steps per churner, so a repeat touches long arrays only to add up the rows of each step. Products of
vectors are summed by numpy itself: a threaded BLAS waits for its other threads longer than these sums take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenure.model.protocol import Flags, Vector

__all__ = ["Ranking", "Steps", "rank"]


@dataclass(frozen=True, eq=False)
class Steps:
    """Rows and churners down to the end of each step, from the highest score on; both begin with 0.

    Parameters
    ----------
    rows, churners : float64 array (steps + 1,)
        Weighted running counts.

    Examples
    --------
    >>> steps = rank(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])).steps()
    >>> steps.rows.tolist(), steps.churners.tolist()
    ([0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 2.0, 2.0])
    >>> steps.roc_auc(), steps.gain(np.array([0.25, 0.5])).tolist()
    (0.875, [0.5, 0.75])
    """

    rows: Vector
    churners: Vector

    def roc_auc(self) -> float:
        """Chance that a churner scores above a stayer, a tie counting half; NaN without both kinds."""
        stayers = self.rows - self.churners
        pairs = self.churners[-1] * stayers[-1]
        if pairs == 0:
            return float("nan")
        won = (np.diff(stayers) * (self.churners[1:] + self.churners[:-1])).sum() / 2
        return float(won / pairs)

    def average_precision(self) -> float:
        """Mean precision over the churners found, each step taken as a whole; NaN without churners."""
        if self.churners[-1] == 0:
            return float("nan")
        precision = np.divide(
            self.churners[1:], self.rows[1:], out=np.zeros(len(self.rows) - 1), where=self.rows[1:] > 0
        )
        return float((np.diff(self.churners) * precision).sum() / self.churners[-1])

    def gain(self, shares: Vector) -> Vector:
        """Share of all churners among the top `shares` of the rows; NaN without churners."""
        if self.churners[-1] == 0:
            return np.full(len(shares), np.nan)
        found = np.interp(shares * self.rows[-1], self.rows, self.churners)
        return np.asarray(found / self.churners[-1], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows sorted by score, highest first.

    Parameters
    ----------
    order : int64 array (rows,)
        Row numbers in that order.
    starts : int64 array (steps,)
        Place in the order at which each step begins.
    churners : int64 array (churners,)
        Places of the churners.
    churner_steps : int64 array (churners,)
        The step of each churner.

    Examples
    --------
    >>> ranking = rank(np.array([0.2, 0.7, 0.7, 0.1]), np.array([False, True, False, False]))
    >>> ranking.order.tolist(), ranking.starts.tolist()
    ([1, 2, 0, 3], [0, 2])
    >>> ranking.steps(np.array([1.0, 1.0, 1.0, 5.0])).rows.tolist()
    [0.0, 2.0, 8.0]
    """

    order: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    churners: npt.NDArray[np.int64]
    churner_steps: npt.NDArray[np.int64]

    def steps(self, weight: Vector | None = None) -> Steps:
        """Count rows and churners, each row as often as `weight` (in ranking order) says; default: once."""
        weight = np.ones(len(self.order)) if weight is None else weight
        rows = np.add.reduceat(weight, self.starts)
        churners = np.bincount(self.churner_steps, weight[self.churners], minlength=len(self.starts))
        return Steps(_running(rows), _running(churners.astype(np.float64)))


def rank(score: Vector, label: Flags) -> Ranking:
    """Sort rows by score, highest first, and find the steps.

    Examples
    --------
    >>> rank(np.array([0.2, 0.7]), np.array([False, True])).order.tolist()
    [1, 0]
    """
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    starts = np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    churners = np.flatnonzero(label[order])
    holds_churner = np.zeros(len(starts), dtype=bool)
    holds_churner[np.searchsorted(starts, churners, side="right") - 1] = True
    begins = holds_churner | np.append(True, holds_churner[:-1])  # a run of stayers begins after a churner's step
    starts = starts[begins]
    return Ranking(order, starts, churners, np.searchsorted(starts, churners, side="right") - 1)


def _running(counts: Vector) -> Vector:
    result = np.zeros(len(counts) + 1)
    np.cumsum(counts, out=result[1:])
    return result
