"""What is known of one customer: their features now, how old each part of them is, and their newest batch score.

Enters: a customer. Leaves: `CustomerFacts`. Invariant: what could not be read is missing and named, never guessed; a
customer is called unknown only where everybody who could know them has answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tenure.core.errors import NotFoundError, StateError, TenureError
from tenure.core.time import Clock, from_micros, to_micros
from tenure.features.declare import FeatureSet
from tenure.score.served import Ask, Cause, ServedScore, Value
from tenure.store.hybrid import NOTHING, Events, HybridRows

__all__ = ["CustomerFacts", "FactsReader"]

_SECOND = 1_000_000
_AGAIN = "Try again in a moment."


@dataclass(frozen=True)
class CustomerFacts:
    """One customer, as far as they are known.

    Parameters
    ----------
    customer_id : str
        Who.
    as_of : datetime or None
        UTC; what the features of events speak for. None where there are none.
    features : mapping of str to float, int, str or None; or None
        Every feature of the version that serves, by name; None where they cannot be had.
    events : {"online", "batch", "none"}
        Where the features of events come from: the stream, the last batch, or nowhere.
    events_age_seconds : float or None
        How long ago the newest record was folded that the features of events could know (`online`), or the batch ran.
    attributes_age_seconds : float or None
        How long ago the batch ran that the attributes come from; None: there are none.
    newest_event_at : datetime or None
        UTC; since when the customer's newest folded event counts.
    score : ServedScore or None
        Of the last batch, whatever its age.
    degraded_because : tuple of Cause
        `store`: the features could not be read. `features`: those of events are the last batch's. `database`: the score
        could not be read. Empty where nothing is wrong.
    """

    customer_id: str
    as_of: datetime | None
    features: Mapping[str, Value] | None
    events: Events
    events_age_seconds: float | None
    attributes_age_seconds: float | None
    newest_event_at: datetime | None
    score: ServedScore | None
    degraded_because: tuple[Cause, ...] = ()


class FactsReader:
    """Reads what is known of customers; any number of threads may call.

    Parameters
    ----------
    fresh : callable
        Reads features as of now, as `HybridScorer.fresh` does: behind the guard that scores are read behind, so that
        one breaker says whether the online store answers. None: it does not.
    score : callable
        Scores asks, as `HybridScorer.score` does.
    features : callable
        The features of the version that serves.
    clock : Clock
        Which instant `fresh` speaks for.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> nothing = lambda asks: [NotFoundError("no score")]
    >>> from tenure.store.hybrid import OnlineRows
    >>> with small_stream() as stream:
    ...     rows = OnlineRows(stream.store, stream.clock)
    ...     facts = FactsReader(rows.read, nothing, lambda: SMALL_FEATURES, stream.clock)("bo")
    >>> facts.features["pay_count_7d"], facts.events, facts.events_age_seconds, facts.score
    (1, 'online', 0.0, None)
    """

    def __init__(
        self,
        fresh: Callable[[FeatureSet, Sequence[str]], HybridRows | None],
        score: Callable[[Sequence[Ask]], Sequence[ServedScore | TenureError]],
        features: Callable[[], FeatureSet],
        clock: Clock,
    ) -> None:
        self._fresh, self._score, self._features, self._clock = fresh, score, features, clock

    def __call__(self, customer_id: str) -> CustomerFacts:
        """Read one customer.

        Raises
        ------
        NotFoundError
            Nobody has heard of the customer.
        StateError
            Nothing can be said of the customer now.
        """
        score, causes = self._newest(customer_id)
        features = self._features()
        rows = self._fresh(features, [customer_id])
        if rows is None:
            if score is None:
                raise StateError(f"Nothing can be read of {customer_id!r} now.", hint=_AGAIN)
            return CustomerFacts(customer_id, None, None, "none", None, None, None, score, (*causes, "store"))
        if score is None and not rows.known[0]:
            _refuse_unknown(customer_id, can_tell=not (causes or rows.unready[0]))
        return self._facts(rows, features, score, (*causes, *(("features",) if rows.unready[0] else ())))

    def _newest(self, customer_id: str) -> tuple[ServedScore | None, tuple[Cause, ...]]:
        """The score of the last batch, and why there may be one that could not be read."""
        (found,) = self._score([Ask(customer_id, mode="batch")])
        if isinstance(found, NotFoundError):
            return None, ()
        if isinstance(found, ServedScore) and "database" not in found.degraded_because:
            return found, ()
        return None, ("database",)  # what may be answered in its stead is a live score from the cache, or the base rate

    def _facts(
        self, rows: HybridRows, features: FeatureSet, score: ServedScore | None, causes: tuple[Cause, ...]
    ) -> CustomerFacts:
        now, events = to_micros(self._clock()), rows.events[0]
        read = {"online": rows.folded[0], "batch": rows.as_of[0], "none": NOTHING}[events]
        return CustomerFacts(
            rows.customer_id[0],
            None if events == "none" else from_micros(int(rows.as_of[0])),
            None if events == "none" else _values(rows, features),
            events,
            _age(now, int(read)),
            _age(now, int(rows.attributes_as_of[0])) if features.attributes else None,
            None if rows.newest[0] == NOTHING else from_micros(int(rows.newest[0])),
            score,
            causes,
        )


def _refuse_unknown(customer_id: str, *, can_tell: bool) -> None:
    if can_tell:
        raise NotFoundError(
            f"Nobody has heard of a customer {customer_id!r}.",
            hint="Check the id, or post an event of theirs.",
            customer_id=customer_id,
        )
    raise StateError(f"Whether there is a customer {customer_id!r} cannot be said now.", hint=_AGAIN)


def _values(rows: HybridRows, features: FeatureSet) -> dict[str, Value]:
    """Features as people read them: whole numbers as such, None where there is no number."""
    return {name: _value(rows.columns[name][0], whole=kind == "count") for name, kind in features.kinds.items()}


def _value(value: float | str | None, *, whole: bool) -> Value:
    if value is None or isinstance(value, str):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if whole else float(value)


def _age(now: int, since: int) -> float | None:
    """Seconds; a clock that is behind the log's makes no age negative."""
    return None if since == NOTHING else max(now - since, 0) / _SECOND
