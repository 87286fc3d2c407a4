"""How good every candidate is, and by how much it differs from another, on the same draws of customers.

Enters: labels, customers, what is at stake, and each candidate's probabilities of the test block. Leaves: `Draws`:
every number of every candidate on the block as it is and on each bootstrap draw. Invariant: all candidates are measured
on the same draws, so a difference is paired; whole customers are drawn; nothing is chosen on the test block, for the
threshold follows from money alone.

Two kinds of intervals
----------------------
`estimate` and `ahead` are ordinary 95 % intervals, for tables. A sentence that picks the best of several candidates
looks at all of their differences, and one of twenty would exclude zero by luck. So sentences use `together`: the
half-widths are stretched by one factor, found on the draws, such that with a probability of 95 % all of the intervals
hold at once (the largest studentised distance over the candidates; Romano and Wolf 2005).

What draws cannot see
---------------------
Two candidates earn differently only by the customers on whom they disagree. Where hardly any of those left, no draw
holds what missing one more of them would have cost, which is many contacts' worth; intervals of the difference in
profit are then far too narrow. So `leavers_apart` counts the customers who left and on whom two candidates disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure.core.settings import ValueSettings
from tenure.model.baseline import matching_threshold
from tenure.model.bootstrap import REPEATS, customer_codes, interval, resample
from tenure.model.evaluate import Estimate, check_both_kinds
from tenure.model.frame import Times
from tenure.model.measure import ORDER_PLACES, SUM_NAMES, SUM_PLACES, Measure
from tenure.model.protocol import Flags, Vector
from tenure.value.decision import decide
from tenure.value.profit import profit_range
from tenure.value.target import choose_by_batch

__all__ = ["HALF", "METRICS", "Draws", "Judged", "Stakes", "draw"]

HALF = 0.5
METRICS = (
    "roc_auc", "average_precision", *SUM_NAMES, "profit",
    "contacted_at_half", "recall_at_half", "precision_at_half", "plain_recall", "recall_gained",
)  # fmt: skip
"""Profit is per customer. The last five cut the model's own, uncorrected probability at one half, as is often done;
`plain_recall` is what the same family without a method reaches with as many contacts, `recall_gained` the difference.
"""
_CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Stakes:
    """The rows that candidates are judged on, with what happened and what was at stake.

    Parameters
    ----------
    customer_id : Arrow array of text (rows,)
        Whose row it is.
    cutoff : datetime64[us] array (rows,)
        NaT in a table without time. A batch is what shares a cutoff, and each has the whole capacity.
    label : bool array (rows,)
        Whether the customer was lost.
    worth : float64 array (rows,)
        What each row's customer is worth; NaN: not known, and never contacted.
    value : ValueSettings
        Costs, save rate and capacity.

    Examples
    --------
    >>> value = ValueSettings(clv=600, contact_cost=10, save_rate=0.3)
    >>> stakes = Stakes(
    ...     pa.array(["a", "b"]),
    ...     np.full(2, np.datetime64("NaT")),
    ...     np.array([True, False]),
    ...     np.array([600.0, 600.0]),
    ...     value,
    ... )
    >>> stakes.contacted(np.array([0.5, 0.01])).tolist(), stakes.earned().tolist()
    ([True, False], [170.0, -10.0])
    """

    customer_id: pa.Array
    cutoff: Times
    label: Flags
    worth: Vector
    value: ValueSettings

    def contacted(self, probability: Vector) -> Flags:
        """Whom these probabilities would have us contact, at the threshold that money fixed before."""
        ids = np.asarray(self.customer_id.to_pylist(), dtype=object)
        profit = decide(probability, self.worth, self.value).profit.expected
        return choose_by_batch(profit, ids, self.cutoff, self.value.capacity)

    def earned(self) -> Vector:
        """What contacting each row earns, counted from what happened, at the middle of the save rate."""
        known = np.where(np.isnan(self.worth), 0.0, self.worth)
        return profit_range(self.label.astype(np.float64), known, self.value).expected


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate's answers on the test block.

    Parameters
    ----------
    name : str
        The candidate's.
    probability : float64 array (rows,)
        As served.
    uncorrected : float64 array (rows,)
        The model's own, before prior correction and calibration.
    plain : float64 array (rows,), optional
        The same of the same family without an imbalance method; None for that one itself.
    """

    name: str
    probability: Vector
    uncorrected: Vector
    plain: Vector | None = None

    @property
    def plain_cut(self) -> float | None:
        """Where the plain model's scores must be cut to contact as many rows as this model's do at one half.

        Examples
        --------
        >>> Judged("smote", np.zeros(3), np.array([0.9, 0.6, 0.3]), plain=np.array([0.4, 0.2, 0.1])).plain_cut
        0.2
        """
        return None if self.plain is None else matching_threshold(self.plain, int((self.uncorrected >= HALF).sum()))


