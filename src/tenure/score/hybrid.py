"""Scores from the cheapest source that is fresh enough, whatever breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenure.core.errors import TenureError
from tenure.core.guard import State
from tenure.core.settings import ServeSettings
from tenure.core.time import Clock, system_clock
from tenure.score.cache import Cache
from tenure.score.observe import Observer, silent_observer
from tenure.score.protocol import FreshRows, PrecomputedScores, Scoring
from tenure.score.served import Ask, ServedScore

__all__ = ["HybridScorer"]


class HybridScorer:
    """Scores from the cheapest source that is fresh enough."""

    def __init__(
        self,
        model: Scoring,
        precomputed: PrecomputedScores,
        cache: Cache,
        rows: FreshRows | None,
        settings: ServeSettings,
        *,
        clock: Clock = system_clock,
        observer: Observer = silent_observer,
    ) -> None:
        raise NotImplementedError

    @property
    def model(self) -> Scoring:
        """The version that scores now."""
        raise NotImplementedError

    def peek(self, ask: Ask) -> ServedScore | None:
        """The answer, where memory has it; None: ask `score`. Never waits."""
        raise NotImplementedError

    def score(self, asks: Sequence[Ask]) -> list[ServedScore | TenureError]:
        """Answer asks in their order; whatever one of them cannot be answered with is an error in its place."""
        raise NotImplementedError

    def switch(self, model: Scoring) -> None:
        """Score with another version from now on."""

    def refresh(self) -> None:
        """Look whether another batch was published, and tell the observer what was counted."""

    def states(self) -> Mapping[str, State]:
        """State of the breaker of every dependency and of every model of the version."""
        raise NotImplementedError

    def probe(self) -> None:
        """Call every dependency once through its guard."""

    def store_answers(self) -> bool:
        """Whether the online store answers; True where there is none."""
        raise NotImplementedError
