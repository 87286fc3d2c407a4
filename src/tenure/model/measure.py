"""Every number of a judgement as a function of how often each customer counts.

Enters: labels, scores, the customer of each row and who is contacted. Leaves: a `Measure`, which gives the numbers of
the block as it is (every customer once) and of any draw of the bootstrap.
Invariant: what is judged and what its interval is made of are one and the same computation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenure.model.protocol import Flags, Vector
from tenure.model.ranking import Ranking, rank

__all__ = [
    "BIN_PLACES",
    "GAIN_PLACES",
    "LIFT_PLACES",
    "ORDER_PLACES",
    "SHARES",
    "SUM_NAMES",
    "SUM_PLACES",
    "Measure",
    "row_log_loss",
]

BINS = 10

# What a draw is measured by, in this order: order, deciles, decisions and probabilities, calibration bins.
SHARES = np.arange(1, 11) / 10
ORDER_PLACES = slice(0, 2)
LIFT_PLACES = slice(2, 12)
GAIN_PLACES = slice(12, 22)
SUM_PLACES = slice(22, 28)
BIN_PLACES = slice(28, None)
SUM_NAMES = ("recall", "precision", "contacted_share", "observed_expected", "brier", "log_loss")


@dataclass(frozen=True, eq=False)
class Measure:
    """Every number of a judgement as a function of how often each customer counts.

    What adds up over rows is added up per customer once (`sums`), so that a draw needs one product; what depends on
    order needs the running sums of `Ranking`.

    Parameters
    ----------
    ranking : Ranking
        The rows by score.
    group : int64 array (rows,)
        The customer of each row, in ranking order.
    sums : float64 array (customers, 7)
        Rows, churners, contacted, churners contacted, expected churners, squared errors, log losses.
    bins : int64 array
        Places in ranking order at which calibration bins begin; the first bin holds the highest scores.

    Examples
    --------
    >>> label, score = np.array([True, False, False]), np.array([0.8, 0.3, 0.1])
    >>> measure = Measure.of(label, score, np.array([0, 0, 1]), 2, threshold=0.5, probability=True)
    >>> dict(zip(SUM_NAMES, measure(np.ones(2))[SUM_PLACES].round(3).tolist(), strict=True))["contacted_share"]
    0.333
    """

    ranking: Ranking
    group: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    bins: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        label: Flags,
        score: Vector,
        group: npt.NDArray[np.int64],
        customers: int,
        *,
        threshold: float | Vector | None,
        probability: bool,
    ) -> Measure:
        """Sort and add up once what every draw needs; rows with `score >= threshold` are contacted."""
        ranking = rank(score, label)
        contacted = score >= threshold if threshold is not None else np.zeros(len(score), dtype=bool)
        chance = score if probability else np.zeros(len(score))
        squares, losses = (chance - label) ** 2, row_log_loss(label, chance)
        parts = (np.ones(len(score)), label, contacted, contacted & label, chance, squares, losses)
        sums = np.stack([np.bincount(group, part, minlength=customers) for part in parts], axis=1)
        bins = _bin_starts(score[ranking.order]) if probability else np.zeros(0, dtype=np.int64)
        return cls(ranking, group[ranking.order], sums.astype(np.float64), bins)

    def __call__(self, drawn: Vector) -> Vector:
        """Give the numbers when customer `i` counts `drawn[i]` times; NaN where a number is not defined."""
        weight = drawn[self.group]
        steps = self.ranking.steps(weight)
        gain = steps.gain(SHARES)
        order = (steps.roc_auc(), steps.average_precision())
        return np.concatenate(
            [order, np.diff(gain, prepend=0.0) * 10, gain, self._totals(drawn), self._observed(weight)]
        )

    def _totals(self, drawn: Vector) -> Vector:
        rows, churners, contacted, found, expected, squares, losses = np.einsum("c,cs->s", drawn, self.sums)
        above = np.array([found, found, contacted, churners, squares, losses])
        below = np.array([churners, contacted, rows, expected, rows, rows])
        return _ratio(above, below)

    def _observed(self, weight: Vector) -> Vector:
        if not len(self.bins):
            return np.zeros(0)
        of_churner = np.searchsorted(self.bins, self.ranking.churners, side="right") - 1
        churners = np.bincount(of_churner, weight[self.ranking.churners], minlength=len(self.bins))
        return _ratio(churners.astype(np.float64), np.add.reduceat(weight, self.bins))


def row_log_loss(label: Flags, probability: Vector) -> Vector:
    """Log loss of each row in nats; probabilities of exactly 0 and 1 are moved inside by one unit of rounding.

    Examples
    --------
    >>> row_log_loss(np.array([True, False]), np.array([0.5, 0.5])).round(3).tolist()
    [0.693, 0.693]
    """
    rounding = np.finfo(np.float64).eps
    inside = np.clip(probability, rounding, 1 - rounding)
    return np.asarray(-np.log(np.where(label, inside, 1 - inside)), dtype=np.float64)


def _ratio(above: Vector, below: Vector) -> Vector:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0), dtype=np.float64)


def _bin_starts(score: Vector) -> npt.NDArray[np.int64]:
    """Places nearest to ten equal shares of the sorted rows at which the score falls: ties never part."""
    falls = np.append(0, np.flatnonzero(np.diff(score)) + 1)
    middles = (falls[1:] + falls[:-1]) / 2
    return np.unique(falls[np.searchsorted(middles, np.arange(BINS) * len(score) / BINS)])
