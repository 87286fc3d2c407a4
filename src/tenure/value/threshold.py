"""From which churn probability on a contact earns money.

Enters: customer values and what contacting costs. Leaves: the threshold `t*` of each customer. Invariant: a customer's
probability reaches `t*` exactly where incremental profit is not negative (up to rounding in the last digit).

Where it comes from. Incremental profit grows in the probability `p` by `s = g * (clv - d) + d` per unit, starting from
`-(d + f)` at `p = 0`. So it is not negative exactly where `p * s >= d + f`, which for `s > 0` is

    p >= t* = (d + f) / (g * (clv - d) + d)

Where `s <= 0` (a customer worth so much less than the incentive that saving one costs more than a stayer's incentive)
no probability is high enough and `t*` is infinite, unless contacting costs nothing at all (`d + f = 0`): then nothing
can be lost and `t*` is 0. A `t*` above 1 means the same as an infinite one, since no probability reaches it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenure.core.settings import ValueSettings
from tenure.model.protocol import Vector
from tenure.value.profit import Range, check_amounts, check_money

__all__ = ["t_star", "t_star_range"]


def t_star(clv: npt.ArrayLike, *, save_rate: float, incentive_cost: float, contact_cost: float) -> Vector:
    """Smallest churn probability at which a contact does not lose money.

    Parameters
    ----------
    clv : array_like
        What a customer who stays is worth: one amount, or one per customer.
    save_rate : float
        Share of the contacted churners who stay because of it, in [0, 1].
    incentive_cost, contact_cost : float
        Cost of the incentive and of one contact.

    Returns
    -------
    float64 array
        One threshold per customer; above 1, or infinite, where contacting never pays.

    Raises
    ------
    InputError
        A value, rate or cost makes no sense.

    Examples
    --------
    >>> float(t_star(600, save_rate=0.25, incentive_cost=0, contact_cost=15))
    0.1
    >>> t_star([600, 20], save_rate=0.3, incentive_cost=50, contact_cost=10).round(3).tolist()
    [0.279, 1.463]
    """
    value = check_amounts("A customer value", clv)
    rate, incentive, contact = check_money(save_rate, incentive_cost, contact_cost)
    cost = incentive + contact
    slope = rate * (value - incentive) + incentive
    pays = slope > 0
    with np.errstate(over="ignore"):  # beyond the largest number is above 1 as well
        threshold = np.divide(cost, slope, out=np.full(slope.shape, np.inf), where=pays)
    return np.where(~pays & (cost == 0), 0.0, threshold)


def t_star_range(clv: npt.ArrayLike, value: ValueSettings) -> Range:
    """Thresholds over the settings' range of save rates; `expected` is the one that decisions use.

    Parameters
    ----------
    clv : array_like
        Customer values.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A customer value makes no sense.

    Examples
    --------
    >>> threshold = t_star_range(600, ValueSettings(contact_cost=12, save_rate=(0.1, 0.4)))
    >>> float(threshold.low), round(float(threshold.expected), 12), float(threshold.high)
    (0.05, 0.08, 0.2)
    """
    costs = {"incentive_cost": value.incentive_cost, "contact_cost": value.contact_cost}
    return Range.over_save_rates(value, lambda rate: t_star(clv, save_rate=rate, **costs))
