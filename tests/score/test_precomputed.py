"""Precomputed scores are remembered as long as their batch is the newest, and no longer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from tenure.core.database import open_database
from tenure.core.time import fixed_clock, parse_instant
from tenure.score import precomputed as module
from tenure.score.batch import score_batch
from tenure.score.precomputed import Precomputed
from tenure.score.protocol import MISSING
from tenure.score.table import StoredScore, publish_scores, read_scores
from tests.score.world import RANGED, batch_of, customers, write

ANA, BO, CY, NOBODY = "customer-000001", "customer-000002", "customer-000003", "nobody"


def publish(engine: Engine, folder: Path, as_of: str, hour: int = 12) -> None:
    folder.mkdir(exist_ok=True)
    batch = batch_of(write(customers(50), folder), RANGED, as_of=parse_instant(as_of))
    summary = score_batch(batch, folder, clock=fixed_clock(f"2026-03-01T{hour}:00:00"))
    publish_scores(engine, summary.folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tenure.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str, tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(url)
    publish(opened, tmp_path / "results", "2026-01-31")
    yield opened
    opened.dispose()


@pytest.fixture
def reading(engine: Engine, url: str) -> Iterator[Engine]:  # noqa: ARG001 - makes the database
    opened = open_database(url, reading=True)
    yield opened
    opened.dispose()


def score_of(found: object) -> StoredScore:
    assert isinstance(found, StoredScore)
    return found


def test_what_was_read_is_remembered_with_who_has_none(reading: Engine) -> None:
    precomputed = Precomputed(reading, 100)
    assert precomputed.peek(ANA) is None
    found = precomputed.read([ANA, NOBODY])
    assert found == read_scores(reading, [ANA])
    assert precomputed.peek(ANA) is found[ANA]
    assert precomputed.peek(NOBODY) is MISSING
    assert precomputed.peek(BO) is None


def test_another_batch_is_noticed_at_a_refresh(engine: Engine, reading: Engine, tmp_path: Path) -> None:
    precomputed = Precomputed(reading, 100)
    precomputed.refresh()
    before = precomputed.read([ANA])[ANA]
    precomputed.refresh()
    assert precomputed.peek(ANA) is before
    publish(engine, tmp_path / "results", "2026-02-28")
    assert precomputed.peek(ANA) is before
    precomputed.refresh()
    assert precomputed.peek(ANA) is None
    after = precomputed.read([ANA])[ANA]
    assert after.features_as_of > before.features_as_of
    publish(engine, tmp_path / "results", "2026-01-15")  # a batch of the past
    precomputed.refresh()
    assert precomputed.peek(ANA) is after
    publish(engine, tmp_path / "again", "2026-02-28", hour=13)  # the same instant once more
    precomputed.refresh()
    assert score_of(precomputed.read([ANA])[ANA]).computed_at > after.computed_at


def test_it_remembers_so_many_and_no_more(reading: Engine) -> None:
    precomputed = Precomputed(reading, 2)
    precomputed.read([ANA])
    precomputed.read([BO, CY])
    assert precomputed.peek(ANA) is None
    assert [score_of(precomputed.peek(customer)).customer_id for customer in (BO, CY)] == [BO, CY]


def test_ids_that_somebody_makes_up_drive_nobody_out_who_has_a_score(reading: Engine) -> None:
    precomputed = Precomputed(reading, 8)
    precomputed.read([ANA, BO])
    made_up = [f"nobody-{number}" for number in range(100)]
    for customer in made_up:
        precomputed.read([customer])
    assert [score_of(precomputed.peek(customer)).customer_id for customer in (ANA, BO)] == [ANA, BO]
    assert [customer for customer in made_up if precomputed.peek(customer) is MISSING] == made_up[-2:]


def test_who_gets_a_score_is_not_missing_any_more(reading: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    precomputed = Precomputed(reading, 8)
    with monkeypatch.context() as patched:
        patched.setattr(module, "read_scores", lambda *_: {})
        precomputed.read([ANA])
    assert precomputed.peek(ANA) is MISSING
    precomputed.read([ANA])
    assert score_of(precomputed.peek(ANA)).customer_id == ANA
    monkeypatch.setattr(module, "read_scores", lambda *_: {})
    precomputed.read([ANA])
    assert precomputed.peek(ANA) is MISSING


def test_a_reading_that_was_overtaken_by_another_batch_is_not_remembered(
    engine: Engine, reading: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precomputed = Precomputed(reading, 100)
    precomputed.refresh()
    has_read, may_go_on = threading.Event(), threading.Event()

    def slowly(*given: Any) -> dict[str, StoredScore]:
        found = read_scores(*given)
        has_read.set()
        assert may_go_on.wait(30)
        return found

    monkeypatch.setattr(module, "read_scores", slowly)
    answers: list[dict[str, StoredScore]] = []
    thread = threading.Thread(target=lambda: answers.append(precomputed.read([ANA, NOBODY])))
    thread.start()
    assert has_read.wait(30)
    publish(engine, tmp_path / "results", "2026-02-28")
    precomputed.refresh()
    may_go_on.set()
    thread.join()
    assert list(answers[0]) == [ANA]
    assert [precomputed.peek(customer) for customer in (ANA, NOBODY)] == [None, None]


def test_a_silent_database_leaves_what_is_remembered(reading: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    precomputed = Precomputed(reading, 100)
    precomputed.refresh()
    found = precomputed.read([ANA])

    def locked() -> None:
        raise SQLAlchemyError("locked")

    monkeypatch.setattr(reading, "begin", locked)
    for ask in (precomputed.refresh, lambda: precomputed.read([BO])):
        with pytest.raises(SQLAlchemyError):
            ask()
    assert precomputed.peek(ANA) is found[ANA]


def test_before_the_first_batch_nobody_has_a_score(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    precomputed = Precomputed(engine, 100)
    precomputed.refresh()
    asked: Sequence[str] = [ANA]
    assert precomputed.read(asked) == {}
    assert precomputed.peek(ANA) is MISSING
    publish(engine, tmp_path / "results", "2026-01-31")
    precomputed.refresh()
    assert precomputed.peek(ANA) is None
    engine.dispose()
