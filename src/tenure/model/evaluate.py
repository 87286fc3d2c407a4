"""How good a model is, on rows that had no part in making it, and how sure that is.

Enters: labels, scores and the customer behind each row. Leaves: a `Judgement` with an interval on every number.
Invariant: intervals resample customers, never rows, because several rows of one customer are one piece of evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure.core.errors import HistoryError, InputError
from tenure.model.bootstrap import REPEATS, customer_codes, interval, resample
from tenure.model.measure import (
    BIN_PLACES,
    GAIN_PLACES,
    LIFT_PLACES,
    ORDER_PLACES,
    SHARES,
    SUM_NAMES,
    SUM_PLACES,
    Measure,
)
from tenure.model.protocol import Flags, Vector
from tenure.model.ranking import Steps, rank

__all__ = [
    "METRICS",
    "CalibrationBin",
    "Decile",
    "Estimate",
    "Judgement",
    "check_both_kinds",
    "difference",
    "judge",
]

POINTS = 200

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


def judge(  # noqa: PLR0913 - what is judged, against what, and how: every part has its name at the call
    name: str,
    kind: Literal["model", "baseline"],
    block: str,
    label: Flags,
    score: Vector,
    customer_id: pa.Array | npt.ArrayLike,
    *,
    threshold: float | Vector | None = None,
    probability: bool = True,
    seed: int = 0,
    repeats: int = REPEATS,
) -> Judgement:
    """Judge scores against what happened.

    Parameters
    ----------
    name, kind, block : str
        Who is judged and on which rows; copied into the judgement.
    label : bool array (rows,)
        Whether the customer was lost.
    score : float array (rows,)
        Higher means more likely lost.
    customer_id : Arrow or numpy array (rows,)
        The customer behind each row.
    threshold : float or float array (rows,), optional
        Rows with `score >= threshold` are contacted. Without it recall, precision and contacted share are absent.
    probability : bool
        Whether the scores are probabilities; otherwise they are a ranking.
    seed, repeats : int
        Of the bootstrap over customers.

    Raises
    ------
    InputError
        Lengths differ, a score is missing, or a probability lies outside [0, 1].
    HistoryError
        Nobody was lost, everybody was, or there are fewer than two customers.

    Examples
    --------
    >>> label = np.array([True, False, True, False])
    >>> judgement = judge("toy", "model", "test", label, np.array([0.9, 0.2, 0.6, 0.4]), np.arange(4), threshold=0.5)
    >>> judgement.metrics["roc_auc"].value, judgement.metrics["recall"].value
    (1.0, 1.0)
    """
    label, score = np.asarray(label, dtype=bool), np.asarray(score, dtype=np.float64)
    group, customers = customer_codes(customer_id)
    _check(label, score, group, probability=probability)
    measure = Measure.of(label, score, group, customers, threshold=threshold, probability=probability)
    values = measure(np.ones(customers))
    low, high = interval(resample(measure, customers, seed=seed, repeats=repeats))
    estimates = [Estimate(*map(float, triple)) for triple in zip(values, low, high, strict=True)]
    steps = measure.ranking.steps()
    return Judgement(
        name,
        kind,
        block,
        rows=len(label),
        positives=int(label.sum()),
        metrics=_metrics(estimates, probability=probability, decides=threshold is not None),
        deciles=_deciles(steps, estimates),
        roc=_roc(steps),
        precision_recall=_precision_recall(steps),
        calibration=_calibration(measure, score, estimates) if probability else (),
    )


def difference(
    label: Flags,
    first: Vector,
    second: Vector,
    customer_id: pa.Array | npt.ArrayLike,
    *,
    seed: int = 0,
    repeats: int = REPEATS,
) -> Estimate:
    """ROC AUC of the first scores minus that of the second, both on the same draws of customers.

    Paired draws remove what makes both better or worse at once, so the interval is narrower than two intervals suggest.

    Raises
    ------
    InputError
        Lengths differ or a score is missing.
    HistoryError
        Nobody was lost, everybody was, or there are fewer than two customers.

    Examples
    --------
    >>> label = np.array([True, False, True, False])
    >>> difference(label, np.array([4, 1, 3, 2]), np.array([1, 1, 1, 1]), np.arange(4)).value
    0.5
    """
    label = np.asarray(label, dtype=bool)
    scores = [np.asarray(score, dtype=np.float64) for score in (first, second)]
    group, customers = customer_codes(customer_id)
    for score in scores:
        _check(label, score, group, probability=False)
    rankings = [rank(score, label) for score in scores]
    groups = [group[ranking.order] for ranking in rankings]

    def gap(drawn: Vector) -> Vector:
        areas = [r.steps(drawn[g]).roc_auc() for r, g in zip(rankings, groups, strict=True)]
        return np.array([areas[0] - areas[1]])

    low, high = interval(resample(gap, customers, seed=seed, repeats=repeats))
    return Estimate(float(gap(np.ones(customers))[0]), float(low[0]), float(high[0]))


def _check(label: Flags, score: Vector, group: npt.NDArray[np.int64], *, probability: bool) -> None:
    if not len(label) == len(score) == len(group):
        raise InputError(
            f"{len(label)} labels, {len(score)} scores and {len(group)} customers do not belong together.",
            hint="Give one of each per row.",
        )
    missing = int(np.isnan(score).sum())
    if missing:
        raise InputError(
            f"{missing} of {len(score)} scores are missing.", hint="Give every row a score.", missing=missing
        )
    if probability and len(score) and (score.min() < 0 or score.max() > 1):
        raise InputError(
            f"Probabilities reach from {score.min():g} to {score.max():g}.",
            hint="Judge a ranking with probability=False.",
        )
    check_both_kinds(label, "the block that is judged")


def check_both_kinds(label: Flags, where: str) -> None:
    """Refuse rows without churners or without stayers.

    Raises
    ------
    HistoryError
        Only one kind is there.

    Examples
    --------
    >>> check_both_kinds(np.array([True, True]), "the test block")
    Traceback (most recent call last):
    tenure.core.errors.HistoryError: In the test block all 2 rows are churners; nothing can be told apart.
    → Check [churn]: the horizon and who counts as active decide how many are lost.
    """
    churners, rows = int(label.sum()), len(label)
    if 0 < churners < rows:
        return
    what = "there are no rows" if rows == 0 else f"all {rows} rows are {'churners' if churners else 'stayers'}"
    raise HistoryError(
        f"In {where} {what}; nothing can be told apart.",
        hint="Check [churn]: the horizon and who counts as active decide how many are lost.",
        rows=rows,
        churners=churners,
    )


def _metrics(estimates: list[Estimate], *, probability: bool, decides: bool) -> dict[str, Estimate]:
    found = dict(zip(("roc_auc", "average_precision"), estimates[ORDER_PLACES], strict=True))
    found["lift_top_decile"] = estimates[LIFT_PLACES][0]
    found |= zip(SUM_NAMES, estimates[SUM_PLACES], strict=True)
    unwanted = (() if probability else SUM_NAMES[3:]) + (() if decides else SUM_NAMES[:3])
    return {key: found[key] for key in METRICS if key not in unwanted and not np.isnan(found[key].value)}


def _deciles(steps: Steps, estimates: list[Estimate]) -> tuple[Decile, ...]:
    borders = np.append(0, np.round(SHARES * steps.rows[-1])).astype(int)
    found = np.append(0, np.round(steps.gain(SHARES) * steps.churners[-1])).astype(int)
    parts = zip(np.diff(borders), np.diff(found), estimates[LIFT_PLACES], estimates[GAIN_PLACES], strict=True)
    return tuple(
        Decile(place, int(rows), int(churners), lift, gain)
        for place, (rows, churners, lift, gain) in enumerate(parts, 1)
    )


def _roc(steps: Steps) -> tuple[tuple[float, float], ...]:
    stayers = steps.rows - steps.churners
    false, true = stayers / stayers[-1], steps.churners / steps.churners[-1]
    return _thin(false, true, along=false + true)


def _precision_recall(steps: Steps) -> tuple[tuple[float, float], ...]:
    recall, precision = steps.churners[1:] / steps.churners[-1], steps.churners[1:] / steps.rows[1:]
    return _thin(recall, precision, along=recall + steps.rows[1:] / steps.rows[-1])


def _thin(x: Vector, y: Vector, *, along: Vector) -> tuple[tuple[float, float], ...]:
    """At most `POINTS` points, evenly spaced along the curve's length; its two ends are always among them."""
    places = np.arange(len(x))
    if len(x) > POINTS:
        places = np.unique(np.searchsorted(along, np.linspace(along[0], along[-1], POINTS)))
    return tuple(zip(x[places].tolist(), y[places].tolist(), strict=True))


def _calibration(measure: Measure, score: Vector, estimates: list[Estimate]) -> tuple[CalibrationBin, ...]:
    rows = np.diff(measure.bins, append=len(score))
    predicted = np.add.reduceat(score[measure.ranking.order], measure.bins) / rows
    bins = zip(predicted.tolist(), estimates[BIN_PLACES], rows.tolist(), strict=True)
    return tuple(CalibrationBin(*parts) for parts in bins)[::-1]
