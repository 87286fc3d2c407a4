"""What is counted while the service answers.

Enters: what happened, told by the gate, the routes, the scorer and the watcher. Leaves: the text of `/metrics`.
Invariant: labels come from short lists (routes as templates, known methods, ids of keys that exist), never from what a
caller wrote: no request makes a series, and none shows whom it was about. `serve/series.py` adds up the workers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tenure.core.guard import State
from tenure.serve.gate import Finished
from tenure.serve.series import Counts, Level, Moving, Registry, Spread

if TYPE_CHECKING:  # the process that watches over the workers counts nothing, and need not load what scores
    from tenure.score.served import ServedScore

__all__ = ["CONTENT_TYPE", "METHODS", "NOT_KNOWN", "Metrics"]

_log = logging.getLogger("tenure.serve")
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
NOT_KNOWN = "(none)"
"""In place of a route that does not exist or a key that was not given: what a caller wrote is not kept."""
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
STATES: Mapping[State, int] = {"closed": 0, "half_open": 1, "open": 2}
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)
AGES = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
TOO_MANY_REQUESTS = 429


class Metrics:
    """Counts of what a worker does: microseconds for every request, from any thread.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.looked_up("memory", found=2, missed=1)
    >>> for line in metrics.text().decode().splitlines():
    ...     if line.startswith("tenure_lookups_total"):
    ...         print(line)
    tenure_lookups_total{found="yes",where="memory"} 2.0
    tenure_lookups_total{found="no",where="memory"} 1.0
    """

    def __init__(self) -> None:
        self._registry = Registry()
        self._count_requests(self._registry)
        self._count_scores(self._registry)
        self._watch_worker(self._registry)
        self._serving: tuple[str, str] | None = None
        self._states: dict[str, State] = {}

    def text(self) -> bytes:
        """Every series, over all workers, in Prometheus's text format."""
        return self._registry.text()

    def _count_requests(self, registry: Registry) -> None:
        self._requests = Counts(registry, "tenure_requests", "Requests answered.", ("method", "route", "status"))
        seconds = "Seconds from a request's head to the end of its answer."
        self._latency = Spread(registry, "tenure_request_seconds", seconds, ("route",), LATENCIES)
        self._limited = Counts(registry, "tenure_rate_limited", "Requests beyond the rate of a key.", ("key",))
        self._events = Counts(registry, "tenure_events", "Events that were sent, by what became of them.", ("result",))
        level = Level(registry, "tenure_requests_in_flight", "Requests that are being answered.", (), "sum")
        self._in_flight = Moving(level)

    def _count_scores(self, registry: Registry) -> None:
        predictions = "Scores answered, by version and where they came from."
        self._predictions = Counts(registry, "tenure_predictions", predictions, ("version", "source"))
        self._degraded = Counts(registry, "tenure_degraded", "Scores with something wrong, by what.", ("cause",))
        self._lookups = Counts(registry, "tenure_lookups", "Looks for a kept score, by place.", ("where", "found"))
        ages = "Age of the features that live scores were worked out from, in seconds."
        self._ages = Spread(registry, "tenure_feature_age_seconds", ages, (), AGES)
        breakers = "0 closed, 1 to be tried again, 2 open: the worst over all workers."
        self._breakers = Level(registry, "tenure_breaker_state", breakers, ("name",), "max")
        turns = "Changes of a breaker, by the state that it took."
        self._turns = Counts(registry, "tenure_breaker_turns", turns, ("name", "state"))

    def _watch_worker(self, registry: Registry) -> None:
        self._versions = Level(registry, "tenure_serving", "Workers that serve a version.", ("version", "alias"), "sum")
        refused = "Versions that were to serve and could not be verified, once per worker."
        self._refused = Counts(registry, "tenure_versions_refused", refused, ())
        refreshes = "Looks for a new version, new scores and changed keys, by how they ended."
        self._refreshes = Counts(registry, "tenure_refreshes", refreshes, ("result",))
        Counts(registry, "tenure_worker_starts", "Worker processes started, also in place of dead ones.", ()).add(())
        Level(registry, "tenure_workers", "Worker processes that live.", (), "sum").set((), 1)

    # Told by the gate and the routes.

    def began(self) -> None:
        """A request came in."""
        self._in_flight.add(1)

    def ended(self) -> None:
        """It was answered, or its caller went away."""
        self._in_flight.add(-1)

    def finished(self, request: Finished) -> None:
        """A request was answered."""
        route = request.template or NOT_KNOWN
        method = request.method if request.method in METHODS else "OTHER"
        self._requests.add((method, route, request.status))
        self._latency.add((route,), (request.seconds,))
        if request.status == TOO_MANY_REQUESTS:
            self._limited.add((request.key_id or NOT_KNOWN,))

    def scored(self, score: ServedScore) -> None:
        """A score was answered."""
        self._predictions.add((score.model_version, score.source))
        for cause in score.degraded_because:
            self._degraded.add((cause,))

    def scored_many(self, scores: Sequence[ServedScore]) -> None:
        """Scores were answered together."""
        for labels, count in Counter((score.model_version, score.source) for score in scores).items():
            self._predictions.add(labels, count)
        for cause, count in Counter(cause for score in scores for cause in score.degraded_because).items():
            self._degraded.add((cause,), count)

    def took_events(self, accepted: int, refused: int, *, replayed: bool = False) -> None:
        """Events were sent: taken into the log, refused, or answered as they were the first time."""
        if replayed:
            self._events.add(("replayed",), accepted + refused)
            return
        self._events.add(("accepted",), accepted)
        self._events.add(("refused",), refused)

    # Told by the scorer; together these make it an Observer.

    def looked_up(self, where: Literal["memory", "database", "cache"], found: int, missed: int) -> None:
        """Kept scores were looked for."""
        if found:
            self._lookups.add((where, "yes"), found)
        if missed:
            self._lookups.add((where, "no"), missed)

    def fresh(self, seconds: Sequence[float]) -> None:
        """Features were read, of these ages."""
        if seconds:
            self._ages.add((), seconds)

    def turned(self, name: str, state: State) -> None:
        """A breaker is in this state; said as often as one likes, counted where it is another one than before."""
        before = self._states.get(name)
        if state == before:
            return
        self._states[name] = state
        self._breakers.set((name,), STATES[state])
        if before is not None or state != "closed":
            self._turns.add((name, state))
            if state == "closed":
                _log.warning("A dependency answers again.", extra={"dependency": name})
            elif before in {None, "closed"}:  # between half open and open it turns every second while nothing answers
                _log.warning("A dependency does not answer.", extra={"dependency": name})

    # Told by the watcher.

    def breakers(self, states: Mapping[str, State]) -> None:
        """These are the breakers there are; one that was, before a model that serves no more, keeps nobody out."""
        for name, state in states.items():
            self.turned(name, state)
        for name in self._states.keys() - states.keys():
            self.turned(name, "closed")

    def serves(self, version: str, alias: str | None) -> None:
        """A version answers from now on."""
        serving = (version, alias or NOT_KNOWN)
        if self._serving not in {None, serving}:
            self._versions.set(self._serving, 0)
        self._versions.set(serving, 1)
        self._serving = serving

    def refused(self) -> None:
        """A version was to serve and could not be verified."""
        self._refused.add(())

    def refreshed(self, *, failed: bool) -> None:
        """The watcher has looked for what is new."""
        self._refreshes.add(("failed" if failed else "done",))
