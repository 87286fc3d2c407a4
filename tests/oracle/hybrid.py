"""What hybrid scoring answers, said a second time: one ask after the other, slowly, by looking at the whole world.

A `World` is everything that an answer may depend on: scores, ages, what answers and what does not. `answer` says what
`HybridScorer` has to answer to one ask in it, `put_aside` what is in the cache afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from tenure.core.errors import InputError, NotFoundError, TenureError
from tenure.core.settings import ValueSettings
from tenure.core.time import to_micros
from tenure.score.explain import Reason
from tenure.score.served import Ask, Cause, ServedScore
from tenure.score.table import StoredScore
from tenure.store.hybrid import NOTHING

REASON = Reason("visits", 2.0, 9.0, 0.61, 0.124, "visits is 2 (usual: 9)")
BASE_RATE = 0.25
EVERYBODY_ALIKE = ValueSettings(clv=600.0)
ORDER: tuple[Cause, ...] = get_args(Cause)
Answer = ServedScore | type[TenureError]


@dataclass(frozen=True)
class Fact:
    """What the online store says of a customer.

    `events` is where the features of events come from; `newest` the instant from which the newest event counts;
    `usable` whether a model can make something of the features.
    """

    events: Literal["online", "batch", "none"] = "online"
    known: bool = True
    newest: datetime | None = None
    usable: bool = True


@dataclass(frozen=True)
class World:
    """Everything that an answer depends on."""

    now: datetime
    batch_ttl: timedelta = timedelta(hours=24)
    cache_ttl: timedelta = timedelta(hours=1)
    invalidate: bool = False
    value: ValueSettings = EVERYBODY_ALIKE
    version: str = "v2"
    alias: str | None = "champion"
    precomputed: Mapping[str, StoredScore] | None = None
    remembered: frozenset[str] = frozenset()
    cached: Mapping[str, ServedScore] | None = None
    facts: Mapping[str, Fact] | None = None  # None: a plain table, without streams
    database_answers: bool = True
    cache_answers: bool = True
    store_answers: bool = True
    model: Literal["works", "fallback", "down"] = "works"
    reasons_work: bool = True

    def fact(self, customer: str) -> Fact:
        return (self.facts or {}).get(customer, Fact(known=False))

    def stored(self, customer: str) -> StoredScore | None:
        return (self.precomputed or {}).get(customer)

    def database_tells(self, customer: str) -> bool:
        return self.database_answers or customer in self.remembered

    def live(self, customer: str | None, explain: bool, *, given: bool = False) -> ServedScore:
        """What the model makes of a customer's features, if any model of the version answers."""
        causes: set[Cause] = set()
        if self.model == "fallback":
            causes.add("model")
        has_reasons = explain and self.reasons_work and self.model == "works"
        if explain and not has_reasons:
            causes.add("reasons")
        fact = self.fact(customer or "")
        if not given and fact.events == "batch":
            causes.add("features")
        reasons = (REASON,) if has_reasons else None
        as_of = self.now - timedelta(days=2) if fact.events == "batch" else self.now
        return ServedScore(
            customer,
            0.5,
            "contact",
            26.0,
            None,
            None,
            "high",
            reasons,
            self.version,
            self.alias,
            "fallback" if self.model == "fallback" else "realtime",
            None if given else as_of,
            self.now,
            in_order(causes),
            None if given else self.newest(customer or ""),
        )

    def newest(self, customer: str) -> int | None:
        """What the features of this moment know: from when on the newest event counts; None where nobody can tell."""
        fact = self.fact(customer)
        if fact.events != "online":
            return None
        return NOTHING if fact.newest is None else to_micros(fact.newest)

    def base(self, customer: str | None, causes: set[Cause]) -> ServedScore:
        """What can be said of somebody of whom nothing is known."""
        whole = in_order(causes | {"base_rate"})
        return ServedScore(
            customer, BASE_RATE, "no_contact", None, None, None, None, None,
            self.version, self.alias, "fallback", None, self.now, whole,
        )  # fmt: skip


