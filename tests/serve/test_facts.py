"""What is known of a customer: every part with its age, and nobody called unknown whom somebody may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from tenure.core.errors import NotFoundError, StateError, TenureError
from tenure.core.time import parse_instant
from tenure.features.declare import Attribute
from tenure.score.served import Ask, ServedScore
from tenure.serve.facts import CustomerFacts, FactsReader
from tenure.store.hybrid import OnlineRows, pack_rows
from tenure.store.stream import Stream
from tenure.testing.stream import SMALL_FEATURES, small_stream
from tests.oracle.hybrid import Fact, World
from tests.score.hybrid_world import Parts, live_score

NOW = parse_instant("2026-01-31T12:00:00Z")
SCORE = ServedScore("ana", 0.2, "contact", 26.0, None, None, "high", None, "v1", "champion", "batch", NOW, NOW)
BASE = replace(SCORE, source="fallback", features_as_of=None, degraded_because=("database", "base_rate"))


@pytest.fixture
def stream() -> Iterator[Stream]:
    with small_stream() as opened:
        yield opened


@pytest.fixture
def empty() -> Iterator[Stream]:
    """A stream of which nothing has been folded."""
    with small_stream(folded=False) as opened:
        yield opened


Score = Callable[[Sequence[Ask]], Sequence[ServedScore | TenureError]]


def answers(found: ServedScore | TenureError) -> Score:
    def score(asks: Sequence[Ask]) -> list[ServedScore | TenureError]:
        assert [ask.mode for ask in asks] == ["batch"]
        return [found]

    return score


NO_SCORE, BUSY = answers(NotFoundError("no score")), answers(StateError("busy"))


def read(stream: Stream, customer: str, score: Score = NO_SCORE, later: timedelta = timedelta(0)) -> CustomerFacts:
    rows = OnlineRows(stream.store, lambda: stream.clock() + later)
    return FactsReader(rows.read, score, lambda: SMALL_FEATURES, rows.clock)(customer)


def test_features_are_those_of_now_with_their_ages(stream: Stream) -> None:
    facts = read(stream, "ana", answers(SCORE), timedelta(hours=6))
    assert facts.features == {"pay_count_7d": 2, "pay_amount_sum_28d": 27.5, "pay_days_since_last": 1.25}
    assert type(facts.features["pay_count_7d"]) is int
    assert (facts.as_of, facts.events, facts.score) == (NOW + timedelta(hours=6), "online", SCORE)
    assert (facts.events_age_seconds, facts.attributes_age_seconds) == (21_600.0, None)
    assert facts.newest_event_at == parse_instant("2026-01-30T12:00:00.000001Z")
    assert facts.degraded_because == ()


def test_a_number_that_there_is_not_is_none(stream: Stream) -> None:
    facts = read(stream, "stranger", answers(replace(SCORE, customer_id="stranger")))
    assert facts.features == {"pay_count_7d": 0, "pay_amount_sum_28d": 0.0, "pay_days_since_last": None}
    assert facts.newest_event_at is None


def test_a_batch_row_stands_in_for_states_that_cannot_be_had(empty: Stream) -> None:
    row = {"customer_id": ["ana"], "pay_count_7d": [5], "pay_amount_sum_28d": [None], "pay_days_since_last": [2.0]}
    empty.store.publish(dict(pack_rows(pa.table(row), NOW - timedelta(days=1))))
    facts = read(empty, "ana")
    assert facts.features == {"pay_count_7d": 5, "pay_amount_sum_28d": None, "pay_days_since_last": 2.0}
    assert (facts.events, facts.events_age_seconds, facts.attributes_age_seconds) == ("batch", 86_400.0, None)
    assert (facts.as_of, facts.degraded_because) == (NOW - timedelta(days=1), ("features",))


def test_attributes_are_as_old_as_their_batch(empty: Stream) -> None:
    features = replace(SMALL_FEATURES, attributes=(Attribute("plan", "text"),))
    row = {"customer_id": ["ana"], "pay_count_7d": [5], "pay_amount_sum_28d": [1.0], "pay_days_since_last": [2.0]}
    empty.store.publish(dict(pack_rows(pa.table(row | {"plan": ["basic"]}), NOW - timedelta(days=1))))
    rows = OnlineRows(empty.store, empty.clock)
    facts = FactsReader(rows.read, NO_SCORE, lambda: features, rows.clock)("ana")
    assert facts.features is not None
    assert (facts.features["plan"], facts.attributes_age_seconds) == ("basic", 86_400.0)


def test_nobody_is_called_unknown_whom_somebody_may_know(stream: Stream, empty: Stream) -> None:
    with pytest.raises(NotFoundError, match="'stranger'") as caught:
        read(stream, "stranger")
    assert caught.value.ids["customer_id"] == "stranger"
    for opened, score in ((stream, BUSY), (stream, answers(BASE)), (empty, NO_SCORE)):
        with pytest.raises(StateError, match="cannot be said now"):
            read(opened, "stranger", score)


def test_a_score_that_cannot_be_read_is_missing_by_name(stream: Stream) -> None:
    facts = read(stream, "ana", BUSY)
    assert (facts.score, facts.degraded_because) == (None, ("database",))
    assert facts.features is not None


def test_a_live_score_from_the_cache_is_no_score_of_the_last_batch(stream: Stream) -> None:
    cached = {"ana": live_score("ana", timedelta(hours=3))}
    scorer = Parts(World(NOW, cached=cached, facts={"ana": Fact()}, database_answers=False)).scorer()
    (instead,) = scorer.score([Ask("ana", mode="batch")])
    assert isinstance(instead, ServedScore)
    assert instead.degraded_because == ("database", "expired")
    facts = read(stream, "ana", scorer.score)
    assert (facts.score, facts.degraded_because) == (None, ("database",))


def test_a_score_of_an_older_batch_is_still_one(stream: Stream) -> None:
    old = replace(SCORE, source="stale", degraded_because=("expired",))
    facts = read(stream, "ana", answers(old))
    assert (facts.score, facts.degraded_because) == (old, ())


def test_features_that_cannot_be_read_are_missing_by_name(stream: Stream) -> None:
    def silent(*_: object) -> None:
        """As a guard says that the store does not answer."""

    facts = FactsReader(silent, answers(SCORE), lambda: SMALL_FEATURES, stream.clock)("ana")
    assert (facts.features, facts.as_of, facts.events) == (None, None, "none")
    assert (facts.score, facts.degraded_because) == (SCORE, ("store",))
    with pytest.raises(StateError, match="Nothing can be read of 'ana'"):
        FactsReader(silent, NO_SCORE, lambda: SMALL_FEATURES, stream.clock)("ana")
