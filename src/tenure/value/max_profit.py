"""The most that any threshold could earn: MPC and EMPC (Verbraken, Verbeke and Baesens 2013).

Enters: labels, scores, one customer value, costs. Leaves: profit per customer at the best threshold, known only
afterwards. Invariant: both equal `mpc_score` and `empc_score` of the package empulse; contacting nobody is a threshold
too, so neither is negative.

MPC takes one save rate. EMPC lets it follow a Beta distribution, chooses the best threshold for every rate, and takes
the mean over the rates: profit per customer is a line in the rate for every threshold, so its maximum is the upper edge
of all these lines, and each piece of that edge is integrated in closed form.

Both look at the test labels to choose the threshold. So they are no estimate of what a campaign will earn; they say how
much of what was possible a threshold that was fixed beforehand did earn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta as beta_distribution

from tenure.core.errors import InputError
from tenure.model.evaluate import check_both_kinds
from tenure.model.protocol import Flags, Vector
from tenure.value.profit import check_amounts

__all__ = ["MaxProfit", "expected_max_profit", "max_profit"]


@dataclass(frozen=True)
class MaxProfit:
    """The best threshold in hindsight.

    Parameters
    ----------
    per_customer : float
        Profit divided by all customers, the contacted and the others.
    share : float
        Share of the customers that are contacted, in [0, 1]; for a distributed save rate its mean.
    threshold : float
        Lowest score that is contacted, infinite where nobody is; for a distributed save rate the score at `share`.
    """

    per_customer: float
    share: float
    threshold: float


def max_profit(
    label: Flags, score: Vector, *, clv: float, save_rate: float, incentive_cost: float, contact_cost: float
) -> MaxProfit:
    """MPC: the highest profit per customer over all thresholds, at one save rate.

    Parameters
    ----------
    label : bool array (rows,)
        Whether the customer was lost; both kinds occur.
    score : float64 array (rows,)
        Higher means more likely lost; equal scores are contacted together.
    clv : float
        What a customer who stays is worth.
    save_rate : float
        Share of the contacted churners who stay because of it.
    incentive_cost, contact_cost : float
        Cost of the incentive and of one contact.

    Raises
    ------
    InputError
        A rate, value or cost makes no sense.
    HistoryError
        Nobody was lost, or everybody.

    Examples
    --------
    >>> label, score = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.5, 0.1])
    >>> max_profit(label, score, clv=200, save_rate=0.3, incentive_cost=10, contact_cost=1)
    MaxProfit(per_customer=25.25, share=0.75, threshold=0.5)
    """
    rate = float(check_amounts("A save rate", save_rate, high=1.0))
    lines = _Lines.of(label, score, clv, incentive_cost, contact_cost)
    profit = lines.at_zero + rate * lines.slope
    best = int(np.argmax(profit))
    return MaxProfit(float(profit[best]), float(lines.share[best]), float(lines.threshold[best]))


def expected_max_profit(
    label: Flags,
    score: Vector,
    *,
    clv: float,
    incentive_cost: float,
    contact_cost: float,
    alpha: float = 6.0,
    beta: float = 14.0,
) -> MaxProfit:
    """EMPC: the highest profit per customer for every save rate, averaged over a Beta distribution of it.

    Parameters
    ----------
    label : bool array (rows,)
        Whether the customer was lost; both kinds occur.
    score : float64 array (rows,)
        Higher means more likely lost; equal scores are contacted together.
    clv : float
        What a customer who stays is worth.
    incentive_cost, contact_cost : float
        Cost of the incentive and of one contact.
    alpha, beta : float
        Of the save rate's distribution, above 0; its mean is `alpha / (alpha + beta)`, 0.3 by default as in the paper.

    Raises
    ------
    InputError
        A value, a cost, `alpha` or `beta` makes no sense.
    HistoryError
        Nobody was lost, or everybody.

    Examples
    --------
    >>> label, score = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.5, 0.1])
    >>> round(expected_max_profit(label, score, clv=200, incentive_cost=10, contact_cost=1).per_customer, 4)
    25.2504
    """
    for name, parameter in (("alpha", alpha), ("beta", beta)):
        if not 0 < parameter < np.inf:
            raise InputError(f"{name} must be a number above 0, not {parameter}.", hint="The paper takes 6 and 14.")
    lines = _Lines.of(label, score, clv, incentive_cost, contact_cost)
    edge, borders = _upper_edge(lines)
    mass = np.diff(beta_distribution.cdf(borders, alpha, beta))
    mean = np.diff(beta_distribution.cdf(borders, alpha + 1, beta)) * alpha / (alpha + beta)  # of the rate, per piece
    profit = float((lines.at_zero[edge] * mass + lines.slope[edge] * mean).sum())
    share = float((lines.share[edge] * mass).sum())
    reached = int(np.searchsorted(lines.share, share - 1e-12))
    return MaxProfit(profit, share, float(lines.threshold[min(reached, len(lines.share) - 1)]))


@dataclass(frozen=True, eq=False)
class _Lines:
    """Profit per customer of each threshold as a line in the save rate; the first contacts nobody."""

    at_zero: Vector
    slope: Vector
    share: Vector
    threshold: Vector

    @classmethod
    def of(cls, label: Flags, score: Vector, clv: float, incentive: float, contact: float) -> _Lines:
        label, score = np.asarray(label, dtype=np.bool_), np.asarray(score, dtype=np.float64)
        check_both_kinds(label, "the rows that are judged")
        worth = float(check_amounts("A customer value", clv))
        gift = float(check_amounts("An incentive cost", incentive))
        cost = float(check_amounts("A contact cost", contact))
        order = np.argsort(-score, kind="stable")
        last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of every group of equal scores
        contacted = np.append(0, last + 1)
        lost = np.append(0, np.cumsum(label[order])[last])
        at_zero = -((contacted - lost) * gift + contacted * cost) / len(label)
        slope = lost * (worth - gift) / len(label)
        return cls(at_zero, slope, contacted / len(label), np.append(np.inf, score[order][last]))


def _upper_edge(lines: _Lines) -> tuple[npt.NDArray[np.int64], Vector]:
    """The lines that are highest somewhere between the save rates 0 and 1, in their order, and where they change."""
    order = np.lexsort((lines.at_zero, lines.slope))
    edge: list[int] = []
    borders: list[float] = []
    for line in order.tolist():
        while edge:
            above = _crossing(lines, edge[-1], line)
            if above > borders[-1]:
                break
            edge.pop()
            borders.pop()
        borders.append(_crossing(lines, edge[-1], line) if edge else -np.inf)
        edge.append(line)
    inside = np.clip(np.append(borders, np.inf), 0.0, 1.0)
    return np.array(edge), inside


def _crossing(lines: _Lines, flat: int, steep: int) -> float:
    """The save rate from which the steeper line is higher; of two with one slope the later one is."""
    rise = lines.slope[steep] - lines.slope[flat]
    fall = lines.at_zero[flat] - lines.at_zero[steep]
    return float(fall / rise) if rise > 0 else -np.inf