def in_order(causes: set[Cause]) -> tuple[Cause, ...]:
    return tuple(cause for cause in ORDER if cause in causes)


def answer(world: World, ask: Ask) -> Answer:
    """What is answered to one ask."""
    if ask.features is not None:
        if world.model == "down":
            return world.base(ask.customer_id, {"model"})
        return world.live(ask.customer_id, ask.explain, given=True)
    if ask.customer_id is None:
        return InputError
    if world.facts is None:
        return InputError if ask.mode == "realtime" else _batch(world, ask, ask.customer_id)
    if ask.mode == "batch":
        return _batch(world, ask, ask.customer_id)
    return _auto_or_realtime(world, ask, ask.customer_id)


def _batch(world: World, ask: Ask, customer: str) -> Answer:
    """Precomputed scores alone; where they cannot be read, whatever else is known."""
    if not world.database_tells(customer):
        return _rescued(world, ask, customer, {"database"}, unknown=False)
    stored = world.stored(customer)
    if stored is None:
        return NotFoundError
    if _too_old(world, stored.computed_at, world.batch_ttl):
        return _of_stored(world, ask, stored, "stale", {"expired"})
    return _of_stored(world, ask, stored, "batch", set())


def _auto_or_realtime(world: World, ask: Ask, customer: str) -> Answer:
    causes: set[Cause] = set()
    if ask.mode == "auto":
        kept = _first_kept(world, ask, customer, causes)
        if kept is not None:
            return kept
    fact = world.fact(customer)
    if not world.store_answers or fact.events == "none":
        return _rescued(world, ask, customer, causes | {"store"}, unknown=False)
    if not fact.known:
        return _rescued(world, ask, customer, causes, unknown=True)
    if world.model == "down":
        return _rescued(world, ask, customer, causes | {"model"}, unknown=False)
    if not fact.usable:
        return _rescued(world, ask, customer, causes | {"features"}, unknown=False)
    live = world.live(customer, ask.explain)
    return replace(live, degraded_because=in_order({*live.degraded_because, *causes}))


def _first_kept(world: World, ask: Ask, customer: str, causes: set[Cause]) -> ServedScore | None:
    """The precomputed score, else the cached one, where it is good enough; notes what did not answer."""
    stored = world.stored(customer) if world.database_tells(customer) else None
    if not world.database_tells(customer):
        causes.add("database")
    if stored is not None and not _too_old(world, stored.computed_at, world.batch_ttl):
        enough = stored.reasons is not None or not ask.explain
        unsure, newest = _doubt(world, customer), world.fact(customer).newest
        stands = not world.invalidate or newest is None or newest <= stored.features_as_of
        if enough and (unsure or stands):
            return _of_stored(world, ask, stored, "batch", causes | ({"store"} if unsure else set()))
    if not world.cache_answers:
        causes.add("cache")
        return None
    cached = _cached(world, customer)
    if cached is not None and not _too_old(world, cached.computed_at, world.cache_ttl):
        enough = cached.reasons is not None or not ask.explain
        unsure = _doubt(world, customer)
        if enough and (unsure or not world.invalidate or cached.newest == world.newest(customer)):
            return _of_cached(world, ask, cached, "cache", causes | ({"store"} if unsure else set()))
    return None


def _doubt(world: World, customer: str) -> bool:
    """Whether it matters if something happened since a score was worked out, and nobody can tell."""
    return world.invalidate and not (world.store_answers and world.fact(customer).events == "online")


def _rescued(world: World, ask: Ask, customer: str, causes: set[Cause], *, unknown: bool) -> Answer:
    """Live scoring has failed: the newest kept score, else that there is no such customer, else the base rate."""
    causes = set(causes)
    if not world.database_tells(customer):
        causes.add("database")
    if not world.cache_answers:
        causes.add("cache")
    stored = world.stored(customer) if world.database_tells(customer) else None
    cached = _cached(world, customer) if world.cache_answers else None
    if cached is not None and (stored is None or cached.computed_at > stored.computed_at):
        if _too_old(world, cached.computed_at, world.cache_ttl):
            causes.add("expired")
        return _of_cached(world, ask, cached, "stale", causes | ({"features"} if unknown else set()))
    if stored is not None:
        if _too_old(world, stored.computed_at, world.batch_ttl):
            causes.add("expired")
        return _of_stored(world, ask, stored, "stale", causes | ({"features"} if unknown else set()))
    if unknown and world.database_tells(customer):
        return NotFoundError
    return world.base(customer, causes)


