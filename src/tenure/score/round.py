"""One round of hybrid scoring: some customers, every dependency asked once for all of them.

Enters: asks by id, in no particular mode. Leaves: for each its score, or the error that says why there is none.
Invariant: what is answered to one ask depends on nobody else in the round; a dependency that gave no answer is not
asked again in the round, and whoever needed it is told so.

What is done in which order, and why, is said in `tenure.score.hybrid`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.core.errors import NotFoundError, TenureError, UnavailableError
from tenure.core.settings import ServeSettings
from tenure.core.time import to_micros
from tenure.score.dependencies import Dependencies, Dependency
from tenure.score.kept import EXPIRED, Kept, answered, in_order, live_answer, to_keep
from tenure.score.outcome import decided_again
from tenure.score.protocol import MISSING, Scoring
from tenure.score.served import Ask, Cause, Mode, ServedScore, Source
from tenure.score.table import StoredScore
from tenure.store.hybrid import HybridRows

__all__ = ["Case", "Round"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Case:
    """An ask on its way to an answer.

    Parameters
    ----------
    ask : Ask
        What is asked.
    customer : str
        Of whom.
    mode : {"auto", "batch", "realtime"}
        As asked, except that a project without streams has precomputed scores only.
    causes : set of Cause
        What it needed and did not get.
    stored, cached : StoredScore or ServedScore or None
        What is kept of the customer.
    looked_up : set of str
        Which dependencies were asked for it.
    is_unknown : bool
        Whether the online store knows nothing of the customer.
    answer : ServedScore or TenureError or None
        Once there is one.
    """

    ask: Ask
    customer: str
    mode: Mode
    causes: set[Cause] = field(default_factory=set)
    stored: StoredScore | None = None
    cached: ServedScore | None = None
    looked_up: set[Dependency] = field(default_factory=set)
    is_unknown: bool = False
    answer: ServedScore | TenureError | None = None


class Round:
    """Answers cases; used once.

    Parameters
    ----------
    model : Scoring
        The version that serves.
    key_of : callable
        Key of a customer in the cache.
    dependencies : Dependencies
        What is asked.
    settings : ServeSettings
        How old an answer may be.
    now : datetime
        The wall clock.
    """

    def __init__(
        self,
        model: Scoring,
        key_of: Callable[[str], str],
        dependencies: Dependencies,
        settings: ServeSettings,
        now: datetime,
    ) -> None:
        self._model, self._key_of, self._dependencies = model, key_of, dependencies
        self._settings, self._now = settings, now
        self._rows: HybridRows | None = None
        self._places: dict[str, int] = {}
        self._silent: set[Dependency] = set()
        self._checks_events = settings.invalidate_on_event and dependencies.rows is not None

    def run(self, cases: Sequence[Case]) -> None:
        """Give every case its answer."""
        self._read_stored([case for case in cases if case.mode != "realtime"])
        if self._checks_events:
            self._read_rows([case for case in cases if case.mode != "batch"])
        for case in cases:
            if case.mode == "batch":
                self._answer_batch(case)
            elif case.mode == "auto":
                self._answer_young(case, case.stored, self._settings.batch_ttl)
        waiting = _open(case for case in cases if case.mode == "auto")
        self._read_cached(waiting)
        for case in waiting:
            self._answer_young(case, case.cached, self._settings.cache_ttl)
        fresh = self._answer_live(_open(case for case in cases if case.mode != "batch"))
        self._rescue(_open(cases))
        if fresh and "cache" not in self._silent:  # not before: nobody is to be rescued by who happens to ask with them
            self._dependencies.keep(fresh)

    def _answer_batch(self, case: Case) -> None:
        if "database" in case.causes:
            return
        if case.stored is None:
            case.answer = _no_batch_score(case.customer, has_rows=self._dependencies.rows is not None)
        elif self._is_old(case.stored, self._settings.batch_ttl):
            case.answer = answered(case.stored, self._model, "stale", EXPIRED, explain=case.ask.explain)
        else:
            case.answer = answered(case.stored, self._model, "batch", (), explain=case.ask.explain)

    def _answer_young(self, case: Case, kept: Kept | None, ttl: timedelta) -> None:
        """Answer with a kept score, where it is young enough, has what is asked for, and nothing happened since."""
        if kept is None or self._is_old(kept, ttl) or (case.ask.explain and kept.reasons is None):
            return
        causes = case.causes
        if self._checks_events:
            newest = self._newest(case.customer)
            if newest is None:
                causes = {*causes, "store"}
            elif _is_outdated(kept, newest):
                return
        source: Source = "cache" if kept is case.cached else "batch"
        case.answer = answered(kept, self._model, source, causes, explain=case.ask.explain)

    def _answer_live(self, cases: Sequence[Case]) -> dict[str, ServedScore]:
        """Answer with live scores; those worth keeping, by their keys."""
        self._read_rows(cases)
        wanted: dict[int, list[Case]] = {}
        for case in cases:
            place = self._place_to_score(case)
            if place is not None:
                wanted.setdefault(place, []).append(case)
        explain = [any(case.ask.explain for case in alike) for alike in wanted.values()]
        fresh: dict[str, ServedScore] = {}
        for alike, score in zip(wanted.values(), self._scored(list(wanted), explain), strict=True):
            self._hand_out(alike, score)
            keep = None if score is None else to_keep(score)
            if keep is not None:
                fresh[self._key_of(alike[0].customer)] = keep
        return fresh

    def _hand_out(self, cases: Sequence[Case], score: ServedScore | None) -> None:
        for case in cases:
            if score is None:
                case.causes.add("model")
            elif "base_rate" in score.degraded_because:  # no features that a model could use
                case.causes.update(cause for cause in score.degraded_because if cause != "base_rate")
            else:
                case.answer = live_answer(score, case.causes, explain=case.ask.explain)

    def _place_to_score(self, case: Case) -> int | None:
        """The customer's row, where it has features of events; else notes why there are none."""
        if self._rows is None:
            case.causes.add("store")
            return None
        place = self._places[case.customer]
        events = self._rows.events[place]
        if events == "online" and not self._rows.known[place]:
            case.is_unknown = True
            return None
        if events == "none":
            case.causes.add("store")
            return None
        return place

    def _scored(self, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore | None]:
        """Live scores; None where no model of the version gives one."""
        if self._rows is None or not places:
            return []
        try:
            return [*self._model.score_rows(self._rows, places, explain)]
        except UnavailableError:
            return [None] * len(places)
        except Exception as error:  # noqa: BLE001 - what the model stumbles over in one row shall not cost the others theirs
            if len(places) == 1:
                _log.error("A live score failed.", exc_info=_without_words(error))
                return [None]
            return [self._scored([place], [wanted])[0] for place, wanted in zip(places, explain, strict=True)]

    def _rescue(self, cases: Sequence[Case]) -> None:
        """There is no live score: the newest one that is kept, whatever its age; else what can be said of anybody."""
        self._read_stored([case for case in cases if "database" not in case.looked_up])
        self._read_cached([case for case in cases if "cache" not in case.looked_up])
        for case in cases:
            kept = _newest_of(case)
            if kept is not None:
                case.answer = self._stale(case, kept)
            elif case.is_unknown and "database" not in case.causes:
                case.answer = _nobody(case.customer)
            else:
                case.answer = self._model.base(case.customer, in_order(case.causes))

    def _stale(self, case: Case, kept: Kept) -> ServedScore:
        causes = set(case.causes)
        if self._is_old(kept, self._settings.cache_ttl if kept is case.cached else self._settings.batch_ttl):
            causes.add("expired")
        if case.is_unknown:
            causes.add("features")
        return answered(kept, self._model, "stale", causes, explain=case.ask.explain)

    def _is_old(self, kept: Kept, ttl: timedelta) -> bool:
        return self._now - kept.computed_at >= ttl

    def _newest(self, customer: str) -> int | None:
        """From when on the customer's newest event counts, in microseconds; None where nobody knows."""
        if self._rows is None:
            return None
        place = self._places[customer]
        return int(self._rows.newest[place]) if self._rows.events[place] == "online" else None

    def _read_stored(self, cases: Sequence[Case]) -> None:
        missing: list[Case] = []
        for case in cases:
            case.looked_up.add("database")
            found = self._dependencies.remembered(case.customer)
            if found is None:
                missing.append(case)
            elif found is not MISSING:
                case.stored = found
        if missing:
            silent = "database" in self._silent
            scores = None if silent else self._dependencies.stored(_customers(missing))
            if scores is None:
                self._note(missing, "database")
            for case in missing:
                case.stored = None if scores is None else scores.get(case.customer)
        scored = [(case, case.stored) for case in cases if case.stored is not None]
        decided = decided_again([score for _, score in scored], self._model.value)
        for (case, _), score in zip(scored, decided, strict=True):
            case.stored = score

    def _read_cached(self, cases: Sequence[Case]) -> None:
        if not cases:
            return
        keys = {customer: self._key_of(customer) for customer in _customers(cases)}
        found = None if "cache" in self._silent else self._dependencies.cached(list(keys.values()))
        if found is None:
            self._note(cases, "cache")
        for case in cases:
            case.looked_up.add("cache")
            kept = None if found is None else found.get(keys[case.customer])
            if kept is not None and (kept.customer_id, kept.model_version) == (case.customer, self._model.name):
                case.cached = kept

    def _read_rows(self, cases: Sequence[Case]) -> None:
        if self._rows is not None or "store" in self._silent or not cases:
            return
        customers = _customers(cases)
        self._rows = self._dependencies.fresh(self._model.features, customers)
        if self._rows is None:
            self._silent.add("store")
        else:
            self._places = {customer: place for place, customer in enumerate(customers)}

    def _note(self, cases: Iterable[Case], silent: Dependency) -> None:
        self._silent.add(silent)
        for case in cases:
            case.causes.add(silent)