@dataclass(frozen=True, eq=False)
class Draws:
    """Every number of every candidate, as it is and on each draw.

    Parameters
    ----------
    names : tuple of str
        The candidates.
    metrics : tuple of str
        The numbers, for example `METRICS`.
    point : float64 array (candidates, metrics)
        On the block as it is; NaN where a number is not defined.
    drawn : float64 array (draws, candidates, metrics)
        On each draw of customers.
    reached : bool array (candidates, leavers)
        Which of the customers who left each candidate would have contacted.

    Examples
    --------
    >>> drawn = np.array([[[0.8], [0.7]], [[0.9], [0.7]]])
    >>> reached = np.array([[True, True, False], [True, False, True]])
    >>> draws = Draws(("a", "b"), ("roc_auc",), np.array([[0.85], [0.7]]), drawn, reached)
    >>> round(draws.ahead("a", "b", "roc_auc").value, 3), draws.leavers_apart("a", "b")
    (0.15, 2)
    """

    names: tuple[str, ...]
    metrics: tuple[str, ...]
    point: npt.NDArray[np.float64]
    drawn: npt.NDArray[np.float64]
    reached: npt.NDArray[np.bool_]

    def estimate(self, name: str, metric: str) -> Estimate:
        """A number with its 95 % interval."""
        place = self._place(name, metric)
        return _estimate(self.point[place], self.drawn[(slice(None), *place)])

    def ahead(self, name: str, other: str, metric: str) -> Estimate:
        """By how much a candidate's number exceeds another's, with the paired 95 % interval."""
        return _estimate(*self._gap(name, other, metric))

    def together(self, pairs: Sequence[tuple[str, str]], metric: str) -> tuple[Estimate, ...]:
        """Differences of several pairs whose intervals all hold at once with 95 %."""
        gaps = [self._gap(name, other, metric) for name, other in pairs]
        points, samples = np.array([gap[0] for gap in gaps]), np.stack([gap[1] for gap in gaps], axis=1)
        samples = samples[~np.isnan(samples).any(axis=1)]  # a draw may hold one kind of customer only
        spread = samples.std(axis=0)
        distance = np.abs(samples - points) / np.where(spread > 0, spread, np.inf)
        factor = float(np.quantile(distance.max(axis=1), _CONFIDENCE))
        return tuple(
            Estimate(point, point - factor * wide, point + factor * wide)
            for point, wide in zip(points.tolist(), spread.tolist(), strict=True)
        )

    def leavers_apart(self, name: str, other: str) -> int:
        """How many of those who left would be contacted by one of two candidates alone."""
        first, second = (self.reached[self.names.index(one)] for one in (name, other))
        return int((first != second).sum())

    def _place(self, name: str, metric: str) -> tuple[int, int]:
        return self.names.index(name), self.metrics.index(metric)

    def _gap(self, name: str, other: str, metric: str) -> tuple[float, Vector]:
        first, second = self._place(name, metric), self._place(other, metric)
        drawn = self.drawn[(slice(None), *first)] - self.drawn[(slice(None), *second)]
        return float(self.point[first] - self.point[second]), drawn


