"""A simulated service as it runs from period to period, and the state in which it neither grows nor forgets.

Enters: a population, the law by which customers leave, and a random generator. Leaves: turn by turn, the truth at a
cutoff and the events of the period after it.
Invariant: who leaves in a period is decided at its cutoff, from what the log shows there and nothing else, so the
hazard given out is the exact probability of what then happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tenure.source.simulation.hazard import CHANGED, STABLE, Floats, Ints, Law, intercept_for, log_odds
from tenure.source.simulation.population import PERIOD, Bools, Departed, Period, Population, Rows, draw_plans

__all__ = ["Equilibrium", "Service", "Turn", "equilibrium"]

# A returning customer has been away for at least as long as any window of the law looks back (so that nothing seen
# before still counts) and for at most half a year more (so that the list of those who might return stays short).
AWAY_AT_LEAST, AWAY_AT_MOST = 3, 8
PILOT_SEATS, PILOT_PERIODS, PILOT_SETTLED = 4096, 36, 24
PILOT_SEED = 20_240_101


@dataclass(frozen=True)
class Turn:
    """One cutoff and the period after it; arrays have one entry per seat.

    Parameters
    ----------
    subscribed, at_risk : array of bool
        At the cutoff; the hazard is meant for the subscribed.
    hazard : array of float
        Exact probability, at the cutoff, of cancelling within the period.
    left : array of bool
        Who did cancel.
    joined, returned : array of int
        Seats taken in the period by new customers and by returning ones.
    rows : Rows
        The period's events.
    """

    subscribed: Bools
    at_risk: Bools
    hazard: Floats
    left: Bools
    joined: Ints
    returned: Ints
    rows: Rows


class Service:
    """A population with those who left it.

    Parameters
    ----------
    population : Population
        The customers at time 0; changed in place.
    first, total : int
        This population's seats are `first`, `first + 1`, … of `total` in the whole service; a customer's number is the
        seat plus `total` for every period before the one of joining, so that it is unique without counting.
    return_rate : float
        Probability per period that a customer who left returns.
    rng : Generator
        Drives everything.
    """

    def __init__(
        self, population: Population, *, first: int, total: int, return_rate: float, rng: np.random.Generator
    ) -> None:
        self.population = population
        self.population.customer = first + np.arange(len(population))
        self._first, self._total, self._return_rate, self._rng = first, total, return_rate, rng
        self._departed: list[Departed] = []
        self._index = 0

    def advance(self, law: Law, pace: float = 1.0) -> Turn:
        """Judge everyone at the cutoff, then let the period after it pass."""
        population, rng = self.population, self._rng
        period = Period(self._index * PERIOD, pace)
        subscribed, at_risk = population.subscribed.copy(), population.at_risk()
        hazard = law.hazard(population.observed(period.start))
        left = subscribed & (rng.random(len(population)) < hazard)
        moment = period.start + 1 + (rng.random(len(population)) * (PERIOD - 1)).astype(np.int64)
        joined, returned = self._fill_seats(np.flatnonzero(~subscribed), moment)
        rows = population.live(
            period, np.where(subscribed, period.start, moment), np.where(left, moment, period.stop), rng
        )
        self._departed.append(Departed(population.customer[left], population.signup[left], population.plan[left]))
        self._index += 1
        return Turn(subscribed, at_risk, hazard, left, joined, returned, rows)

    def _fill_seats(self, empty: Ints, moment: Ints) -> tuple[Ints, Ints]:
        """Give every empty seat to someone who returns or, where nobody does, to someone new."""
        returning = self._returning(len(empty))
        seats_back, seats_new = empty[: len(returning.customer)], empty[len(returning.customer) :]
        self.population.admit(seats_back, returning, self._rng)
        numbers = self._first + seats_new + self._total * (self._index + 1)
        plans = draw_plans(len(seats_new), self._rng)
        self.population.admit(seats_new, Departed(numbers, moment[seats_new], plans), self._rng)
        return seats_new, seats_back

    def _returning(self, room: int) -> Departed:
        """Draw who returns, at most as many as there is room for, and strike them off the list."""
        self._departed = self._departed[-AWAY_AT_MOST:]
        back: list[Departed] = []
        for place, gone in enumerate(self._departed[: len(self._departed) - AWAY_AT_LEAST + 1]):
            coming = np.flatnonzero(self._rng.random(len(gone.customer)) < self._return_rate)[:room]
            room -= len(coming)
            back.append(gone.take(coming))
            self._departed[place] = gone.take(np.setdiff1d(np.arange(len(gone.customer)), coming))
        return Departed.join(back)


@dataclass(frozen=True)
class Equilibrium:
    """Where a service settles: the laws that keep its churn rate, and a population at time 0 that has run for years.

    `stable` is the law throughout, `changed` the one that takes over at a concept shift. The population's memory of its
    customers is complete and the usual share of its seats is empty, so a log that starts with it needs no warm-up.
    """

    stable: Law
    changed: Law
    population: Population

    def found(self, seats: int, rng: np.random.Generator) -> Population:
        """A population of any size, drawn with replacement from the settled one."""
        return self.population.take(rng.integers(0, len(self.population), seats))


@lru_cache(maxsize=16)
def equilibrium(churn_rate: float, return_rate: float) -> Equilibrium:
    """Run a pilot service until it has settled at a churn rate.

    In each of its periods the pilot takes the intercept under which the mean hazard of those at risk is `churn_rate`;
    the law keeps the mean of the last 24. The pilot has a seed of its own: the same churn rate means the same law
    in every simulation, whatever its seed and size.

    Parameters
    ----------
    churn_rate : float
        Wanted mean hazard of customers at risk at a cutoff.
    return_rate : float
        Probability per period that a customer who left returns.

    Examples
    --------
    >>> settled = equilibrium(0.15, 0.0)
    >>> hazard = settled.stable.hazard(settled.population.observed(0))
    >>> round(float(hazard[settled.population.at_risk()].mean()), 2)
    0.15
    """
    rng = np.random.default_rng(PILOT_SEED)
    founded = Population.founded(PILOT_SEATS, rng)
    pilot = Service(founded, first=0, total=PILOT_SEATS, return_rate=return_rate, rng=rng)
    intercepts = []
    for index in range(PILOT_PERIODS):
        judged = pilot.population.at_risk() if index else pilot.population.subscribed
        odds = log_odds(pilot.population.observed(index * PERIOD), STABLE)
        intercepts.append(intercept_for(odds[judged], churn_rate))
        pilot.advance(Law(STABLE, intercepts[-1]))
    settled = pilot.population
    settled.signup -= PILOT_PERIODS * PERIOD
    settled.last_login -= PILOT_PERIODS * PERIOD
    changed = log_odds(settled.observed(0), CHANGED)[settled.at_risk()]
    return Equilibrium(
        stable=Law(STABLE, float(np.mean(intercepts[-PILOT_SETTLED:]))),
        changed=Law(CHANGED, intercept_for(changed, churn_rate)),
        population=settled,
    )
