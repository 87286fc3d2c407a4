"""The law by which simulated customers leave.

Enters: what the log itself shows of each customer at a cutoff. Leaves: the exact probability that the customer cancels
within the next period.
Invariant: the probability is a function of the observed columns alone, never of anything hidden. Each column is a
window feature that anyone can compute from the log, so a model that reads the same features can come as close to the
truth as its training rows allow, and whatever it misses is its own loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANGED", "PLANS", "STABLE", "Floats", "Ints", "Law", "Observed", "Weights", "intercept_for", "log_odds"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PLANS = ("basic", "plus", "pro")
ABSENCE_CAP_DAYS = 30.0


@dataclass(frozen=True)
class Observed:
    """What the log shows of customers at one cutoff; arrays of equal length, one entry per customer.

    Parameters
    ----------
    logins_30d, logins_90d : array
        Logins in the last 30 and 90 days.
    days_since_login : array
        Days since the last login; infinite where there never was one.
    minutes_30d : array
        Minutes of all sessions in the last 30 days.
    failures_30d, tickets_30d : array
        Failed payments and support tickets in the last 30 days.
    changes_90d : array
        Plan changes in the last 90 days.
    plan : array
        Plan chosen at signup, as a position in `PLANS`.
    tenure_days : array
        Days since the first signup.
    """

    logins_30d: Ints
    logins_90d: Ints
    days_since_login: Floats
    minutes_30d: Floats
    failures_30d: Ints
    tickets_30d: Ints
    changes_90d: Ints
    plan: Ints
    tenure_days: Floats


@dataclass(frozen=True)
class Weights:
    """How much each observed column moves the log-odds of leaving.

    Parameters
    ----------
    logins, hours : float
        Per unit of `sqrt(logins_30d)` and of `sqrt(minutes_30d / 60)`.
    trend : float
        Per unit of `logins_30d / logins_90d` (0 where there were none).
    absence : float
        Per day since the last login, at most 30 days.
    failure, ticket : float
        Per failed payment and per ticket of the last 30 days, at most 3 each.
    change : float
        Where the plan changed in the last 90 days.
    plan : tuple of float
        Per plan, in the order of `PLANS`.
    tenure : float
        Per unit of `log(1 + tenure_days / 30)`.
    """

    logins: float
    hours: float
    trend: float
    absence: float
    failure: float
    ticket: float
    change: float
    plan: tuple[float, float, float]
    tenure: float


# Passive and fading customers leave, and those whose payments fail, as in most subscription services.
STABLE = Weights(
    logins=-0.45,
    hours=-0.22,
    trend=-2.0,
    absence=0.055,
    failure=1.2,
    ticket=0.42,
    change=0.6,
    plan=(0.5, 0.0, -0.6),
    tenure=-0.3,
)
# After a concept shift, customers leave over billing and support; how much they use the service matters half as much.
# Use keeps its sign because a law that let the passive stay would soon fill the service with them, and the columns
# would drift with the concept, when the point of a concept shift is that they do not.
CHANGED = Weights(
    logins=-0.2,
    hours=-0.1,
    trend=-0.4,
    absence=0.02,
    failure=2.0,
    ticket=0.9,
    change=-0.6,
    plan=(-0.2, 0.0, 0.3),
    tenure=-0.1,
)


def log_odds(seen: Observed, weights: Weights) -> Floats:
    """Log-odds of leaving, up to the intercept.

    Parameters
    ----------
    seen : Observed
        What the log shows of n customers at a cutoff.
    weights : Weights
        The law in force at that cutoff.

    Returns
    -------
    array of float, shape (n,)

    Examples
    --------
    >>> one, none = np.array([1]), np.array([0])
    >>> seen = Observed(one, one, one / 1, 60.0 * one, none, none, none, one, 30.0 * one)
    >>> round(float(log_odds(seen, STABLE)[0]), 3)
    -2.823
    """
    trend = np.divide(
        seen.logins_30d, seen.logins_90d, out=np.zeros(len(seen.plan)), where=np.asarray(seen.logins_90d) > 0
    )
    use: Floats = weights.logins * np.sqrt(seen.logins_30d) + weights.hours * np.sqrt(seen.minutes_30d / 60.0)
    decline: Floats = weights.trend * trend + weights.absence * np.minimum(seen.days_since_login, ABSENCE_CAP_DAYS)
    trouble: Floats = weights.failure * np.minimum(seen.failures_30d, 3) + weights.ticket * np.minimum(
        seen.tickets_30d, 3
    )
    bond: Floats = np.asarray(weights.plan)[seen.plan] + weights.tenure * np.log1p(seen.tenure_days / 30.0)
    return use + decline + trouble + bond + weights.change * (seen.changes_90d > 0)


def intercept_for(odds: Floats, rate: float) -> float:
    """The intercept under which the mean probability of `odds` is `rate`.

    Parameters
    ----------
    odds : array of float
        Log-odds up to the intercept; not empty.
    rate : float
        The wanted mean probability, between 0 and 1.

    Examples
    --------
    >>> round(intercept_for(np.zeros(3), 0.5), 6)
    0.0
    """
    # The mean increases with the intercept, so halving an interval that surely holds the answer cannot fail; Newton's
    # method can, where all probabilities are near 0 or 1.
    low, high = -60.0 - float(odds.max()), 60.0 - float(odds.min())
    for _ in range(50):
        middle = (low + high) / 2
        too_high = _logistic(odds + middle).mean() > rate
        low, high = (low, middle) if too_high else (middle, high)
    return (low + high) / 2


def _logistic(odds: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-odds))


@dataclass(frozen=True)
class Law:
    """Weights and intercept: all that turns observed columns into the probability of leaving.

    Examples
    --------
    >>> one, none = np.array([1]), np.array([0])
    >>> seen = Observed(one, one, one / 1, 60.0 * one, none, none, none, one, 30.0 * one)
    >>> round(float(Law(STABLE, intercept=2.823).hazard(seen)[0]), 3)
    0.5
    """

    weights: Weights
    intercept: float

    def hazard(self, seen: Observed) -> Floats:
        """Exact probability of cancelling within the period that begins at the cutoff, shape (n,).

        Examples
        --------
        >>> nobody = np.zeros(0, dtype=np.int64)
        >>> Law(STABLE, 0.0).hazard(Observed(nobody, nobody, nobody / 1, *[nobody] * 5, nobody / 1)).tolist()
        []
        """
        return _logistic(log_odds(seen, self.weights) + self.intercept)
