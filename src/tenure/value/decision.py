"""From probability and value to what should be done with a customer.

Enters: calibrated churn probabilities, customer values (NaN where a customer's value is not known), the money settings.
Leaves: profit, decision and band of each customer. Invariant: a customer is to be contacted exactly where the expected
incremental profit is not negative; one whose value is not known is never contacted and has neither profit nor band.

With a range of save rates, decisions follow the middle of the range. Profit is linear in the save rate, so whoever
believes that the rate lies anywhere in the range, evenly around its middle, earns most on average by deciding there.

Bands say how a probability stands to the customer's own threshold `t*`: `high` at or above it (contacting pays),
`medium` from half of it, `low` below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenure.core.settings import ValueSettings
from tenure.model.protocol import Flags, Vector
from tenure.value.profit import Range, profit_range
from tenure.value.threshold import t_star

__all__ = ["BANDS", "NO_BAND", "Decisions", "decide"]

BANDS = ("low", "medium", "high")
NO_BAND = -1
_MEDIUM_FROM = 0.5  # share of t*


@dataclass(frozen=True, eq=False)
class Decisions:
    """What follows from each customer's score.

    Parameters
    ----------
    profit : Range
        Incremental profit of contacting; NaN where the value is not known.
    contact : bool array (rows,)
        Whether contacting pays.
    band : int8 array (rows,)
        Index into `BANDS`, or `NO_BAND` where the value is not known.
    """

    profit: Range
    contact: Flags
    band: npt.NDArray[np.int8]


def decide(probability: Vector, clv: Vector, value: ValueSettings) -> Decisions:
    """Work out profit, decision and band of each customer.

    Parameters
    ----------
    probability : float64 array (rows,)
        Calibrated churn probabilities.
    clv : float64 array (rows,)
        What each customer is worth; NaN: not known.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A probability or a known value makes no sense.

    Examples
    --------
    >>> found = decide(np.array([0.5, 0.04, 0.01]), np.array([600.0, 600.0, np.nan]), ValueSettings(save_rate=0.3))
    >>> found.profit.expected.round(2).tolist(), found.contact.tolist()
    ([80.0, -2.8, nan], [True, False, False])
    >>> [BANDS[code] if code != NO_BAND else None for code in found.band]
    ['high', 'medium', None]
    """
    known = ~np.isnan(clv)
    amounts = np.where(known, clv, 0.0)
    profit = profit_range(probability, amounts, value)
    contact = known & (profit.expected >= 0)
    medium = probability >= _MEDIUM_FROM * _threshold(amounts, value)
    # `high` follows the decision and not a second comparison, which could differ from it by a rounding error.
    band = np.add(contact, contact | medium, dtype=np.int8)
    band[~known] = NO_BAND
    return Decisions(_of_known(profit, known), contact, band)


def _threshold(amounts: Vector, value: ValueSettings) -> Vector:
    """`t_star_range(amounts, value).expected`."""
    costs = {"incentive_cost": value.incentive_cost, "contact_cost": value.contact_cost}
    return t_star(amounts, save_rate=value.middle_save_rate, **costs)


def _of_known(profit: Range, known: Flags) -> Range:
    if profit.low is profit.high:
        alike = np.where(known, profit.low, np.nan)
        return Range(alike, alike, alike)
    return Range(*(np.where(known, part, np.nan) for part in (profit.low, profit.expected, profit.high)))
