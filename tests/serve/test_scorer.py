"""Hybrid scoring on real parts: a trained version, published scores and states of streams in SQLite; and outages."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.app.scorer import open_scorer
from tenure.core.errors import NotFoundError
from tenure.score.hybrid import HybridScorer
from tenure.score.served import Ask, ServedScore
from tenure.score.table import read_scores
from tests.redis_server import RedisServer, running
from tests.serve.project import AS_OF, SCORED, SILENT, STRANGER, Shop

LATER = AS_OF + timedelta(days=1)
DECIDED = ("probability", "decision", "expected_profit", "expected_profit_low", "expected_profit_high", "band")


@contextmanager
def scorer_of(shop: Shop, **settings: object) -> Iterator[HybridScorer]:
    chosen: dict[tuple[str, ...], object] = {
        ("serve", name): value for name, value in {"budget_seconds": 5.0, **settings}.items()
    }
    with open_scorer(shop.place(chosen), as_of=lambda: LATER) as opened:
        yield opened.scorer


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can even read, as while a file is being copied back by hand."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as owner:
        owner.execute("PRAGMA locking_mode=EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        yield
        owner.execute("ROLLBACK")


def only(scorer: HybridScorer, ask: Ask) -> ServedScore:
    [found] = scorer.score([ask])
    assert isinstance(found, ServedScore), found
    return found


def test_every_source_answers_in_its_turn(shop: Shop) -> None:
    with scorer_of(shop) as scorer:
        scorer.refresh()
        assert scorer.peek(Ask(SCORED)) is None
        batch, live, nobody = scorer.score([Ask(SCORED), Ask(SILENT), Ask(STRANGER)])
        assert isinstance(batch, ServedScore)
        assert (batch.source, batch.features_as_of, batch.model_version, batch.alias) == (
            "batch", AS_OF, "v1", "champion",
        )  # fmt: skip
        assert isinstance(live, ServedScore)
        assert (live.source, live.features_as_of, live.degraded_because) == ("realtime", LATER, ())
        assert isinstance(nobody, NotFoundError)
        assert scorer.peek(Ask(SCORED)) == batch
        cached = scorer.peek(Ask(SILENT))
        assert cached == replace(live, source="cache")
        assert scorer.peek(Ask(STRANGER)) is None
        explained = only(scorer, Ask(SILENT, explain=True))
        assert explained.source == "realtime"
        assert explained.probability == live.probability
        assert explained.reasons
        assert scorer.peek(Ask(SILENT, explain=True)) == replace(explained, source="cache")
        asked_live = only(scorer, Ask(SCORED, "realtime"))
        assert (asked_live.source, asked_live.features_as_of) == ("realtime", LATER)
        assert isinstance(scorer.score([Ask(SILENT, "batch")])[0], NotFoundError)
        assert set(scorer.states().values()) == {"closed"}


def test_a_replay_of_the_past_shares_no_score_with_the_present(shop: Shop, tmp_path: Path) -> None:
    ask = Ask(SILENT, "realtime")
    with ExitStack() as stack:
        redis = stack.enter_context(running(RedisServer(tmp_path)))
        place = shop.place({("serve", "cache"): redis.url, ("serve", "budget_seconds"): 5.0})
        present, past = (stack.enter_context(open_scorer(place, as_of=clock)) for clock in (None, lambda: LATER))
        replayed, lived = only(past.scorer, ask), only(present.scorer, ask)
        assert replayed.features_as_of != lived.features_as_of
        for scorer, own in ((present.scorer, lived), (past.scorer, replayed)):
            kept = only(scorer, Ask(SILENT))
            assert (kept.source, kept.features_as_of) == ("cache", own.features_as_of)


def test_an_event_makes_a_kept_score_old(shop: Shop) -> None:
    with scorer_of(shop, invalidate_on_event=True) as scorer:
        before = only(scorer, Ask(SCORED))
        assert before.source == "batch"
        only(scorer, Ask(SILENT))
        assert only(scorer, Ask(SILENT)).source == "cache"
        shop.order(SCORED, "2025-10-28T10:00:00Z")
        after = only(scorer, Ask(SCORED))
        assert (after.source, after.degraded_because) == ("realtime", ())
        assert after.probability != before.probability
        assert only(scorer, Ask(SCORED, "batch")) == before
        assert only(scorer, Ask(SILENT)).source == "cache"


def test_an_event_that_happened_before_a_live_score_makes_it_old(shop: Shop) -> None:
    with scorer_of(shop, invalidate_on_event=True) as scorer:
        before = only(scorer, Ask(SILENT))
        assert before.features_as_of == LATER
        assert only(scorer, Ask(SILENT)).source == "cache"
        shop.order(SILENT, "2025-10-28T23:59:59Z")  # a second before the score, and folded after it
        after = only(scorer, Ask(SILENT))
        assert (after.source, after.degraded_because) == ("realtime", ())
        assert after.probability != before.probability
        assert only(scorer, Ask(SILENT)) == replace(after, source="cache")


def test_a_precomputed_score_is_decided_by_the_settings_of_today(shop: Shop) -> None:
    place = shop.place()
    stored = read_scores(place.database(), [SCORED])[SCORED]
    with scorer_of(shop) as scorer:
        same = only(scorer, Ask(SCORED, "batch"))
        assert [getattr(same, name) for name in DECIDED] == [getattr(stored, name) for name in DECIDED]
        assert scorer.peek(Ask(SCORED)) == same
    cost = place.settings.value.contact_cost + (stored.expected_profit or 0.0) + 1.0
    with open_scorer(shop.place({("value", "contact_cost"): cost}), as_of=lambda: LATER) as opened:
        again = only(opened.scorer, Ask(SCORED))
        assert (again.source, again.probability, again.decision) == ("batch", stored.probability, "no_contact")
        assert again.expected_profit == pytest.approx(-1.0)
        assert opened.scorer.peek(Ask(SCORED)) == again


def test_features_that_are_sent_are_scored_as_they_are(shop: Shop) -> None:
    with scorer_of(shop) as scorer:
        features = dict.fromkeys(scorer.model.features.names, 1.0)
        given = only(scorer, Ask(None, features=features))
        assert (given.source, given.features_as_of, given.degraded_because) == ("realtime", None, ())
        [refused] = scorer.score([Ask(None, features={**features, "order_count_13d": 1.0})])
        assert "order_count_13d" in str(refused)


def test_the_database_is_locked(shop: Shop) -> None:
    chosen: dict[tuple[str, ...], object] = {("serve", "budget_seconds"): 0.2}
    with open_scorer(shop.place(chosen), as_of=lambda: LATER) as opened:
        scorer = opened.scorer
        remembered = only(scorer, Ask(SCORED))
        opened.database.dispose()  # who has the file open would not be locked out
        with locked(shop.folder / ".tenure" / "tenure.db"):
            assert scorer.peek(Ask(SCORED)) == remembered
            live, batch = scorer.score([Ask("c102"), Ask("c104", "batch")])
            assert isinstance(live, ServedScore)
            assert (live.source, live.degraded_because) == ("realtime", ("database",))
            assert isinstance(batch, ServedScore)
            assert batch.degraded_because == ("database", "base_rate")
            [stranger] = scorer.score([Ask(STRANGER)])
            assert isinstance(stranger, ServedScore)
            assert stranger.degraded_because == ("database", "base_rate")


def test_the_online_store_was_emptied(shop: Shop) -> None:
    with scorer_of(shop, batch_ttl="1s") as scorer:
        time.sleep(1)  # so that the precomputed scores are too old, however quickly all was built
        assert only(scorer, Ask(SCORED)).source == "realtime"
        with closing(sqlite3.connect(shop.folder / ".tenure" / "online.db")) as somebody:
            for [name] in somebody.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                somebody.execute(f'DROP TABLE "{name}"')
        found = scorer.score([Ask(SCORED, "realtime"), Ask("c102", "realtime"), Ask(STRANGER, "realtime")])
        assert [(score.source, score.degraded_because) for score in found if isinstance(score, ServedScore)] == [
            ("stale", ("store",)),
            ("stale", ("store", "expired")),
            ("fallback", ("store", "base_rate")),
        ]
