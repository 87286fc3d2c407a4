"""Precomputed scores, as they are looked up while somebody waits.

Enters: customers. Leaves: their scores in the newest published batch. Invariant: what is remembered belongs to the
batch that was the newest at the last refresh, or to a newer one; and a customer who has no score there is remembered
as well, so that the database is asked about everybody once.

A reading that began before another batch was published, and ends after what is remembered was forgotten, must not be
remembered: it is about the batch before. Every forgetting therefore begins a new generation, and a reading is
remembered only in the generation in which it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.score.protocol import MISSING, Missing
from tenure.score.table import PUBLISHED, StoredScore, read_scores, score_runs

__all__ = ["Precomputed"]

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
        How many customers to remember at most; where it is full, those who were read first are forgotten.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> precomputed = Precomputed(open_database("sqlite://"), 1_000)
    >>> precomputed.peek("c1"), precomputed.read(["c1"]), precomputed.peek("c1")
    (None, {}, <Missing.MISSING: 'missing'>)
    """

    def __init__(self, engine: Engine, entries: int) -> None:
        self._engine, self._entries = engine, entries
        self._known: dict[str, StoredScore | Missing] = {}
        self._run: int | None = None
        self._generation, self._lock = 0, Lock()

    def peek(self, customer_id: str) -> StoredScore | Missing | None:
        """What memory says of a customer: their score, that there is none, or nothing."""
        return self._known.get(customer_id)

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
                self._run, self._known = run, {}
                self._generation += 1

    def _remember(self, asked: Iterable[str], found: Mapping[str, StoredScore]) -> None:
        for customer in asked:
            self._known.pop(customer, None)
            self._known[customer] = found.get(customer, MISSING)
        while len(self._known) > self._entries:
            del self._known[next(iter(self._known))]
