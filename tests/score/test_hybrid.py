"""Hybrid scoring answers what the oracle says, asks nobody more often than it has to, and tells what it finds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.core.errors import InputError, NotFoundError, TenureError, UnavailableError
from tenure.core.guard import State
from tenure.score.hybrid import HybridScorer
from tenure.score.observe import Where
from tenure.score.served import Ask, ServedScore
from tenure.serve.logs import JsonLines
from tenure.store.hybrid import HybridRows
from tests.oracle.hybrid import Answer, Fact, World, answer, put_aside
from tests.score.hybrid_world import FOLDED, NOW, Parts, asks, live_score, stored_score, worlds

HOUR = timedelta(hours=1)
EVERYTHING_DOWN = World(
    NOW, facts={"ana": Fact()}, database_answers=False, cache_answers=False, store_answers=False, model="down"
)


def shown(found: ServedScore | TenureError) -> Answer:
    return found if isinstance(found, ServedScore) else type(found)


def only(scorer: HybridScorer, ask: Ask) -> ServedScore:
    [found] = scorer.score([ask])
    assert isinstance(found, ServedScore), found
    return found


@settings(max_examples=250)
@given(worlds(), st.lists(asks, min_size=1, max_size=4), st.booleans())
@example(EVERYTHING_DOWN, [Ask("ana"), Ask("bo", "realtime", True), Ask("cy", "batch")], False)
def test_every_answer_is_the_oracles(world: World, asked: Sequence[Ask], local_cache: bool) -> None:
    if local_cache:
        world = replace(world, cache_answers=True)
    parts = Parts(world, local_cache)
    scorer = parts.scorer()
    peeked = [scorer.peek(ask) for ask in asked]
    parts.calls.clear()
    expected = [answer(world, ask) for ask in asked]
    assert [shown(found) for found in scorer.score(asked)] == expected
    assert [found or right for found, right in zip(peeked, expected, strict=True)] == expected
    assert parts.cache.kept == put_aside(world, asked)
    assert parts.calls["store"] <= 1
    assert max(parts.calls["database"], parts.calls["cache"]) <= 2  # a second time to rescue what was asked for live
    assert parts.calls["put"] <= 1


@settings(max_examples=250)
@given(worlds(), asks, st.booleans())
def test_what_memory_has_is_answered_from_memory(world: World, ask: Ask, local_cache: bool) -> None:
    parts = Parts(replace(world, cache_answers=True), local_cache)
    found = parts.scorer().peek(ask)
    assert set(parts.calls) <= ({"cache"} if local_cache else set())
    checks_events = world.invalidate and world.facts is not None
    is_lookup = ask.customer_id in world.remembered and ask.features is None and ask.mode != "realtime"
    by_answer = answer(parts.world, ask)
    if is_lookup and isinstance(by_answer, ServedScore) and by_answer.source == "batch":
        assert (found is not None) == (not checks_events or ask.mode == "batch")


@given(worlds(), st.lists(asks, min_size=2, max_size=6))
def test_nobody_is_answered_otherwise_because_of_others(world: World, asked: Sequence[Ask]) -> None:
    alone = [shown(Parts(world).scorer().score([ask])[0]) for ask in asked]
    assert [shown(found) for found in Parts(world).scorer().score(asked)] == alone


def test_a_row_that_breaks_the_model_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts(World(NOW, facts={"ana": Fact(), "bo": Fact(), "cy": Fact()}))
    live = parts.model.score_rows

    def stumbles(rows: HybridRows, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore]:
        if "bo" in [rows.customer_id[place] for place in places]:
            raise ZeroDivisionError(f"bo has an income of {12_345}")
        return live(rows, places, explain)

    parts.model.score_rows = stumbles  # type: ignore[method-assign]
    ana, bo, cy = parts.scorer().score([Ask("ana"), Ask("bo"), Ask("cy")])
    assert [shown(found) for found in (ana, cy)] == [answer(parts.world, Ask(one)) for one in ("ana", "cy")]
    assert isinstance(bo, ServedScore)
    assert bo.degraded_because == ("model", "base_rate")
    assert "ZeroDivisionError" in caplog.text
    assert "in stumbles" in caplog.text
    assert "12345" not in caplog.text
    (record,) = caplog.records
    line = json.loads(JsonLines(None).format(record))
    assert (line["message"], line["error"]) == ("A live score failed.", "ZeroDivisionError")
    assert line["where"][-1].endswith(" stumbles")
    assert "12345" not in str(line)


def test_an_ask_that_is_forgotten_costs_the_others_nothing() -> None:
    parts = Parts(World(NOW, facts={"ana": Fact(), "bo": Fact(events="none")}))
    parts.model.base = lambda _customer, _causes: None  # type: ignore[method-assign, assignment, return-value]
    ana, bo = parts.scorer().score([Ask("ana"), Ask("bo")])
    assert shown(ana) == answer(parts.world, Ask("ana"))
    assert isinstance(bo, UnavailableError)
    assert "'bo'" in bo.message


@pytest.mark.parametrize("customer", ["", "a\0b", "\ud800", "é\udfff"])
def test_an_id_that_no_store_can_hold_is_refused_alone(customer: str) -> None:
    parts = Parts(World(NOW, facts={"ana": Fact()}))
    refused, fine = parts.scorer().score([Ask(customer), Ask("ana")])
    assert isinstance(refused, InputError)
    assert refused.ids["field"] == "customer_id"
    assert isinstance(fine, ServedScore)


def test_an_unknown_customer_and_a_missing_batch_score_are_told_apart() -> None:
    parts = Parts(World(NOW, facts={"ana": Fact()}))
    nobody, unscored = parts.scorer().score([Ask("nobody"), Ask("ana", "batch")])
    assert isinstance(nobody, NotFoundError)
    assert "neither a score, nor an event" in nobody.message
    assert isinstance(unscored, NotFoundError)
    assert "no precomputed score" in unscored.message


def test_an_event_that_is_folded_late_makes_a_live_score_old() -> None:
    """It happened before the score was worked out, and the score does not know of it."""
    parts = Parts(World(NOW, facts={"ana": Fact()}, invalidate=True))
    scorer = parts.scorer()
    assert [only(scorer, Ask("ana")).source for _ in range(2)] == ["realtime", "cache"]
    parts.world = replace(parts.world, facts={"ana": Fact(newest=NOW - timedelta(seconds=1))})
    assert [only(scorer, Ask("ana")).source for _ in range(2)] == ["realtime", "cache"]


def test_another_version_serves_after_a_switch() -> None:
    world = World(
        NOW,
        precomputed={"ana": stored_score("ana", HOUR, "v1")},
        remembered=frozenset({"ana", "bo"}),
        cached={"bo": live_score("bo", 0.5 * HOUR, "v1")},
        facts={"bo": Fact()},
        version="v1",
    )
    parts = Parts(world, local_cache=True)
    scorer = parts.scorer()
    before = [scorer.peek(Ask(customer)) for customer in ("ana", "bo")]
    assert [found and (found.source, found.alias) for found in before] == [
        ("batch", "champion"),
        ("cache", "champion"),
    ]
    later = Parts(replace(world, version="v2"))
    scorer.switch(later.model)
    assert scorer.model is later.model
    ana, bo = scorer.peek(Ask("ana")), scorer.peek(Ask("bo"))
    assert ana is not None
    assert (ana.source, ana.model_version, ana.alias) == ("batch", "v1", None)
    assert bo is None
    assert only(scorer, Ask("bo")).model_version == "v2"


def test_versions_and_worths_have_scores_of_their_own_in_a_cache() -> None:
    world = World(NOW, facts={"ana": Fact()})
    parts = Parts(world)
    keys: set[str] = set()
    parts.cache.put = keys.update  # type: ignore[method-assign, assignment]
    for fingerprint, clv in (("0f", 600.0), ("1f", 600.0), ("0f", 700.0)):
        model = Parts(world).model
        model.fingerprint, model.value = fingerprint, model.value.model_copy(update={"clv": clv})
        scorer = parts.scorer()
        scorer.switch(model)
        only(scorer, Ask("ana", "realtime"))
    assert len(keys) == 3
    assert all(key.endswith(":ana") for key in keys)


def test_what_stops_answering_is_left_alone_and_used_again() -> None:
    parts = Parts(World(NOW, facts={"ana": Fact()}, store_answers=False))
    scorer = parts.scorer()
    for _ in range(5):
        found = only(scorer, Ask("ana", "realtime"))
        assert found.degraded_because == ("store", "base_rate")
    assert parts.calls["store"] == 3
    assert scorer.states() == {"database": "closed", "store": "open", "cache": "closed", "fake": "closed"}
    parts.world = replace(parts.world, store_answers=True)
    while scorer.states()["store"] != "closed":
        time.sleep(0.02)
        scorer.probe()
    assert only(scorer, Ask("ana", "realtime")).degraded_because == ()


def test_a_dependency_that_refuses_us_is_silent() -> None:
    parts = Parts(World(NOW, precomputed={"ana": stored_score("ana", HOUR)}, facts={"ana": Fact()}))

    def refuses(_customers: Sequence[str]) -> dict[str, object]:
        raise InputError("wrong password")

    parts.precomputed.read = refuses  # type: ignore[method-assign, assignment]
    scorer = parts.scorer()
    assert [only(scorer, Ask("ana")).degraded_because for _ in range(3)] == [("database",)] * 3
    assert scorer.states()["database"] == "open"


def test_what_hangs_is_waited_for_once_in_a_round() -> None:
    parts = Parts(World(NOW, facts={"ana": Fact(), "bo": Fact()}))
    release = threading.Event()

    def hangs(_keys: Sequence[str]) -> dict[str, ServedScore]:
        parts.calls["cache"] += 1
        release.wait()
        return {}

    parts.cache.get = hangs  # type: ignore[method-assign, assignment]
    scorer = parts.scorer(budget_seconds=0.05)
    try:
        found = scorer.score([Ask("ana"), Ask("bo")])
    finally:
        release.set()
    assert [score.degraded_because for score in found if isinstance(score, ServedScore)] == [("cache",)] * 2
    assert (parts.calls["cache"], parts.calls["put"]) == (1, 0)


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []
        self.turns: list[tuple[str, State]] = []
        self.ages: list[tuple[str, list[float]]] = []

    def looked_up(self, where: Where, found: int, missed: int) -> None:
        self.heard.append((where, found, missed))

    def fresh(self, seconds: Sequence[float]) -> None:
        self.ages.append((threading.current_thread().name, list(seconds)))

    def turned(self, name: str, state: State) -> None:
        self.turns.append((name, state))


def test_what_is_found_and_who_stops_answering_is_told() -> None:
    world = World(
        NOW,
        precomputed={one: stored_score(one, HOUR) for one in ("ana", "bo")},
        remembered=frozenset({"ana"}),
        facts={"cy": Fact()},
    )
    parts, listener = Parts(world), Listener()
    scorer = HybridScorer(
        parts.model, parts.precomputed, parts.cache, parts.rows, parts.scorer()._settings,
        clock=lambda: NOW, observer=listener,
    )  # fmt: skip
    for customer in ("ana", "ana", "bo", "cy"):
        scorer.peek(Ask(customer))
    scorer.peek(Ask("ana", "realtime"))
    assert listener.heard == []
    scorer.score([Ask("ana"), Ask("bo"), Ask("cy")])
    assert listener.heard == [("database", 1, 1), ("cache", 0, 1)]
    assert listener.ages == [(threading.current_thread().name, [FOLDED.total_seconds()])]
    scorer.refresh()
    scorer.refresh()
    assert listener.heard[2:] == [("memory", 2, 2)]
    parts.world = replace(world, database_answers=False)
    for _ in range(3):
        scorer.refresh()
    assert listener.turns == [("database", "open")]
