"""How good a model is, on rows that had no part in making it, and how sure that is.

Enters: labels, scores and the customer behind each row. Leaves: a `Judgement` with an interval on every number.
Invariant: intervals resample customers, never rows, because several rows of one customer are one piece of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "CalibrationBin", "Decile", "Estimate", "Judgement"]

METRICS = (
    "roc_auc",
    "average_precision",
    "brier",
    "log_loss",
    "observed_expected",
    "lift_top_decile",
    "recall",
    "precision",
    "contacted_share",
)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Examples
    --------
    >>> str(Estimate(0.8634, 0.84, 0.8821))
    '0.863 [0.840, 0.882]'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows, the first one with the highest scores.

    Parameters
    ----------
    decile : int
        1 to 10.
    rows, positives : int
        Rows in it and churners among them.
    lift : Estimate
        Churn rate in the decile over the churn rate of all rows.
    gain : Estimate
        Share of all churners found in this decile and the ones above it.
    """

    decile: int
    rows: int
    positives: int
    lift: Estimate
    gain: Estimate


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of similar predicted probability: the mean prediction beside the churn rate that came true."""

    predicted: float
    observed: Estimate
    rows: int


@dataclass(frozen=True)
class Judgement:
    """What one model or baseline achieved on one block of rows.

    Parameters
    ----------
    name : str
        Family or baseline.
    kind : {"model", "baseline"}
        Whether it was trained.
    block : str
        Which rows, for example `"test"`.
    rows, positives : int
        Rows judged and churners among them.
    metrics : mapping of str to Estimate
        Keys from `METRICS`. A metric that is not defined is absent: the probability metrics of a ranking, the precision
        of contacting nobody.
    deciles : tuple of Decile
        Ten of them.
    roc : tuple of (false positive rate, true positive rate)
        At most 200 points, from (0, 0) to (1, 1).
    precision_recall : tuple of (recall, precision)
        At most 200 points, recall ascending.
    calibration : tuple of CalibrationBin
        Empty for a ranking.
    """

    name: str
    kind: Literal["model", "baseline"]
    block: str
    rows: int
    positives: int
    metrics: Mapping[str, Estimate]
    deciles: tuple[Decile, ...]
    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]
    calibration: tuple[CalibrationBin, ...]
