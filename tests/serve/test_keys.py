"""Keys are hashes at rest, take the same steps whoever asks, and stay closed once they were closed."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.errors import InputError, NotFoundError, StateError
from tenure.core.time import fixed_clock
from tenure.serve.keys import KeyRing, StoredKey, create_key, list_keys, load_keys, revoke_key

CLOCK = fixed_clock("2026-01-31T12:00:00.000001Z")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/tenure.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    yield opened
    opened.dispose()


def ring_of(engine: Engine) -> KeyRing:
    return KeyRing(lambda: load_keys(engine))


def test_a_key_is_found_by_its_token_and_by_nothing_else(engine: Engine) -> None:
    key, token = create_key(engine, "crm", ["score", "events", "score"], 5, CLOCK)
    other, other_token = create_key(engine, "crm", ["admin"], clock=CLOCK)
    ring = ring_of(engine)
    assert ring.find(token) == key
    assert ring.find(other_token) == other
    assert (key.roles, key.rate, key.revoked_at) == (frozenset({"score", "events"}), 5, None)
    mixed = token[:20] + other_token[20:]
    for wrong in (mixed, token[:-1], token + "A", token.upper(), f" {token}", key.id, "", None, "tenure_", "ü" * 70):
        assert ring.find(wrong) is None


def test_keys_are_listed_as_they_were_made(engine: Engine) -> None:
    days = [fixed_clock(f"2026-01-0{day}") for day in (1, 2, 3)]
    made = [create_key(engine, "crm", ["score"], None if i else 2.5, clock) for i, clock in enumerate(days)]
    assert list_keys(engine) == tuple(key for key, _ in made)


def test_a_revoked_key_is_refused_and_keeps_its_time(engine: Engine) -> None:
    key, token = create_key(engine, "crm", ["score"], clock=CLOCK)
    ring = ring_of(engine)
    revoked = revoke_key(engine, key.id, CLOCK)
    assert ring.find(token) == key  # until it looks again
    ring.refresh()
    assert ring.find(token) is None
    assert revoked.revoked_at == CLOCK()
    assert revoke_key(engine, key.id).revoked_at == CLOCK()
    assert list_keys(engine) == (revoked,)
    with pytest.raises(NotFoundError, match=f"Did you mean '{key.id}'"):
        revoke_key(engine, key.id[:-1])


@pytest.mark.parametrize(
    ("name", "roles", "rate"),
    [
        ("crm", [], None),
        ("crm", ["scores"], None),
        ("crm", ["score"], 0.0),
        ("crm", ["score"], -1.0),
        ("crm", ["score"], float("nan")),
        ("crm", ["score"], float("inf")),
        ("", ["score"], None),
        (" ", ["score"], None),
        ("a\nb", ["score"], None),
        ("x" * 101, ["score"], None),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(name: str, roles: list[Any], rate: float | None) -> None:
    engine = open_database("sqlite://")
    with pytest.raises(InputError):
        create_key(engine, name, roles, rate)
    assert list_keys(engine) == ()


def test_the_secret_is_at_rest_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
        try:
            engine = open_database(f"sqlite:///{tmp_path}/tenure.db")
            _, token = create_key(engine, "crm", ["score"])
            assert ring_of(engine).find(token)
            held = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # with the write-ahead log
            engine.dispose()
            held += b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
        finally:
            logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    secret = token[20:]
    assert hashlib.sha256(token.encode()).hexdigest().encode() in held
    assert "INSERT INTO api_keys" in caplog.text
    for text in (token, secret, secret[:20]):
        assert text.encode() not in held
        assert text not in caplog.text


def test_every_token_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_database("sqlite://")
    key, token = create_key(engine, "crm", ["score"])
    old, old_token = create_key(engine, "crm", ["score"])
    revoke_key(engine, old.id)
    ring = ring_of(engine)
    steps: list[tuple[str, int, int]] = []

    def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: bytes) -> Any:
            steps.append((name, len(arguments[0]), len(arguments[-1])))
            return work(*arguments)

        return call

    monkeypatch.setattr(hashlib, "sha256", noted("hash", hashlib.sha256))
    monkeypatch.setattr(hmac, "compare_digest", noted("compare", hmac.compare_digest))
    never = f"tenure_{'0' * 12}_{token[20:]}"
    wrong = token[:20] + old_token[20:]
    for shown in (token, wrong, old_token, never, "x" * 63):
        steps.clear()
        assert (ring.find(shown) == key) == (shown == token)
        assert steps == [("hash", 63, 63), ("compare", 32, 32)]


@given(st.text() | st.none())
def test_no_text_is_a_key_by_chance(text: str | None) -> None:
    stored = StoredKey(KEY, hashlib.sha256(TOKEN.encode()).digest())
    ring = KeyRing(lambda: [stored])
    assert ring.find(text) is None
    assert ring.find(f"tenure_{KEY.id}_{text}") is None


KEY, TOKEN = create_key(open_database("sqlite://"), "crm", ["score"])


def test_a_service_is_open_until_the_first_key_was_made() -> None:
    stored: list[StoredKey] = []
    ring = KeyRing(lambda: list(stored))
    told = [ring.is_open]
    stored.append(StoredKey(KEY, hashlib.sha256(TOKEN.encode()).digest()))
    told.append(ring.is_open)  # it has not looked yet
    ring.refresh()
    told.append(ring.is_open)
    stored.clear()  # somebody emptied the table, or put an empty database in its place
    ring.refresh()
    told.append(ring.is_open)
    assert told == [True, True, False, False]
    assert ring.find(TOKEN) is None


def test_a_revoked_key_does_not_open_the_service() -> None:
    engine = open_database("sqlite://")
    key, _ = create_key(engine, "crm", ["score"])
    revoke_key(engine, key.id)
    assert not ring_of(engine).is_open


def test_keys_stay_known_while_they_cannot_be_read() -> None:
    engine = open_database("sqlite://")
    key, token = create_key(engine, "crm", ["score"])
    fails = False

    def load() -> tuple[StoredKey, ...]:
        if fails:
            raise StateError("The database is locked.")
        return load_keys(engine)

    ring = KeyRing(load)
    fails = True
    with pytest.raises(StateError):
        ring.refresh()
    assert ring.find(token) == key


def test_admin_may_everything_and_others_what_they_were_given() -> None:
    engine = open_database("sqlite://")
    score, _ = create_key(engine, "crm", ["score"])
    admin, _ = create_key(engine, "ops", ["admin"])
    assert score.may(None)
    assert score.may(frozenset({"score", "admin"}))
    assert not score.may(frozenset({"events"}))
    assert not score.may(frozenset())
    assert admin.may(frozenset({"events"}))
