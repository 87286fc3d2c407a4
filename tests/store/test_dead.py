from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.errors import StateError
from tenure.core.time import fixed_clock
from tenure.source.log import EventLog
from tenure.source.log_sqlite import SqliteLog, open_sqlite_log
from tenure.source.reading import WHITESPACE
from tenure.store.dead import DeadLetter, bury, counts, customer_of, listed, retry, unretryable

NOW = fixed_clock("2026-02-01T12:00:00Z")
WAITING = DeadLetter("log-1", 0, 0, 10**15, "time in the future", '"2999-01-01"', b'{"customer_id": "ada"}')


def letter(offset: int, payload: bytes | None = None, **more: Any) -> DeadLetter:
    document = json.dumps({"customer_id": f"customer-{offset % 7}", "offset": offset}).encode()
    return replace(WAITING, offset=offset, payload=document if payload is None else payload, **more)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = "sqlite:///tenure.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url, root=tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    log = open_sqlite_log(tmp_path / "log.db", partitions=3)
    yield log
    log.close()


def payloads(log: EventLog) -> list[bytes]:
    """Everything in the log, in no particular order."""
    ends = log.bounds()
    batches = [batch for partition, (first, end) in ends.items() for batch in log.read(partition, first, end)]
    return sorted(payload for batch in batches for payload in batch.payloads)


