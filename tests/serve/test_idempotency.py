"""Keys that callers choose: claimed once, answered the same, taken over from the dead, forgotten after a day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import open_database, transaction
from tenure.core.time import parse_instant
from tenure.serve.idempotency import LEASE, Claim, IdempotencyKeys, KeyReusedError, idempotency

NOW = parse_instant("2026-02-01T12:00:00Z")
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = "sqlite:///tenure.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url, root=tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def at(engine: Engine) -> Callable[[datetime], IdempotencyKeys]:
    """The keys, as they are seen at an instant."""
    return lambda instant: IdempotencyKeys(engine, lambda: instant)


At = Callable[[datetime], IdempotencyKeys]


def claimed(found: Claim | bytes | None) -> Claim:
    assert isinstance(found, Claim)
    return found


def test_one_claims_and_all_get_the_first_answer(at: At) -> None:
    keys = at(NOW)
    claim = claimed(keys.claim("shop", "k", b"1"))
    assert keys.claim("shop", "k", b"1") is None
    assert keys.settle(claim, b"\x00answer")
    assert keys.claim("shop", "k", b"1") == b"\x00answer"
    assert not keys.settle(claim, b"another")
    assert not keys.release(claim)
    assert keys.claim("shop", "k", b"1") == b"\x00answer"


def test_callers_have_keys_of_their_own(at: At) -> None:
    keys = at(NOW)
    assert keys.settle(claimed(keys.claim("shop", "k", b"1")), b"answer")
    for caller, key in (("till", "k"), ("shop", "K"), ("", "k"), ("sho", "pk")):
        claimed(keys.claim(caller, key, b"2"))


@pytest.mark.parametrize("settled", [True, False])
def test_another_body_is_refused(at: At, settled: bool) -> None:
    keys = at(NOW)
    claim = claimed(keys.claim("shop", "k", b"1"))
    if settled:
        keys.settle(claim, b"answer")
    with pytest.raises(KeyReusedError, match="'k' was used for another body") as caught:
        keys.claim("shop", "k", b"2")
    assert caught.value.ids["field"] == "Idempotency-Key"


def test_what_is_given_back_is_as_good_as_new(at: At) -> None:
    keys = at(NOW)
    assert keys.release(claimed(keys.claim("shop", "k", b"1")))
    claimed(keys.claim("shop", "k", b"2"))


def test_the_dead_are_taken_over_when_their_lease_is_over(at: At) -> None:
    dead = claimed(at(NOW).claim("shop", "k", b"1"))
    assert at(NOW + LEASE - MOMENT).claim("shop", "k", b"1") is None
    later = at(NOW + LEASE)
    with pytest.raises(KeyReusedError):
        later.claim("shop", "k", b"2")
    heir = claimed(later.claim("shop", "k", b"1"))
    assert at(NOW + 2 * LEASE - MOMENT).claim("shop", "k", b"1") is None
    assert not later.settle(dead, b"of the dead")
    assert not later.release(dead)
    assert later.settle(heir, b"of the heir")
    assert later.claim("shop", "k", b"1") == b"of the heir"


def test_of_many_at_once_one_claims(engine: Engine, at: At) -> None:
    everybody = Barrier(8)

    def claim(_: int) -> int:
        found = 0
        for key in range(10):
            everybody.wait()
            found += isinstance(at(NOW).claim("shop", f"{key}", b"1"), Claim)
        return found

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 10
    with transaction(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(idempotency)).scalar_one() == 10


def test_keys_older_than_a_day_are_swept_in_bites(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure.serve.idempotency._BITE", 3)
    for number in range(4):
        claimed(at(NOW).claim("shop", f"old {number}", b"1"))
    keys = at(NOW)
    keys.settle(claimed(keys.claim("shop", "answered", b"1")), b"answer")
    claimed(at(NOW + MOMENT).claim("shop", "younger", b"1"))
    assert at(NOW + DAY).sweep() == 0
    later = at(NOW + DAY + MOMENT)
    assert [later.sweep(), later.sweep(), later.sweep()] == [3, 2, 0]
    claimed(later.claim("shop", "answered", b"another body"))
    assert later.claim("shop", "younger", b"1") is not None  # its claimer is long dead
