"""Scores from the cheapest source that is fresh enough, whatever breaks.

Enters: asks. Leaves: for each a score that says where it comes from, how old it is and what is wrong with it, or an
error that the caller can do something about. Invariant: an answer is what was asked for, or says that it is not
(`degraded_because`); and what one caller is answered depends on nobody else who asks at the same time.

The way of an ask
-----------------
`auto` takes the first of these that will do: the **precomputed score**, if it was worked out less than `batch_ttl` ago;
a **cached** live score of the version that serves now, if it was worked out less than `cache_ttl` ago; a **live** score
from fresh features, which is then put into the cache. `batch` takes the precomputed score alone, `realtime` the live
one. A kept score without reasons will not do where reasons are asked for: they come with a live one. And where
`invalidate_on_event` is set, a kept score will not do in `auto` once an event counts that it does not know of.

When there is no live score, because the online store gives no features or no model of the version answers, then the
newest score that is kept is the answer, whatever its age (`stale`); and where none is kept, the share of all customers
who leave (`fallback`, because of `base_rate`). The fallback model, which comes before all that, belongs to the version.

What can be said of whom
------------------------
- A customer is unknown only where everybody who could know of them has answered: the online store has their partition
  complete, and neither a state nor a row of a batch; and the database has no score. Then there is an error, and no
  made-up score. Whether the cache answers does not matter: it only holds scores of customers whom the store knew.
- A kept score of a customer whom the store knows nothing of is `stale` because of `features`: there are no newer ones.
- Where a partition is not filled, or its states are of other features, the row of the last batch is scored instead
  (`features`); without one, the store counts as silent, for it cannot say who is unknown.
- Whether an event has come since a kept score cannot be told without the store or the partition's states: then the
  score is used and says so (`store`).
- A project that is a plain table has no fresh features: `auto` is the same as `batch` there, and `realtime` by id an
  error. Where the database is silent `batch` is answered as if live scoring had failed, for want of anything better.
- Features that a caller sends are scored as they are, whatever the mode, and never kept.

What is decided
---------------
A precomputed score is decided again by the settings of today where `[value] clv` is an amount, so that it and a live
one of the same probability agree; where `clv` names a column the decision of the batch stays.

What is told
------------
Whatever an ask needed and did not get is among its causes, also where the answer came from elsewhere; what it did not
need is not. A live score that could not be kept for the next caller is as good as one that could. Causes come in the
order in which `Cause` names them. Ages are of `computed_at` against the wall clock; a score from the future is new.
What a cache has of another version, or of another customer, is not there.

All at once
-----------
Asks that come together are answered together: one reading of the database, of the online store and of the cache for
all of them, one matrix for the model. `peek` is for what memory has: it reads nothing, waits for nobody, and leaves to
`score` whatever it cannot answer at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from tenure.core.errors import InputError, TenureError, UnavailableError
from tenure.core.guard import State
from tenure.core.settings import ServeSettings
from tenure.core.time import Clock, system_clock
from tenure.features.declare import FeatureSet
from tenure.score.cache import Cache
from tenure.score.dependencies import Dependencies
from tenure.score.kept import EXPIRED, answered
from tenure.score.observe import Observer, silent_observer
from tenure.score.outcome import decided_again
from tenure.score.protocol import MISSING, FreshRows, PrecomputedScores, Scoring
from tenure.score.round import Case, Round
from tenure.score.served import Ask, ServedScore
from tenure.score.table import StoredScore
from tenure.store.hybrid import HybridRows

__all__ = ["HybridScorer"]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A remembered precomputed score, as it is decided today, with its answers, ready to be given."""

    stored: StoredScore
    decided: StoredScore
    until: datetime
    plain: ServedScore
    explained: ServedScore


@dataclass(frozen=True, eq=False, slots=True)
class _Serving:
    """The version that serves, and what was made ready under it."""

    model: Scoring
    prefix: str
    ready: dict[str, _Ready] = field(default_factory=dict)

    def key_of(self, customer: str) -> str:
        return self.prefix + customer


