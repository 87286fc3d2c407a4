"""What a contact earns because it was made.

Enters: calibrated churn probabilities, what each customer is worth, and what contacting costs. Leaves: incremental
profit per customer, in the currency of the costs. Invariant: money that makes no sense (a negative or unknown value, a
probability outside [0, 1]) raises; it never becomes a number.

The formula. Of the customers who would leave, a share `g` (the save rate) stays because of the contact and is worth
`clv - d`, their value less the incentive. Of those who would have stayed anyway, everybody takes the incentive `d`. The
contact itself costs `f` in any case. With churn probability `p`:

    incremental_profit = p * g * (clv - d) - (1 - p) * d - f

It compares acting with not acting. A churner who is lost either way costs the contact and nothing else: the customer's
value is not a cost of the campaign, because without the campaign it would be lost as well.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.model.protocol import Vector

__all__ = ["Range", "check_amounts", "check_money", "incremental_profit", "profit_range"]

_LARGEST = sys.float_info.max


@dataclass(frozen=True, eq=False)
class Range:
    """A number per customer under an uncertain save rate.

    `low` and `high` are its smallest and largest value over the whole range of the save rate. `expected` is its value
    at the middle of that range; profit is linear in the save rate, so for profit this is the mean of the range too.
    Without a range all three are equal. Each is a float64 array (rows,).
    """

    low: Vector
    expected: Vector
    high: Vector

    @classmethod
    def over_save_rates(cls, value: ValueSettings, amount: Callable[[float], Vector]) -> Self:
        """What an amount that only rises or only falls with the save rate is over the settings' range of them."""
        low, high = value.save_rates
        at_low = amount(low)
        if low == high:
            return cls(at_low, at_low, at_low)
        at_high = amount(high)
        # Saving a customer who is worth less than the incentive loses money, so the ends may come in either order.
        return cls(np.minimum(at_low, at_high), amount(value.middle_save_rate), np.maximum(at_low, at_high))


def incremental_profit(
    probability: npt.ArrayLike,
    clv: npt.ArrayLike,
    *,
    save_rate: float,
    incentive_cost: float,
    contact_cost: float,
) -> Vector:
    """Money earned by contacting, compared with not contacting.

    Parameters
    ----------
    probability : array_like
        Calibrated churn probabilities, in [0, 1].
    clv : array_like
        What a customer who stays is worth: one amount, or one per customer.
    save_rate : float
        Share of the contacted churners who stay because of it, in [0, 1].
    incentive_cost : float
        Cost of the incentive; the saved ones and everybody who would have stayed anyway take it.
    contact_cost : float
        Cost of one contact.

    Returns
    -------
    float64 array
        One amount per customer; negative where contacting loses money.

    Raises
    ------
    InputError
        A probability, value, rate or cost makes no sense.

    Examples
    --------
    >>> incremental_profit([0.5, 0.05], 600, save_rate=0.3, incentive_cost=50, contact_cost=10).tolist()
    [47.5, -49.25]
    """
    p = check_amounts("A churn probability", probability, high=1.0)
    value = check_amounts("A customer value", clv)
    return _profit(p, value, *check_money(save_rate, incentive_cost, contact_cost))


def profit_range(probability: npt.ArrayLike, clv: npt.ArrayLike, value: ValueSettings) -> Range:
    """Incremental profit over the settings' range of save rates.

    Parameters
    ----------
    probability : array_like
        Calibrated churn probabilities, in [0, 1].
    clv : array_like
        Customer values; the settings' own `clv` may be a column's name and is not used here.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A probability or value makes no sense.

    Examples
    --------
    >>> profit = profit_range([0.5], 600, ValueSettings(contact_cost=10, save_rate=(0.1, 0.3)))
    >>> profit.low.tolist(), profit.expected.tolist(), profit.high.tolist()
    ([20.0], [50.0], [80.0])
    """
    p = check_amounts("A churn probability", probability, high=1.0)
    amount = check_amounts("A customer value", clv)
    incentive, contact = value.incentive_cost, value.contact_cost
    return Range.over_save_rates(value, lambda rate: _profit(p, amount, *check_money(rate, incentive, contact)))


def _profit(p: Vector, value: Vector, rate: float, incentive: float, contact: float) -> Vector:
    profit: Vector = p * rate * (value - incentive) - (1.0 - p) * incentive - contact
    return profit


def check_money(save_rate: float, incentive_cost: float, contact_cost: float) -> tuple[float, float, float]:
    """Refuse a save rate outside [0, 1] and costs that are negative or not finite; gives them back.

    Examples
    --------
    >>> check_money(0.3, 0, 10)
    (0.3, 0.0, 10.0)
    """
    if not 0 <= save_rate <= 1:
        check_amounts("A save rate", save_rate, high=1.0)
    if not 0 <= incentive_cost < math.inf:
        check_amounts("An incentive cost", incentive_cost)
    if not 0 <= contact_cost < math.inf:
        check_amounts("A contact cost", contact_cost)
    return float(save_rate), float(incentive_cost), float(contact_cost)


def check_amounts(what: str, values: npt.ArrayLike, *, high: float = np.inf) -> Vector:
    """Refuse numbers that are not finite or lie outside [0, high].

    Parameters
    ----------
    what : str
        How the message calls one of them, with its article.
    values : array_like
        The numbers.
    high : float
        Largest one that makes sense.

    Raises
    ------
    InputError
        Some number does not; the message counts them and shows the first.

    Examples
    --------
    >>> check_amounts("A rate", [0.5, -1, 2], high=1)
    Traceback (most recent call last):
    tenure.core.errors.InputError: A rate must be a number from 0 to 1; 2 of 3 are not, the first is -1.0 at position 1.
    → Correct it where it comes from.
    """
    numbers: Vector = np.asarray(values, dtype=np.float64)
    good = (numbers >= 0) & (numbers <= min(high, _LARGEST))
    if good.all():
        return numbers
    bad = ~good
    position = int(np.flatnonzero(bad)[0])
    bounds = "of at least 0" if high == np.inf else f"from 0 to {high:g}"
    first = np.atleast_1d(numbers).ravel()[position]
    found = f"; {int(bad.sum())} of {numbers.size} are not, the first is {first} at position {position}."
    raise InputError(
        f"{what} must be a number {bounds}" + (found if numbers.ndim else f", not {first}."),
        hint="Correct it where it comes from.",
        position=position,
    )