def draw(stakes: Stakes, judged: Sequence[Judged], *, seed: int = 0, repeats: int = REPEATS) -> Draws:
    """Measure every candidate on the test block and on draws of its customers.

    Parameters
    ----------
    stakes : Stakes
        The test block.
    judged : sequence of Judged
        The candidates.
    seed, repeats : int
        Of the bootstrap over customers.

    Raises
    ------
    HistoryError
        The block has no churners, no stayers or fewer than two customers.

    Examples
    --------
    >>> label = np.arange(40) % 4 == 0
    >>> stakes = Stakes(
    ...     pa.array([str(n) for n in range(40)]),
    ...     np.full(40, np.datetime64("NaT")),
    ...     label,
    ...     np.full(40, 600.0),
    ...     ValueSettings(),
    ... )
    >>> draws = draw(stakes, [Judged("sure", np.where(label, 0.9, 0.1), np.where(label, 0.9, 0.1))], repeats=20)
    >>> draws.estimate("sure", "roc_auc").value, draws.estimate("sure", "recall_at_half").value
    (1.0, 1.0)
    """
    check_both_kinds(stakes.label, "the test block")
    group, customers = customer_codes(stakes.customer_id)
    earned, contacted = stakes.earned(), [stakes.contacted(one.probability) for one in judged]
    meters = [
        _Meter.of(stakes.label, one, chosen, np.where(chosen, earned, 0.0), group, customers)
        for one, chosen in zip(judged, contacted, strict=True)
    ]

    def numbers(drawn: Vector) -> Vector:
        return np.concatenate([meter(drawn) for meter in meters])

    shape = (len(judged), len(METRICS))
    drawn = resample(numbers, customers, seed=seed, repeats=repeats).reshape(-1, *shape)
    point = numbers(np.ones(customers)).reshape(shape)
    reached = np.stack([_reached(stakes.label, chosen, group, customers) for chosen in contacted])
    return Draws(tuple(one.name for one in judged), METRICS, point, drawn, reached)


def _reached(label: Flags, contacted: Flags, group: npt.NDArray[np.int64], customers: int) -> Flags:
    """By customer who left: whether they would have been contacted at a cutoff before it."""
    lost, found = (np.bincount(group, part, minlength=customers) > 0 for part in (label, contacted & label))
    return np.asarray(found[lost], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class _Meter:
    """`METRICS` of one candidate as a function of how often each customer counts."""

    measure: Measure
    sums: npt.NDArray[np.float64]
    """By customer: rows, churners, profit, contacted at one half, churners among them, and found by the plain model."""

    @classmethod
    def of(
        cls, label: Flags, judged: Judged, chosen: Flags, earned: Vector, group: npt.NDArray[np.int64], customers: int
    ) -> _Meter:
        measure = Measure.of(
            label, judged.probability, group, customers,
            threshold=np.where(chosen, -np.inf, np.inf), probability=True,
        )  # fmt: skip
        half = judged.uncorrected >= HALF
        by_plain = np.full(len(label), np.nan)
        if judged.plain is not None and judged.plain_cut is not None:
            by_plain = (judged.plain >= judged.plain_cut).astype(np.float64)
        parts = (np.ones(len(label)), label, earned, half, half & label, by_plain * label)
        sums = np.stack([np.bincount(group, part, minlength=customers) for part in parts], axis=1)
        return cls(measure, sums.astype(np.float64))

    def __call__(self, drawn: Vector) -> Vector:
        found = self.measure(drawn)
        rows, churners, profit, half, found_at_half, by_plain = np.einsum("c,cs->s", drawn, self.sums)
        recall, plain = _ratio(found_at_half, churners), _ratio(by_plain, churners)
        own = [_ratio(profit, rows), _ratio(half, rows), recall, _ratio(found_at_half, half), plain, recall - plain]
        return np.concatenate([found[ORDER_PLACES], found[SUM_PLACES], own])


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")


def _estimate(point: float, samples: Vector) -> Estimate:
    low, high = interval(samples[:, None])
    return Estimate(float(point), float(low[0]), float(high[0]))
