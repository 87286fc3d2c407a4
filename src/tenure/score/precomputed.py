"""Precomputed scores, as they are looked up while somebody waits.

Enters: customers. Leaves: their scores in the newest published batch. Invariant: what is remembered belongs to the
batch that was the newest at the last refresh, or to a newer one; a customer who has no score there is remembered as
well, so that the database need not be asked again; and however many of those are asked for, scores are not forgotten
for them.

There are as many customers without a score as somebody can make up ids, so that they have a small room of their own,
in which one drives out the other.

A reading that began before another batch was published, and ends after what is remembered was forgotten, must not be
remembered: it is about the batch before. Every forgetting therefore begins a new generation, and a reading is
remembered only in the generation in which it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.score.protocol import MISSING, Missing
from tenure.score.table import PUBLISHED, StoredScore, read_scores, score_runs

__all__ = ["Precomputed"]

_TO_ONE_MISSING = 4  # for so many customers with a score that are remembered, one without is
_newest = (
    sa.select(score_runs.c.run).where(score_runs.c.state == PUBLISHED).order_by(score_runs.c.as_of.desc()).limit(1)
)


class Precomputed:
    """Looks precomputed scores up, in memory and in the database.

    Parameters
    ----------
    engine : Engine
        From `open_database(url, reading=True)`.
    entries : int
        How many customers with a score to remember at most, and beside them a quarter as many without; where a room is
        full, those who were read first are forgotten.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> precomputed = Precomputed(open_database("sqlite://"), 1_000)
    >>> precomputed.peek("c1"), precomputed.read(["c1"]), precomputed.peek("c1")
    (None, {}, <Missing.MISSING: 'missing'>)
    """

    def __init__(self, engine: Engine, entries: int) -> None:
        self._engine, self._entries = engine, entries
        self._most_missing = max(entries // _TO_ONE_MISSING, 1)
        self._scores: dict[str, StoredScore] = {}
        self._missing: dict[str, Missing] = {}
        self._run: int | None = None
        self._generation, self._lock = 0, Lock()

    def peek(self, customer_id: str) -> StoredScore | Missing | None:
        """What memory says of a customer: their score, that there is none, or nothing."""
        score = self._scores.get(customer_id)
        return self._missing.get(customer_id) if score is None else score

    def read(self, customer_ids: Sequence[str]) -> dict[str, StoredScore]:
        """Read scores from the database, and remember them.

        Parameters
        ----------
        customer_ids : sequence of str
            At most a thousand or so.

        Raises
        ------
        SQLAlchemyError
            The database is busy or cannot be reached.
        """
        generation = self._generation
        found = read_scores(self._engine, customer_ids)
        with self._lock:
            if generation == self._generation:
                self._remember(customer_ids, found)
        return found

    def refresh(self) -> None:
        """Forget what is remembered where another batch has been published.

        Raises
        ------
        SQLAlchemyError
            The database is busy or cannot be reached; what is remembered stays.
        """
        with self._engine.begin() as connection:
            run = connection.execute(_newest).scalar_one_or_none()
        with self._lock:
            if run != self._run:
                self._run, self._scores, self._missing = run, {}, {}
                self._generation += 1

    def _remember(self, asked: Iterable[str], found: Mapping[str, StoredScore]) -> None:
        for customer in asked:
            self._scores.pop(customer, None)
            self._missing.pop(customer, None)
            score = found.get(customer)
            if score is None:
                self._missing[customer] = MISSING
            else:
                self._scores[customer] = score
        _keep_newest(self._scores, self._entries)
        _keep_newest(self._missing, self._most_missing)


def _keep_newest(room: dict[str, Any], most: int) -> None:
    while len(room) > most:
        del room[next(iter(room))]