def _open(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.answer is None]


def _customers(cases: Iterable[Case]) -> list[str]:
    return list(dict.fromkeys(case.customer for case in cases))


def _newest_of(case: Case) -> Kept | None:
    stored, cached = case.stored, case.cached
    if stored is None or cached is None:
        return stored or cached
    return cached if cached.computed_at > stored.computed_at else stored


def _is_outdated(kept: Kept, newest: int) -> bool:
    """Whether a kept score does not know of the newest event.

    An event may have happened before a live score and have been folded after it, so that only what the score's own
    features knew can tell. Of a precomputed score that is not known; it knows what had happened at its instant.
    """
    if isinstance(kept, ServedScore):
        return kept.newest != newest
    return newest > to_micros(kept.features_as_of)


def _without_words(error: Exception) -> Exception:
    """An error of the same name that passed the same places; its words may hold what is known of a customer.

    The log is that of any program that scores, and not every one leaves the words out as the service does.
    """
    silent: Exception = type(type(error).__name__, (Exception,), {})()
    return silent.with_traceback(error.__traceback__)


def _no_batch_score(customer: str, *, has_rows: bool) -> NotFoundError:
    other = 'Ask with the mode "auto"' if has_rows else "Send the features themselves"
    return NotFoundError(
        f"Customer {customer!r} has no precomputed score.",
        hint=f"{other}, or run: tenure score",
        customer_id=customer,
    )


def _nobody(customer: str) -> NotFoundError:
    return NotFoundError(
        f"Nothing is known of a customer {customer!r}: neither a score, nor an event, nor a row of a batch.",
        hint="Check the id; or send the features themselves.",
        customer_id=customer,
    )
