"""What contacts did earn, once it is known who left, and how sure that is.

Enters: labels, customer values, who was contacted. Leaves: money with an interval. Invariant: a churner's probability
is 1 and a stayer's 0 in the very formula that decides; nobody is counted whose value is not known (NaN); intervals take
a customer with all their rows as one observation.

The interval of a sum over rows. Drawing customers again, as many as there are, gives sums whose variance is exactly
`sum((s - mean(s))**2)` over the customers' own sums `s`. With it the interval is `± 1.96` standard deviations, which is
what endless draws of so many customers come to, without the draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenure.core.settings import ValueSettings
from tenure.model.evaluate import Estimate
from tenure.model.protocol import Flags, Vector
from tenure.value.profit import Range, profit_range

__all__ = ["SURE", "Outcome", "earned", "outcome", "sum_with_interval"]

SURE = 1.959963984540054  # standard deviations to either side that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Outcome:
    """What a set of contacts earned.

    Parameters
    ----------
    rows : int
        Rows whose customer's value is known.
    contacted : int
        How many of them were contacted.
    profit : Estimate
        Incremental profit of all contacts together at the middle of the save rate's range, with the 95 % interval from
        drawing customers.
    per_customer : Estimate
        The same divided by `rows`, the contacted and the others.
    worst, best : float
        Profit at the ends of the save rate's range; both equal to the profit's value where it is one number.
    """

    rows: int
    contacted: int
    profit: Estimate
    per_customer: Estimate
    worst: float
    best: float


def earned(label: Flags, clv: Vector, value: ValueSettings) -> Range:
    """What contacting each row would have earned, given what happened.

    Parameters
    ----------
    label : bool array (rows,)
        Whether the customer was lost.
    clv : float64 array (rows,)
        What each customer is worth; NaN: not known, and nothing is earned.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A known value is negative or infinite.

    Examples
    --------
    >>> earned(np.array([True, False]), np.array([600.0, 600.0]), ValueSettings(save_rate=0.3)).expected.tolist()
    [170.0, -10.0]
    """
    known = ~np.isnan(clv)
    found = profit_range(label.astype(np.float64), np.where(known, clv, 0.0), value)
    low, expected, high = (np.where(known, part, 0.0) for part in (found.low, found.expected, found.high))
    return Range(low, expected, high)


def outcome(label: Flags, clv: Vector, contacted: Flags, group: npt.NDArray[np.int64], value: ValueSettings) -> Outcome:
    """Add up what a set of contacts earned.

    Parameters
    ----------
    label : bool array (rows,)
        Whether the customer was lost.
    clv : float64 array (rows,)
        What each customer is worth; NaN: not known.
    contacted : bool array (rows,)
        Who was contacted.
    group : int64 array (rows,)
        The customer behind each row, 0 to `customers - 1`.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A known value is negative or infinite.

    Examples
    --------
    >>> label, clv = np.array([True, False, False]), np.full(3, 600.0)
    >>> found = outcome(label, clv, np.array([True, True, False]), np.arange(3), ValueSettings(save_rate=0.3))
    >>> found.contacted, found.profit.value, round(found.per_customer.value, 2)
    (2, 160.0, 53.33)
    """
    known = ~np.isnan(clv)
    chosen, money = contacted & known, earned(label, clv, value)
    profit = sum_with_interval(np.where(chosen, money.expected, 0.0), group)
    rows = max(int(known.sum()), 1)
    each = Estimate(profit.value / rows, profit.low / rows, profit.high / rows)
    ends = sorted((float(money.low[chosen].sum()), float(money.high[chosen].sum())))
    return Outcome(int(known.sum()), int(chosen.sum()), profit, each, *ends)


def sum_with_interval(amounts: Vector, group: npt.NDArray[np.int64]) -> Estimate:
    """The sum of rows' amounts, with the 95 % interval from drawing customers.

    Examples
    --------
    >>> str(sum_with_interval(np.array([1.0, 3.0, 2.0]), np.array([0, 1, 1])))
    '6.000 [0.456, 11.544]'
    """
    total = float(amounts.sum())
    sums = np.bincount(group, amounts) if len(group) else np.zeros(1)
    half = SURE * float(np.sqrt(((sums - sums.mean()) ** 2).sum()))
    return Estimate(total, total - half, total + half)
