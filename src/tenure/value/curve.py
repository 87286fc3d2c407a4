"""Profit against how many are contacted, for every threshold, capacity and save rate.

Enters: scores, labels and customer values of a block. Leaves: a `ProfitCurve`, sums down the ranking from which the
profit of any threshold, capacity, save rate and cost follows without the rows. Invariant: at every place it equals the
plain sum over the rows that are contacted there; equal scores are contacted together; rows whose customer's value is
not known (NaN) are not in it.

What it ranks by. With one customer value for all, by churn probability, and then every place is a threshold. Where
customers are worth different amounts, by probability times value, the value at stake: that is the order of incremental
profit where there is no incentive, and nearly so where it is small beside the value.

Why sums are enough. With `n` contacted, `c` churners among them and `w` the sum of those churners' values, a save rate
`g`, an incentive `d` and a contact cost `f` give the profit `g * (w - d * c) - d * (n - c) - f * n`: a weighted sum of
`w`, `c` and `n`. So the covariance of these three over customers gives the interval for any rate and costs as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.model.evaluate import Estimate
from tenure.model.protocol import Flags, Vector
from tenure.value.outcome import SURE
from tenure.value.profit import check_amounts
from tenure.value.threshold import t_star

__all__ = ["CurvePoint", "ProfitCurve", "by_capacity", "by_save_rate", "by_threshold", "profit_curve"]


@dataclass(frozen=True)
class CurvePoint:
    """One point of a curve.

    Parameters
    ----------
    at : float
        The threshold, the capacity or the save rate.
    contacted : int
        Rows that are contacted.
    profit : Estimate
        Incremental profit of all these contacts, with the 95 % interval from drawing customers.
    """

    at: float
    contacted: int
    profit: Estimate


@dataclass(frozen=True, eq=False)
class ProfitCurve:
    """Sums down the ranking; every array has one entry per place, the first contacts nobody.

    Parameters
    ----------
    ranked_by : {"probability", "value at stake"}
        What the scores are.
    rows, churners : int
        Rows with a known value, and churners among them.
    score : float64 array
        Lowest score contacted; infinite at the first place.
    contacted, lost : int64 array
        Rows contacted, and churners among them.
    worth : float64 array
        Sum of those churners' values.
    spread : float64 array (places, 6)
        Over customers, the sums of squares and products about their means: of `worth`, `lost` and `contacted` with
        themselves, then worth with lost, worth with contacted, and lost with contacted.

    Examples
    --------
    >>> curve = profit_curve([0.9, 0.5, 0.1], np.array([True, True, False]), 600, np.arange(3))
    >>> curve.profit(save_rate=0.3, incentive_cost=0, contact_cost=10).tolist()
    [0.0, 170.0, 340.0, 330.0]
    """

    ranked_by: Literal["probability", "value at stake"]
    rows: int
    churners: int
    score: Vector
    contacted: npt.NDArray[np.int64]
    lost: npt.NDArray[np.int64]
    worth: Vector
    spread: Vector

    def profit(self, *, save_rate: float, incentive_cost: float, contact_cost: float) -> Vector:
        """Incremental profit at every place."""
        a, b, c = _coefficients(save_rate, incentive_cost, contact_cost)
        return np.asarray(a * self.worth + b * self.lost + c * self.contacted, dtype=np.float64)

    def half_width(self, *, save_rate: float, incentive_cost: float, contact_cost: float) -> Vector:
        """Half of the 95 % interval at every place."""
        a, b, c = _coefficients(save_rate, incentive_cost, contact_cost)
        weights = np.array([a * a, b * b, c * c, 2 * a * b, 2 * a * c, 2 * b * c])
        return np.asarray(SURE * np.sqrt(np.maximum(self.spread @ weights, 0.0)), dtype=np.float64)

    def at_threshold(self, threshold: float) -> int:
        """The place that contacts everybody whose score reaches the threshold."""
        return int((self.score >= threshold).sum()) - 1 if threshold < np.inf else 0

    def at_capacity(self, capacity: int) -> int:
        """The last place that contacts no more than so many.

        Raises
        ------
        InputError
            The capacity is negative.
        """
        if capacity < 0:
            raise InputError(f"A capacity of {capacity} contacts makes no sense.", hint="Give 0 or more, or omit it.")
        return int(np.searchsorted(self.contacted, capacity, side="right")) - 1

    def thinned(self, places: int, keep: Sequence[int] = ()) -> ProfitCurve:
        """At most about so many places, evenly spaced in contacts and closer together at the top; some always kept."""
        last = len(self.score) - 1
        if last < places:
            return self
        even = np.linspace(0, self.contacted[-1], places * 3 // 4)
        top = np.linspace(0, self.contacted[-1] / 10, places // 4)
        wanted = np.searchsorted(self.contacted, np.concatenate([even, top]))
        kept = np.unique(np.concatenate([wanted, [0, last], np.asarray(keep, dtype=np.int64)]).astype(np.int64))
        return replace(
            self,
            score=self.score[kept],
            contacted=self.contacted[kept],
            lost=self.lost[kept],
            worth=self.worth[kept],
            spread=self.spread[kept],
        )


def profit_curve(
    probability: npt.ArrayLike, label: Flags, clv: npt.ArrayLike, group: npt.NDArray[np.int64]
) -> ProfitCurve:
    """Sum up the rows of a block in the order in which they would be contacted.

    Parameters
    ----------
    probability : array_like (rows,)
        Calibrated churn probabilities.
    label : bool array (rows,)
        Who was lost.
    clv : array_like
        One amount for all, or one per row; NaN: not known.
    group : int64 array (rows,)
        The customer behind each row, 0 to `customers - 1`.

    Raises
    ------
    InputError
        A probability or a known value makes no sense.

    Examples
    --------
    >>> curve = profit_curve([0.5, 0.2, 0.2], np.array([False, True, True]), [100, 900, np.nan], np.arange(3))
    >>> curve.ranked_by, curve.rows, curve.score.tolist()
    ('value at stake', 2, [inf, 180.0, 50.0])
    """
    chance = check_amounts("A churn probability", probability, high=1.0)
    given = np.asarray(clv, dtype=np.float64)
    known = ~np.isnan(np.broadcast_to(given, chance.shape))
    worth = check_amounts("A customer value", np.broadcast_to(given, chance.shape)[known])
    score = chance[known] if given.ndim == 0 else chance[known] * worth
    order = np.argsort(-score, kind="stable")
    lost = label[known][order]
    gains = np.column_stack([np.where(lost, worth[order], 0.0), lost, np.ones(len(order))])
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(order) else np.empty(0, dtype=np.int64)
    sums = np.vstack([np.zeros((1, 3)), np.cumsum(gains, axis=0)[last]])
    customers = int(group.max()) + 1 if len(group) else 1
    return ProfitCurve(
        ranked_by="probability" if given.ndim == 0 else "value at stake",
        rows=int(known.sum()),
        churners=int(lost.sum()),
        score=np.append(np.inf, score[order][last]),
        contacted=sums[:, 2].astype(np.int64),
        lost=sums[:, 1].astype(np.int64),
        worth=sums[:, 0],
        spread=_spread(gains, group[known][order], last, customers),
    )


def by_threshold(curve: ProfitCurve, value: ValueSettings, thresholds: Sequence[float]) -> tuple[CurvePoint, ...]:
    """Profit at each threshold, at the middle of the save rate's range.

    Examples
    --------
    >>> curve = profit_curve([0.9, 0.5, 0.1], np.array([True, True, False]), 600, np.arange(3))
    >>> [(point.contacted, point.profit.value) for point in by_threshold(curve, ValueSettings(), [0.6, 0.5])]
    [(1, 170.0), (2, 340.0)]
    """
    return _points(curve, value, [(at, curve.at_threshold(at)) for at in thresholds])


def by_capacity(curve: ProfitCurve, value: ValueSettings, capacities: Sequence[int]) -> tuple[CurvePoint, ...]:
    """Profit with each capacity, contacting from the top, the ones that do not pay as well.

    Examples
    --------
    >>> curve = profit_curve([0.9, 0.5, 0.1], np.array([True, True, False]), 600, np.arange(3))
    >>> [(point.contacted, point.profit.value) for point in by_capacity(curve, ValueSettings(), [0, 2, 9])]
    [(0, 0.0), (2, 340.0), (3, 330.0)]
    """
    return _points(curve, value, [(at, curve.at_capacity(at)) for at in capacities])


def by_save_rate(
    curve: ProfitCurve, value: ValueSettings, rates: Sequence[float], threshold: float | None = None
) -> tuple[CurvePoint, ...]:
    """Profit at each save rate: at one threshold, or where it would pay to contact from if the rate were so.

    Parameters
    ----------
    curve : ProfitCurve
        Ranked by probability where no threshold is given.
    value : ValueSettings
        Costs; `clv` is an amount where no threshold is given.
    rates : sequence of float
        Save rates.
    threshold : float, optional
        Without it, each rate has its own `t*`.

    Raises
    ------
    InputError
        Customers have values of their own and no threshold is given.

    Examples
    --------
    >>> curve = profit_curve([0.9, 0.5, 0.01], np.array([True, True, False]), 600, np.arange(3))
    >>> found = by_save_rate(curve, ValueSettings(), [0.0, 0.02, 0.5])
    >>> [(point.contacted, point.profit.value) for point in found]
    [(0, 0.0), (1, 2.0), (2, 580.0)]
    """
    if threshold is None and (curve.ranked_by != "probability" or isinstance(value.clv, str)):
        raise InputError(
            "Customers have values of their own, so no one threshold pays at a save rate.",
            hint="Give the threshold of the value at stake from which on to contact.",
        )
    points = []
    for rate in rates:
        costs = {"save_rate": rate, "incentive_cost": value.incentive_cost, "contact_cost": value.contact_cost}
        at = threshold if threshold is not None else float(t_star(float(value.clv), **costs))
        place = curve.at_threshold(at)
        points.append(CurvePoint(rate, int(curve.contacted[place]), _estimate(curve, place, costs)))
    return tuple(points)


def _points(curve: ProfitCurve, value: ValueSettings, places: list[tuple[float, int]]) -> tuple[CurvePoint, ...]:
    costs = {
        "save_rate": value.middle_save_rate,
        "incentive_cost": value.incentive_cost,
        "contact_cost": value.contact_cost,
    }
    return tuple(CurvePoint(at, int(curve.contacted[place]), _estimate(curve, place, costs)) for at, place in places)


def _estimate(curve: ProfitCurve, place: int, costs: dict[str, float]) -> Estimate:
    profit, half = float(curve.profit(**costs)[place]), float(curve.half_width(**costs)[place])
    return Estimate(profit, profit - half, profit + half)


def _coefficients(save_rate: float, incentive: float, contact: float) -> tuple[float, float, float]:
    """What a unit of worth, a churner and a contact add to the profit."""
    return save_rate, incentive - save_rate * incentive, -incentive - contact


def _spread(gains: Vector, group: npt.NDArray[np.int64], last: npt.NDArray[np.int64], customers: int) -> Vector:
    """Sums of squares and products about the mean over customers, kept up to date row by row.

    A row that joins changes only its own customer's sums: from `s` to `s + x` the sum of products changes by
    `(s + x)(s + x)' - s s'`. What a customer had before is the sum of their earlier rows in the ranking.
    """
    by_customer = np.argsort(group, kind="stable")
    ordered = gains[by_customer]
    before = np.cumsum(ordered, axis=0) - ordered
    first = np.append(True, np.diff(group[by_customer]) != 0) if len(group) else np.empty(0, dtype=np.bool_)
    start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0)) if len(group) else first.astype(np.int64)
    earlier = np.empty_like(gains)
    earlier[by_customer] = before - before[start]
    after = earlier + gains
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    changes = np.column_stack([after[:, i] * after[:, j] - earlier[:, i] * earlier[:, j] for i, j in pairs])
    totals = np.cumsum(gains, axis=0)[last]
    means = np.column_stack([totals[:, i] * totals[:, j] for i, j in pairs]) / customers
    return np.vstack([np.zeros((1, 6)), np.cumsum(changes, axis=0)[last] - means])