class HybridScorer:
    """Answers asks; any number of threads may.

    Parameters
    ----------
    model : Scoring
        The version that serves, for example a `LiveModel`.
    precomputed : PrecomputedScores
        Scores of batches, for example a `Precomputed`.
    cache : Cache
        Where live scores are kept.
    rows : FreshRows or None
        Fresh features, for example `OnlineRows`; None where the project is a plain table.
    settings : ServeSettings
        The `[serve]` section.
    clock : Clock
        The wall clock.
    observer : Observer
        Who counts.

    Examples
    --------
    A plain table whose version is not asked, for nobody has been scored yet:

    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> from tenure.core.database import open_database
    >>> from tenure.core.settings import ValueSettings
    >>> from tenure.score.cache import NoCache
    >>> from tenure.score.precomputed import Precomputed
    >>> engine = open_database(f"sqlite:///{tempfile.mkdtemp()}/tenure.db")
    >>> version = SimpleNamespace(name="v1", fingerprint="0f", value=ValueSettings(clv=600.0))
    >>> precomputed, settings = Precomputed(engine, 10), ServeSettings(budget_seconds=60.0)
    >>> scorer = HybridScorer(version, precomputed, NoCache(), None, settings)
    >>> [found] = scorer.score([Ask("c1")])
    >>> found.message
    "Customer 'c1' has no precomputed score."
    """

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
        self._serving = _serving(model)
        self._settings, self._clock, self._observer = settings, clock, observer
        self._dependencies = Dependencies(precomputed, cache, rows, settings.budget_seconds, observer)
        self._remembered = precomputed.peek
        self._has_rows = rows is not None
        self._checks_events = settings.invalidate_on_event and self._has_rows
        self._peeks_cache = cache.is_local and self._has_rows and not self._checks_events
        # Counted from any thread without a lock: to draw the next number is one step of the interpreter.
        self._found, self._missed, self._told = count(), count(), (-1, -1)

    @property
    def model(self) -> Scoring:
        """The version that serves now."""
        return self._serving.model

    def switch(self, model: Scoring) -> None:
        """Serve another version from now on; what has begun ends with the one before."""
        self._serving = _serving(model)

    def peek(self, ask: Ask) -> ServedScore | None:
        """The answer, where memory has it; None: `score` has to be asked. Reads nothing and waits for nobody.

        Parameters
        ----------
        ask : Ask
            What is asked.
        """
        customer = ask.customer_id
        if customer is None or ask.mode == "realtime" or ask.features is not None:
            return None
        found = self._peek(customer, ask)
        next(self._missed if found is None else self._found)
        return found

    def score(self, asks: Sequence[Ask]) -> list[ServedScore | TenureError]:
        """Answer asks, in their order; an ask that cannot be answered gets its error instead.

        It may take as long as every dependency may, one after the other, and the models of the version.

        Parameters
        ----------
        asks : sequence of Ask
            At most a thousand or so.
        """
        serving = self._serving
        answers: list[ServedScore | TenureError | Case] = [self._begun(ask) for ask in asks]
        given = [place for place, ask in enumerate(asks) if ask.features is not None]
        if given:
            scores = _given_scores(serving.model, [asks[place] for place in given])
            for place, score in zip(given, scores, strict=True):
                answers[place] = score
        cases = [answer for answer in answers if isinstance(answer, Case)]
        if cases:
            Round(serving.model, serving.key_of, self._dependencies, self._settings, self._clock()).run(cases)
        return [_finished(answer) if isinstance(answer, Case) else answer for answer in answers]

    def fresh(self, features: FeatureSet, customer_ids: Sequence[str]) -> HybridRows | None:
        """Features as of now, read as for a score; None: the online store did not answer in time, or there is none.

        Parameters
        ----------
        features : FeatureSet
            Which.
        customer_ids : sequence of str
            Of whom; at most a thousand or so.
        """
        return self._dependencies.fresh(features, customer_ids)

    def refresh(self) -> None:
        """Look whether another batch has been published, and tell the observer what was found in memory."""
        self._dependencies.refresh()
        drawn, before = (next(self._found), next(self._missed)), self._told
        self._told = drawn
        found, missed = drawn[0] - before[0] - 1, drawn[1] - before[1] - 1
        if found or missed:
            self._observer.looked_up("memory", found, missed)

    def probe(self) -> None:
        """Call every dependency once through its guard, so that one that answers again is used again."""
        self.refresh()
        self._dependencies.store_answers()
        self._dependencies.cache_answers()

    def states(self) -> Mapping[str, State]:
        """State of the breaker of every dependency, and of every model of the version."""
        return {**self._dependencies.states(), **self._serving.model.states()}

    def _peek(self, customer: str, ask: Ask) -> ServedScore | None:
        serving = self._serving
        stored = self._remembered(customer)
        if stored is None:
            return None
        if stored is not MISSING:
            ready = serving.ready.get(customer)
            if ready is None or ready.stored is not stored:
                ready = self._make_ready(serving, customer, stored)
            is_batch = ask.mode == "batch" or not self._has_rows
            if self._clock() < ready.until:
                if self._checks_events and not is_batch:
                    return None
                if not ask.explain:
                    return ready.plain
                if is_batch or stored.reasons is not None:
                    return ready.explained
            elif is_batch:
                return answered(ready.decided, serving.model, "stale", EXPIRED, explain=ask.explain)
        return self._peek_cache(serving, customer, ask) if self._peeks_cache and ask.mode == "auto" else None

    def _peek_cache(self, serving: _Serving, customer: str, ask: Ask) -> ServedScore | None:
        key = serving.key_of(customer)
        kept = self._dependencies.cache.get((key,)).get(key)
        if kept is None or kept.model_version != serving.model.name or kept.customer_id != customer:
            return None
        if self._clock() - kept.computed_at >= self._settings.cache_ttl or (ask.explain and kept.reasons is None):
            return None
        if kept.alias == serving.model.alias and kept.source == "cache" and (ask.explain or kept.reasons is None):
            return kept  # as it was put
        return answered(kept, serving.model, "cache", (), explain=ask.explain)

    def _make_ready(self, serving: _Serving, customer: str, stored: StoredScore) -> _Ready:
        [decided] = decided_again([stored], serving.model.value)
        plain, explained = (answered(decided, serving.model, "batch", (), explain=flag) for flag in (False, True))
        ready = _Ready(stored, decided, stored.computed_at + self._settings.batch_ttl, plain, explained)
        if len(serving.ready) >= self._settings.entries:
            serving.ready.clear()
        serving.ready[customer] = ready
        return ready

    def _begun(self, ask: Ask) -> Case | InputError:
        customer = ask.customer_id
        if customer is None:
            return InputError("Neither a customer nor features were given.", hint="Send customer_id, or features.")
        if not _can_be_kept(customer):
            return InputError(
                "The customer_id is empty, or holds a character that no id can have.",
                hint="Send the id as it is in the data.",
                field="customer_id",
            )
        if ask.mode == "realtime" and not self._has_rows:
            return InputError(
                f"There are no fresh features of customer {customer!r}: the project is a plain table.",
                hint='Send the features themselves, or ask with the mode "auto".',
                customer_id=customer,
                field="mode",
            )
        return Case(ask, customer, ask.mode if self._has_rows else "batch")


def _serving(model: Scoring) -> _Serving:
    """A kept score holds for one version and for what a customer is worth, on which its decision depends."""
    worth = model.value.model_dump_json()
    return _Serving(model, hashlib.sha256(f"{model.fingerprint} {worth}".encode()).hexdigest() + ":")


def _given_scores(model: Scoring, asks: Sequence[Ask]) -> Sequence[ServedScore | InputError]:
    try:
        return model.score_given(asks)
    except UnavailableError:
        return [model.base(ask.customer_id, ("model",)) for ask in asks]


def _can_be_kept(customer: str) -> bool:
    """Whether a store could hold it at all: one that cannot must not fail a reading that others wait for, too."""
    if not customer or "\0" in customer:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in customer) if not customer.isascii() else True


def _finished(case: Case) -> ServedScore | TenureError:
    """What a round found. It answers every case; were one forgotten, that ask alone would go without."""
    if case.answer is not None:
        return case.answer
    return UnavailableError(
        f"No answer was found for {case.customer!r}.", hint="Ask again.", dependency="scorer", reason="failed"
    )
