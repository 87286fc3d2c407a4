"""Everything that hybrid scoring depends on, each behind a guard of its own.

Enters: customers, or keys. Leaves: what the database, the online store or the cache has of them, or None where it gave
no answer in time. Invariant: nobody waits longer than the budget for any of them; a cache in the memory of the process
neither fails nor waits and has no guard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from tenure.core.errors import InputError, StateError, TenureError
from tenure.core.guard import Guard, State
from tenure.features.declare import FeatureSet
from tenure.score.cache import Cache, NoCache
from tenure.score.observe import Observer
from tenure.score.protocol import FreshRows, Missing, PrecomputedScores
from tenure.score.served import ServedScore
from tenure.score.table import StoredScore
from tenure.store.hybrid import HybridRows

__all__ = ["Dependencies", "Dependency"]

Dependency = Literal["database", "store", "cache"]
T = TypeVar("T")


class Dependencies:
    """Reads what is kept and what is fresh; any number of threads may ask.

    Parameters
    ----------
    precomputed : PrecomputedScores
        Scores of batches.
    cache : Cache
        Live scores that were kept.
    rows : FreshRows or None
        Fresh features; None where there are none.
    seconds : float
        How long each may take.
    observer : Observer
        Who counts.
    """

    def __init__(
        self,
        precomputed: PrecomputedScores,
        cache: Cache,
        rows: FreshRows | None,
        seconds: float,
        observer: Observer,
    ) -> None:
        self.cache, self.rows = cache, rows
        self._precomputed, self._observer = precomputed, observer
        names: list[Dependency] = ["database"]
        names += ["store"] if rows is not None else []
        names += [] if cache.is_local else ["cache"]
        self._guards = {name: Guard(name, seconds, told=observer.turned) for name in names}

    def states(self) -> dict[str, State]:
        """State of the breaker of each."""
        return {name: guard.state for name, guard in self._guards.items()}

    def remembered(self, customer_id: str) -> StoredScore | Missing | None:
        """What memory says of a customer's precomputed score."""
        return self._precomputed.peek(customer_id)

    def stored(self, customer_ids: Sequence[str]) -> Mapping[str, StoredScore] | None:
        """Precomputed scores from the database; None: it did not answer."""
        found = self._call("database", lambda: self._precomputed.read(customer_ids))
        if found is not None:
            self._observer.looked_up("database", len(found), len(customer_ids) - len(found))
        return found

    def cached(self, keys: Sequence[str]) -> Mapping[str, ServedScore] | None:
        """Live scores that were kept; None: the cache did not answer."""
        found = self.cache.get(keys) if self.cache.is_local else self._call("cache", lambda: self.cache.get(keys))
        if found is not None and not isinstance(self.cache, NoCache):
            self._observer.looked_up("cache", len(found), len(keys) - len(found))
        return found

    def keep(self, scores: Mapping[str, ServedScore]) -> None:
        """Keep live scores, if the cache takes them."""
        if self.cache.is_local:
            self.cache.put(scores)
        else:
            self._call("cache", lambda: self.cache.put(scores))

    def fresh(self, features: FeatureSet, customer_ids: Sequence[str]) -> HybridRows | None:
        """Features as of now; None: the store did not answer."""
        rows = self.rows
        found = None if rows is None else self._call("store", lambda: rows.read(features, customer_ids))
        if found is not None:
            self._observer.fresh(found.ages())
        return found

    def refresh(self) -> bool:
        """Forget what a newer batch has replaced; whether the database answered."""
        return self._answers("database", self._precomputed.refresh)

    def store_answers(self) -> bool:
        """Whether the online store answers; True where there is none."""
        return self.rows is None or self._answers("store", self.rows.probe)

    def cache_answers(self) -> bool:
        """Whether the cache answers."""
        return self.cache.is_local or self._answers("cache", lambda: self.cache.get(["probe"]))

    def _answers(self, name: Dependency, work: Callable[[], object]) -> bool:
        return self._call(name, lambda: work() or True) is not None

    def _call(self, name: Dependency, work: Callable[[], T]) -> T | None:
        try:
            return self._guards[name].call(lambda: _unless_refused(work))
        except TenureError:  # the guard has counted it
            return None


def _unless_refused(work: Callable[[], T]) -> T:
    """A dependency that refuses us, because of a wrong password for example, has not answered a question of ours."""
    try:
        return work()
    except InputError as error:
        raise StateError(error.message, hint=error.hint, **error.ids) from error
