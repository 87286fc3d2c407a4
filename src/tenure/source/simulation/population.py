"""The customers of a simulated service and what they do in one period of 30 days.

Enters: a population at a cutoff, who of it leaves in the coming period, and a random generator. Leaves: the period's
events, and the population at the next cutoff.
Invariant: what a population remembers of its customers (`Population.observed`) is exactly what the events it gave out
add up to; nobody does anything before signing up, after cancelling, or outside the period.

A population has a fixed number of seats. A customer who cancels leaves a seat empty; in the next period somebody new
takes it, or somebody who cancelled long ago and returns. So the service neither dies out nor grows, and memory does not
depend on how long it runs. All times are microseconds since the log's start.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tenure.source.simulation.hazard import PLANS, Floats, Ints, Observed

__all__ = ["CHANNELS", "DAY", "KINDS", "PERIOD", "PRICES", "Departed", "Period", "Population", "Rows"]

Bools = NDArray[np.bool_]

DAY = 86_400_000_000
PERIOD = 30 * DAY
KINDS = ("login", "session", "payment", "payment_failed", "ticket", "plan_change", "cancel")
CHANNELS = ("app", "web", "chat", "email", "phone")
PRICES = (9.0, 19.0, 49.0)
BILLING_DAYS = 28  # a failed payment is tried again a day later, still inside the period
PLAN_SHARES = (0.5, 0.35, 0.15)

# How eager customers are: their own level of log logins per period, and a mood around it that drifts from period to
# period, so that a fading customer can be seen to fade before leaving.
LEVEL_MEAN, LEVEL_SPREAD = 2.1, 0.6
SURVIVORS_LEVEL_MEAN = 2.5  # the eager stay longer: near where a long-running service settles, so that it settles soon
MOOD_MEMORY, MOOD_SPREAD = 0.75, 0.6
SESSIONS_PER_LOGIN = 0.8
MINUTES_LOG_MEAN, MINUTES_MOOD = 2.9, 0.5
FAILURE_RATE, RETRY_FAILURE_RATE = 0.09, 0.5
TICKETS_PER_PERIOD, CHANGES_PER_PERIOD = 0.3, 0.04


@dataclass(frozen=True)
class Rows:
    """Events of one period, in no order of time; arrays of equal length.

    `seat` is the position in the population, `kind`, `channel` and `plan` are positions in `KINDS`, `CHANNELS` and
    `PLANS` (-1: none), `minutes` and `amount` are NaN where an event has none.
    """

    seat: NDArray[np.int32]
    time: Ints
    kind: NDArray[np.int8]
    minutes: Floats
    amount: Floats
    channel: NDArray[np.int8]
    plan: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, places: Ints) -> Rows:
        """The rows at `places`, in that order."""
        return Rows(**{field.name: getattr(self, field.name)[places] for field in fields(self)})

    @staticmethod
    def join(pieces: list[Rows]) -> Rows:
        """All rows of several pieces, one after the other."""
        return Rows(**{f.name: np.concatenate([getattr(piece, f.name) for piece in pieces]) for f in fields(Rows)})


def _rows(
    kind: str,
    seat: Ints,
    time: Ints,
    *,
    minutes: Floats | None = None,
    amount: Floats | None = None,
    channel: Ints | None = None,
    plan: Ints | None = None,
) -> Rows:
    size = len(time)
    absent = np.full(size, -1, dtype=np.int8)
    return Rows(
        seat=seat.astype(np.int32),
        time=time,
        kind=np.full(size, KINDS.index(kind), dtype=np.int8),
        minutes=np.full(size, np.nan) if minutes is None else minutes,
        amount=np.full(size, np.nan) if amount is None else amount,
        channel=absent if channel is None else channel.astype(np.int8),
        plan=absent if plan is None else plan.astype(np.int8),
    )


@dataclass(frozen=True)
class Period:
    """The span from `start` to `start + PERIOD`, and how eagerly customers use the service in it (1: as usual)."""

    start: int
    pace: float = 1.0

    @property
    def stop(self) -> int:
        """The first instant after the period."""
        return self.start + PERIOD


@dataclass(frozen=True)
class Departed:
    """Customers who cancelled: who they are, should they return."""

    customer: Ints
    signup: Ints
    plan: Ints

    def take(self, places: Ints | Bools) -> Departed:
        """The customers at `places`."""
        return Departed(self.customer[places], self.signup[places], self.plan[places])

    @staticmethod
    def join(groups: list[Departed]) -> Departed:
        """The customers of several groups, which may be none."""
        nobody = np.zeros(0, dtype=np.int64)
        columns = zip(*[(group.customer, group.signup, group.plan) for group in groups], strict=True)
        return Departed(*map(np.concatenate, columns)) if groups else Departed(nobody, nobody, nobody)


@dataclass
class Population:
    """The customers in their seats at a cutoff; every array's last axis has one entry per seat.

    `logins` and `changes` hold the last three periods, `sessions` the last two, latest first; `minutes`, `failures` and
    `tickets` the last one. `tier` is the plan now, `plan` the one chosen at signup.
    """

    customer: Ints
    signup: Ints
    plan: Ints
    tier: Ints
    level: Floats
    mood: Floats
    subscribed: Bools
    last_login: Ints
    logins: Ints
    sessions: Ints
    minutes: Floats
    failures: Ints
    tickets: Ints
    changes: Ints

    @staticmethod
    def founded(size: int, rng: np.random.Generator) -> Population:
        """A population of which nothing has been seen yet, with signups over years gone by."""
        plan = draw_plans(size, rng)
        none = np.zeros(size, dtype=np.int64)
        return Population(
            customer=np.arange(size),
            signup=-(rng.standard_exponential(size) * 15 * PERIOD).astype(np.int64),
            plan=plan,
            tier=plan.copy(),
            level=rng.normal(SURVIVORS_LEVEL_MEAN, LEVEL_SPREAD, size),
            mood=rng.normal(0.0, MOOD_SPREAD, size),
            subscribed=np.ones(size, dtype=np.bool_),
            last_login=none.copy(),
            logins=np.zeros((3, size), dtype=np.int64),
            sessions=np.zeros((2, size), dtype=np.int64),
            minutes=np.zeros(size),
            failures=none.copy(),
            tickets=none.copy(),
            changes=np.zeros((3, size), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, seats: Ints | Bools) -> Population:
        """A copy of the population with only these seats, in this order."""
        return Population(**{field.name: getattr(self, field.name)[..., seats].copy() for field in fields(self)})

    def observed(self, at: int) -> Observed:
        """What the log shows of every seat's customer at the cutoff `at`."""
        return Observed(
            logins_30d=self.logins[0],
            logins_90d=self.logins.sum(axis=0),
            days_since_login=(at - self.last_login) / DAY,
            minutes_30d=self.minutes,
            failures_30d=self.failures,
            tickets_30d=self.tickets,
            changes_90d=self.changes.sum(axis=0),
            plan=self.plan,
            tenure_days=(at - self.signup) / DAY,
        )

    def at_risk(self) -> Bools:
        """Who is subscribed and logged in or had a session in the last two periods."""
        active: Bools = self.logins[:2].sum(axis=0) + self.sessions.sum(axis=0) > 0
        return self.subscribed & active

    def admit(self, seats: Ints, newcomers: Departed, rng: np.random.Generator) -> None:
        """Seat customers of whom the log of the last 90 days knows nothing."""
        size = len(seats)
        self.customer[seats], self.signup[seats] = newcomers.customer, newcomers.signup
        self.plan[seats] = self.tier[seats] = newcomers.plan
        self.level[seats] = rng.normal(LEVEL_MEAN, LEVEL_SPREAD, size)
        self.mood[seats] = rng.normal(0.0, MOOD_SPREAD, size)
        self.subscribed[seats] = True
        for memory in (self.logins, self.sessions, self.minutes, self.failures, self.tickets, self.changes):
            memory[..., seats] = 0

    def live(self, period: Period, begin: Ints, stop: Ints, rng: np.random.Generator) -> Rows:
        """Let one period pass: give out its events and remember them.

        Parameters
        ----------
        period : Period
            The period.
        begin, stop : array of int
            Per seat, when its customer's time in the period begins (the period's start, or the moment of joining) and
            ends (the period's stop, or the moment of cancelling, which becomes an event of its own).
        rng : Generator
            Drives everything that is not decided yet.
        """
        drift = np.sqrt(1 - MOOD_MEMORY**2) * MOOD_SPREAD
        self.mood = MOOD_MEMORY * self.mood + rng.normal(0.0, drift, len(self))
        pieces = [
            *self._use(period, begin, stop, rng),
            *self._pay(period, begin, stop, rng),
            *self._ask(begin, stop, rng),
        ]
        leaving = np.flatnonzero(stop < period.stop)
        self.subscribed[leaving] = False
        return Rows.join([*pieces, _rows("cancel", leaving, stop[leaving])])

    def _use(self, period: Period, begin: Ints, stop: Ints, rng: np.random.Generator) -> list[Rows]:
        """Logins and sessions; whoever joins in the period logs in at once."""
        joining = np.flatnonzero(begin > period.start)
        expected = np.exp(self.level + self.mood) * period.pace * (stop - begin) / PERIOD
        counts = rng.poisson(expected)
        seat, time = _spread(counts, begin, stop, rng)
        self.last_login[joining] = begin[joining]
        _remember_last(self.last_login, counts, time)
        counts[joining] += 1
        seat, time = np.concatenate([seat, joining]), np.concatenate([time, begin[joining]])
        logins = _rows("login", seat, time, channel=rng.integers(0, 2, len(seat), dtype=np.int8))
        self.logins = np.vstack([counts, self.logins[:2]])

        counts = rng.poisson(expected * SESSIONS_PER_LOGIN)
        seat, time = _spread(counts, begin, stop, rng)
        usual = np.exp(MINUTES_LOG_MEAN + MINUTES_MOOD * self.mood)
        minutes = np.rint((1.0 + rng.standard_exponential(len(seat)) * usual[seat]) * 100) / 100
        self.sessions = np.vstack([counts, self.sessions[:1]])
        self.minutes = np.bincount(seat, weights=minutes, minlength=len(self)).astype(np.float64, copy=False)
        return [logins, _rows("session", seat, time, minutes=minutes)]

    def _pay(self, period: Period, begin: Ints, stop: Ints, rng: np.random.Generator) -> list[Rows]:
        """One payment per period on the customer's billing day; a failed one is tried once more a day later."""
        due = self.billed_at(period.start)
        owing = (begin <= due) & (due < stop)
        failed = owing & (rng.random(len(self)) < FAILURE_RATE)
        retried = failed & (due + DAY < stop)
        failed_again = retried & (rng.random(len(self)) < RETRY_FAILURE_RATE)
        self.failures = failed.astype(np.int64) + failed_again
        outcomes = [
            ("payment", owing & ~failed, due),
            ("payment", retried & ~failed_again, due + DAY),
            ("payment_failed", failed, due),
            ("payment_failed", failed_again, due + DAY),
        ]
        return [self._charge(kind, np.flatnonzero(who), when) for kind, who, when in outcomes]

    def _charge(self, kind: str, seats: Ints, when: Ints) -> Rows:
        return _rows(kind, seats, when[seats], amount=np.asarray(PRICES)[self.tier[seats]])

    def _ask(self, begin: Ints, stop: Ints, rng: np.random.Generator) -> list[Rows]:
        """Support tickets and plan changes; a changed plan is paid from the next period on."""
        exposure = (stop - begin) / PERIOD
        self.tickets = rng.poisson(TICKETS_PER_PERIOD * exposure)
        seat, time = _spread(self.tickets, begin, stop, rng)
        tickets = _rows("ticket", seat, time, channel=rng.integers(2, len(CHANNELS), len(seat)))

        changing = (rng.random(len(self)) < CHANGES_PER_PERIOD * exposure).astype(np.int64)
        seat, time = _spread(changing, begin, stop, rng)
        self.tier[seat] = (self.tier[seat] + rng.integers(1, len(PLANS), len(seat))) % len(PLANS)
        self.changes = np.vstack([changing, self.changes[:2]])
        return [tickets, _rows("plan_change", seat, time, plan=self.tier[seat])]

    def billed_at(self, start: int) -> Ints:
        """Per seat, the midnight at which its customer is billed in the period that begins at `start`."""
        return start + self.customer % BILLING_DAYS * DAY

    def closing_payments(self, end: int) -> Rows:
        """The payments that are due at the very instant the log ends."""
        return self._charge(
            "payment", np.flatnonzero(self.subscribed & (self.billed_at(end) == end)), self.billed_at(end)
        )


def draw_plans(size: int, rng: np.random.Generator) -> Ints:
    """Plans that new customers choose, as positions in `PLANS`."""
    return np.searchsorted(np.cumsum(PLAN_SHARES)[:-1], rng.random(size), side="right").astype(np.int64)


def _spread(counts: Ints, begin: Ints, stop: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Seats and times of `counts` events per seat, evenly spread over each seat's time; grouped by seat."""
    seat = np.repeat(np.arange(len(counts)), counts)
    time = begin[seat] + (rng.random(len(seat)) * (stop - begin)[seat]).astype(np.int64)
    return seat, time


def _remember_last(last: Ints, counts: Ints, time: Ints) -> None:
    """Move `last` to the latest of each seat's times, which are grouped by seat; without times it stays."""
    some = np.flatnonzero(counts)
    if len(some):
        last[some] = np.maximum(last[some], np.maximum.reduceat(time, (np.cumsum(counts) - counts)[some]))