def test_a_letter_is_kept_as_it_is(engine: Engine) -> None:
    one = letter(2**40, b"\x00\xff\xfe'", partition=1023, appended=2**60, reason="missing id", detail="ö'\n")
    done = letter(8, b"", retried=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    bury(engine, [one, done])
    assert listed(engine, limit=9) == [one]
    assert listed(engine, limit=9, retried=True) == [done]


def test_what_no_database_keeps_is_shown_escaped(engine: Engine) -> None:
    bury(engine, [letter(0, detail="a\0b\ud800")])
    assert [one.detail for one in listed(engine, limit=1)] == ["a\\x00b\\ud800"]


def test_burying_again_changes_nothing(engine: Engine, log: SqliteLog) -> None:
    bury(engine, [letter(0), letter(1), letter(0)])
    bury(engine, [letter(1, reason="other"), letter(2)])
    bury(engine, [])
    assert counts(engine) == {"time in the future": 3}
    retry(engine, log, clock=NOW)
    bury(engine, [letter(0), letter(1), letter(2)])
    assert counts(engine) == {}
    assert len(listed(engine, limit=9, retried=True)) == 3


def test_the_same_offset_elsewhere_is_another_letter(engine: Engine) -> None:
    bury(engine, [letter(0), letter(0, partition=1), letter(0, log="log-2")])
    assert counts(engine) == {"time in the future": 3}


def test_letters_are_listed_by_reason_and_the_latest_first(engine: Engine) -> None:
    bury(engine, [letter(offset, reason="missing id" if offset % 2 else "missing time") for offset in range(9)])
    assert [one.offset for one in listed(engine, limit=3)] == [8, 7, 6]
    assert [one.offset for one in listed(engine, reason="missing id", limit=9)] == [7, 5, 3, 1]
    assert listed(engine, reason="unheard", limit=9) == []
    assert list(counts(engine).items()) == [("missing time", 5), ("missing id", 4)]


# Retrying.


def test_letters_go_back_to_the_log_as_they_were(engine: Engine, log: SqliteLog) -> None:
    odd = b'{"customer_id": "\xc3\xb6", "minutes": 1e999, "tags": [1]}'
    bury(engine, [letter(3, odd), letter(1), letter(2, reason="missing id")])
    assert retry(engine, log, clock=NOW) == 3
    assert payloads(log) == sorted([odd, letter(1).payload, letter(2).payload])
    assert {one.retried for one in listed(engine, limit=9, retried=True)} == {NOW()}
    assert retry(engine, log, clock=NOW) == 0
    assert len(payloads(log)) == 3


def test_each_goes_to_the_partition_of_its_customer_in_its_order(engine: Engine, log: SqliteLog) -> None:
    bury(engine, [letter(offset) for offset in range(50)])
    retry(engine, log)
    expected = open_sqlite_log(log.path.with_name("other.db"), partitions=3)
    expected.append([(f"customer-{offset % 7}", letter(offset).payload) for offset in range(50)])
    for partition in range(3):
        ours, theirs = ([b.payloads for b in one.read(partition, 0, 99)] for one in (log, expected))
        assert ours == theirs
    expected.close()


def test_only_those_of_a_reason_are_retried(engine: Engine, log: SqliteLog) -> None:
    bury(engine, [letter(0, reason="missing id"), letter(1)])
    assert retry(engine, log, reason="missing id", clock=NOW) == 1
    assert payloads(log) == [letter(0).payload]
    assert counts(engine) == {"time in the future": 1}


def test_a_letter_whose_customer_cannot_be_read_is_kept_and_counted(engine: Engine, log: SqliteLog) -> None:
    broken = [
        b"\xff\xfe",
        b"{",
        b"",
        b"[]",
        b'{"customer_id": 7}',
        b'{"customer_id": " "}',
        b'{"customer_id": "\\ud800"}',
    ]
    bury(engine, [letter(offset, payload) for offset, payload in enumerate(broken)] + [letter(100)])
    assert retry(engine, log, clock=NOW) == 1
    assert payloads(log) == [letter(100).payload]
    assert {one.payload for one in listed(engine, limit=99)} == set(broken)
    assert unretryable(engine) == len(broken)
    assert unretryable(engine, reason="missing id") == 0


def test_thousands_are_retried_once_each(engine: Engine, log: SqliteLog) -> None:
    letters = [letter(offset, b"{" if offset % 5 == 0 else None) for offset in range(3_500)]
    bury(engine, letters)
    assert retry(engine, log, clock=NOW) == 2_800
    assert payloads(log) == sorted(one.payload for one in letters if one.payload != b"{")


class FailingLog:
    """A log that fails at its n-th append, before or after it has taken the records."""

    def __init__(self, log: SqliteLog, at: int, *, taken: bool) -> None:
        self._log, self._left, self._taken = log, at, taken

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        self._left -= 1
        if self._left:
            return self._log.append(records)
        if self._taken:
            self._log.append(records)
        raise StateError("The log went away.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.mark.parametrize("taken", [False, True])
def test_a_failure_in_between_repeats_letters_and_loses_none(engine: Engine, log: SqliteLog, taken: bool) -> None:
    letters = [letter(offset) for offset in range(2_500)]
    bury(engine, letters)
    failing: Any = FailingLog(log, at=2, taken=taken)
    with pytest.raises(StateError, match="went away"):
        retry(engine, failing, clock=NOW)
    assert counts(engine) == {"time in the future": 1_500}
    assert retry(engine, log, clock=NOW) == 1_500
    assert set(payloads(log)) == {one.payload for one in letters}
    assert len(payloads(log)) == (3_500 if taken else 2_500)


def test_what_is_buried_meanwhile_waits_for_the_next_time(log: SqliteLog, tmp_path: Path) -> None:
    engine, other = (open_database("sqlite:///tenure.db", root=tmp_path) for _ in range(2))
    bury(engine, [letter(offset) for offset in range(1_001)])
    steps = itertools.count()

    def consume(*_connection: Any) -> None:
        """Between two transactions of `retry`, a consumer buries what was retried and still is no event."""
        step = next(steps)
        if step > 0:
            bury(other, [letter(9_000 + step)])

    sa.event.listen(engine, "checkout", consume)
    assert retry(engine, log, clock=NOW) == 1_001
    sa.event.remove(engine, "checkout", consume)
    assert sorted(one.offset for one in listed(engine, limit=9)) == [9_001, 9_002, 9_003]
    engine.dispose()
    other.dispose()


def test_who_retry_at_once_append_each_letter_once(engine: Engine, log: SqliteLog) -> None:
    letters = [letter(offset) for offset in range(2_200)]
    bury(engine, letters)
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(retry, engine, log, clock=NOW) for _ in range(3)]
        assert sum(one.result() for one in done) == len(letters)
    assert payloads(log) == sorted(one.payload for one in letters)


@given(st.binary(max_size=40))
def test_any_bytes_have_a_customer_or_none(payload: bytes) -> None:
    customer = customer_of(payload)
    assert customer is None or customer.encode()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_a_customer_that_is_written_is_read(name: str) -> None:
    found = customer_of(json.dumps({"customer_id": name}).encode())
    assert found == (name if name.strip(WHITESPACE) else None)


def test_a_customer_given_twice_is_none() -> None:
    assert customer_of(b'{"customer_id": "a", "customer_id": "b"}') is None


def test_a_database_that_is_away_is_a_clear_error(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE dead_letters")
    with pytest.raises(StateError, match="database cannot be read or written now: no such table"):
        bury(engine, [WAITING])
    engine.dispose()