def _cached(world: World, customer: str) -> ServedScore | None:
    """What the cache has of the version that serves."""
    found = (world.cached or {}).get(customer)
    return found if found is not None and found.model_version == world.version else None


def _too_old(world: World, computed_at: datetime, ttl: timedelta) -> bool:
    age = max(world.now - computed_at, timedelta(0))
    return age >= ttl


def _of_cached(world: World, ask: Ask, cached: ServedScore, source: str, causes: set[Cause]) -> ServedScore:
    return _shaped(ask, replace(cached, alias=world.alias), source, causes)


def _of_stored(world: World, ask: Ask, stored: StoredScore, source: str, causes: set[Cause]) -> ServedScore:
    alias = world.alias if stored.model_version == world.version else None
    assert stored.decision in {"contact", "no_contact"}
    stored = _decided(world.value, stored)
    score = ServedScore(
        stored.customer_id,
        stored.probability,
        "contact" if stored.decision == "contact" else "no_contact",
        stored.expected_profit,
        stored.expected_profit_low,
        stored.expected_profit_high,
        stored.band,
        stored.reasons,
        stored.model_version,
        alias,
        "batch",
        stored.features_as_of,
        stored.computed_at,
    )
    return _shaped(ask, score, source, causes)


def _decided(value: ValueSettings, stored: StoredScore) -> StoredScore:
    """What follows today from the probability, where every customer is worth the same; else what followed then."""
    if isinstance(value.clv, str):
        return stored
    p, worth, d, f = stored.probability, value.clv, value.incentive_cost, value.contact_cost
    rates = (value.save_rates[0], value.middle_save_rate, value.save_rates[1])
    low, middle, high = (p * rate * (worth - d) - (1 - p) * d - f for rate in rates)
    threshold = (d + f) / (value.middle_save_rate * (worth - d) + d)
    return replace(
        stored,
        decision="contact" if middle >= 0 else "no_contact",
        expected_profit=middle,
        expected_profit_low=min(low, high) if low != high else None,
        expected_profit_high=max(low, high) if low != high else None,
        band="high" if middle >= 0 else "medium" if p >= 0.5 * threshold else "low",
    )


def _shaped(ask: Ask, score: ServedScore, source: str, causes: set[Cause]) -> ServedScore:
    """As it is answered: with reasons where they were asked for, and marked where they were and there are none."""
    assert source in {"batch", "cache", "stale"}
    if ask.explain and score.reasons is None:
        causes = causes | {"reasons"}
    reasons = score.reasons if ask.explain else None
    return replace(score, source=source, reasons=reasons, degraded_because=in_order(causes))  # type: ignore[arg-type]


def put_aside(world: World, asks: Sequence[Ask]) -> dict[str, ServedScore]:
    """What the cache has afterwards, by customer: live scores of the version's own model from fresh features."""
    kept = dict(world.cached or {})
    if not world.cache_answers:
        return kept
    for customer in {ask.customer_id for ask in asks if ask.customer_id is not None and ask.features is None}:
        mine = [ask for ask in asks if ask.customer_id == customer and ask.features is None]
        live = [ask for ask in mine if _is_worth_keeping(answer(world, ask))]
        if live:
            explain = any(ask.explain for ask in live)
            kept[customer] = replace(world.live(customer, explain), source="cache", degraded_because=())
    return kept


def _is_worth_keeping(found: Answer) -> bool:
    about_the_way: set[Cause] = {"database", "cache", "reasons"}
    return (
        isinstance(found, ServedScore) and found.source == "realtime" and set(found.degraded_because) <= about_the_way
    )
