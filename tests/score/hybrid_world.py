"""The world of the oracle as parts that `HybridScorer` can be given, and worlds drawn at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tenure.core.errors import InputError, UnavailableError, UnreachableError
from tenure.core.guard import State
from tenure.core.settings import ServeSettings, ValueSettings
from tenure.core.time import from_micros, to_micros
from tenure.features.declare import FeatureSet
from tenure.score.hybrid import HybridScorer
from tenure.score.protocol import MISSING, Missing
from tenure.score.served import Ask, Cause, ServedScore
from tenure.score.table import StoredScore
from tenure.store.hybrid import NOTHING, HybridRows
from tests.oracle.hybrid import EVERYBODY_ALIKE, REASON, Fact, World

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CUSTOMERS = ("ana", "bo")
HOUR = timedelta(hours=1)
FOLDED = timedelta(seconds=3)
"""So long before now the newest record was appended that the states know of."""
AGES = [timedelta(hours=hours) for hours in (-1, 0, 0.5, 1, 2, 23, 24, 25, 200)]
DOWN = UnreachableError("nobody there")


def stored_score(customer: str, age: timedelta, version: str = "v2", *, explained: bool = False) -> StoredScore:
    """A precomputed score that was worked out so long ago, from features of three hours before."""
    at = NOW - age
    reasons = (REASON,) if explained else None
    return StoredScore(customer, 0.3, "contact", 5.0, 4.0, 6.0, "low", version, at - timedelta(hours=3), at, reasons)


def live_score(
    customer: str, age: timedelta, version: str = "v2", *, explained: bool = False, newest: int | None = NOTHING
) -> ServedScore:
    """A live score as it is kept."""
    at, reasons = NOW - age, (REASON,) if explained else None
    return ServedScore(
        customer, 0.4, "no_contact", -1.0, None, None, "medium", reasons, version, None, "cache", at, at, (), newest
    )  # fmt: skip


@dataclass
class Parts:
    """What a scorer is made of, over one world; `calls` counts what was asked."""

    world: World
    local_cache: bool = False
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.precomputed, self.cache = FakePrecomputed(self), FakeCache(self)
        self.rows = FakeRows(self) if self.world.facts is not None else None
        self.model = FakeModel(self)

    def scorer(self, **settings: Any) -> HybridScorer:
        world = self.world
        chosen = ServeSettings.model_validate(
            {
                "batch_ttl": world.batch_ttl,
                "cache_ttl": world.cache_ttl,
                "invalidate_on_event": world.invalidate,
                "budget_seconds": 60.0,
                **settings,
            }
        )
        return HybridScorer(self.model, self.precomputed, self.cache, self.rows, chosen, clock=lambda: self.world.now)

    def used(self, name: str, answers: bool) -> None:
        self.calls[name] += 1
        if not answers:
            raise DOWN


@dataclass
class FakePrecomputed:
    parts: Parts

    def peek(self, customer_id: str) -> StoredScore | Missing | None:
        if customer_id not in self.parts.world.remembered:
            return None
        return self.parts.world.stored(customer_id) or MISSING

    def read(self, customer_ids: Sequence[str]) -> Mapping[str, StoredScore]:
        assert len(set(customer_ids)) == len(customer_ids)
        self.parts.used("database", self.parts.world.database_answers)
        found = {customer: self.parts.world.stored(customer) for customer in customer_ids}
        return {customer: score for customer, score in found.items() if score is not None}

    def refresh(self) -> None:
        self.parts.used("database", self.parts.world.database_answers)


class FakeCache:
    def __init__(self, parts: Parts) -> None:
        self.parts, self.is_local = parts, parts.local_cache
        self.kept = dict(parts.world.cached or {})

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:
        self.parts.used("cache", self.parts.world.cache_answers)
        return {key: self.kept[key.partition(":")[2]] for key in keys if key.partition(":")[2] in self.kept}

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        self.parts.used("put", self.parts.world.cache_answers)
        self.kept |= {key.partition(":")[2]: score for key, score in scores.items()}

    def close(self) -> None:
        self.kept.clear()


class FakeRows:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def probe(self) -> None:
        self.parts.used("probe", self.parts.world.store_answers)

    def read(self, features: FeatureSet, customers: Sequence[str]) -> HybridRows:
        assert features is self.parts.model.features
        self.parts.used("store", self.parts.world.store_answers)
        facts = [self.parts.world.fact(customer) for customer in customers]
        as_of = [NOW - timedelta(days=2) if fact.events == "batch" else NOW for fact in facts]
        folded = to_micros(NOW - FOLDED)
        return HybridRows(
            tuple(customers),
            np.array([to_micros(at) for at in as_of]),
            tuple(fact.events for fact in facts),
            np.array([fact.known for fact in facts], dtype=bool),
            np.array([fact.events != "online" for fact in facts], dtype=bool),
            np.array([NOTHING if fact.newest is None else to_micros(fact.newest) for fact in facts], dtype=np.int64),
            np.array([folded if fact.events == "online" else NOTHING for fact in facts]),
            np.full(len(facts), NOTHING),
            {},
            to_micros(NOW),
        )


class FakeModel:
    features = FeatureSet()
    fingerprint = "0f"

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.name, self.alias, self.value = parts.world.version, parts.world.alias, parts.world.value

    def score_rows(self, rows: HybridRows, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore]:
        assert len(set(places)) == len(places)
        self._used()
        found = []
        for place, wanted in zip(places, explain, strict=True):
            customer = rows.customer_id[place]
            score = self.parts.world.live(customer, wanted)
            assert score.features_as_of == from_micros(rows.as_of[place])
            usable = self.parts.world.fact(customer).usable
            found.append(score if usable else self.base(customer, ("features",)))
        return found

    def score_given(self, asks: Sequence[Ask]) -> list[ServedScore | InputError]:
        self._used()
        return [self.parts.world.live(ask.customer_id, ask.explain, given=True) for ask in asks]

    def base(self, customer_id: str | None, causes: Sequence[Cause]) -> ServedScore:
        return self.parts.world.base(customer_id, set(causes))

    def states(self) -> Mapping[str, State]:
        return {"fake": "closed"}

    def _used(self) -> None:
        self.parts.calls["model"] += 1
        if self.parts.world.model == "down":
            raise UnavailableError("no model answers")


VALUES = [
    EVERYBODY_ALIKE,
    ValueSettings(clv=100.0, contact_cost=15.0),
    ValueSettings(clv=100.0, contact_cost=7.0, incentive_cost=5.0, save_rate=(0.1, 0.35)),
    ValueSettings(clv="income"),
]
ages, flags = st.sampled_from(AGES), st.booleans()
versions = st.sampled_from(["v1", "v2"])
stored = st.builds(lambda age, version, explained: (age, version, explained), ages, versions, flags)
scores = st.fixed_dictionaries({}, optional=dict.fromkeys(CUSTOMERS, stored))
facts = st.builds(
    Fact,
    events=st.sampled_from(["online", "online", "batch", "none"]),
    known=st.sampled_from([True, True, False]),
    newest=st.none() | st.builds(lambda age, before: NOW - age - before, ages, st.sampled_from([3 * HOUR, 0 * HOUR])),
    usable=st.sampled_from([True, True, True, False]),
).map(lambda fact: replace(fact, known=True) if fact.events == "batch" else fact)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world with two customers; in most of them most things work."""
    works = st.sampled_from([True, True, False])
    kept, cached = draw(scores), draw(scores)
    known = draw(st.one_of(*[st.fixed_dictionaries({}, optional=dict.fromkeys(CUSTOMERS, facts))] * 3, st.none()))
    world = World(NOW, facts=known)
    newest = {one: draw(st.sampled_from([world.newest(one), NOTHING, to_micros(NOW - HOUR), None])) for one in cached}
    return World(
        now=NOW,
        invalidate=draw(flags),
        value=draw(st.sampled_from(VALUES)),
        alias=draw(st.sampled_from(["champion", None])),
        precomputed={one: stored_score(one, age, version, explained=why) for one, (age, version, why) in kept.items()},
        remembered=draw(st.frozensets(st.sampled_from(CUSTOMERS))),
        cached={
            one: live_score(one, age, version, explained=why, newest=newest[one])
            for one, (age, version, why) in cached.items()
        },
        facts=known,
        database_answers=draw(works),
        cache_answers=draw(works),
        store_answers=draw(works),
        model=draw(st.sampled_from(["works", "works", "fallback", "down"])),
        reasons_work=draw(works),
    )


asks = st.builds(
    Ask,
    st.sampled_from([*CUSTOMERS, *CUSTOMERS, None]),
    st.sampled_from(["auto", "auto", "batch", "realtime"]),
    flags,
    st.sampled_from([None, None, None, {"visits": 2.0}]),
)
