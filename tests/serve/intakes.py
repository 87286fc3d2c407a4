"""Intakes over real logs and databases, and logs that fail at a chosen moment."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.errors import StateError
from tenure.core.time import Clock, fixed_clock, system_clock
from tenure.serve.idempotency import LEASE, IdempotencyKeys
from tenure.serve.intake import Intake
from tenure.serve.taken import Taken
from tenure.source.event_schema import EventSchema
from tenure.source.log import EventLog
from tenure.source.log_sqlite import SqliteLog, open_sqlite_log

__all__ = ["NOW", "PATIENT", "SCHEMAS", "Wrapped", "again", "digest_of", "held", "opened", "paid", "payloads", "take"]

PATIENT = 60.0  # seconds; a guard against hangs
NOW = fixed_clock("2026-01-31T12:00:00Z")
SCHEMAS = {"pay": EventSchema("pay", values=("amount",), needs_id=True), "visit": EventSchema("visit")}


def paid(number: int, **more: Any) -> dict[str, Any]:
    """A payment that nobody else makes."""
    return {"type": "pay", "customer_id": f"c{number % 7}", "time": "2026-01-31", "id": f"p{number}"} | more


def digest_of(items: Sequence[Any]) -> bytes:
    """Of a body that holds these items."""
    return hashlib.sha256(repr(items).encode(errors="surrogatepass")).digest()


def payloads(log: EventLog) -> list[bytes]:
    """Everything in the log, in no particular order."""
    ends = log.bounds()
    batches = [batch for partition, (first, end) in ends.items() for batch in log.read(partition, first, end)]
    return sorted(payload for batch in batches for payload in batch.payloads)


def take(intake: Intake, *items: Any, key: str | None = None, caller: str = "shop") -> Taken:
    """What became of items that were posted."""
    return intake.submit(items, caller=caller, key=key, digest=digest_of(items)).result()


def again(intake: Intake, *items: Any, key: str) -> Taken:
    """Try until it works, as a caller does who is told to."""
    ends = time.monotonic() + PATIENT
    while True:
        try:
            return take(intake, *items, key=key)
        except StateError:
            assert time.monotonic() < ends
            time.sleep(0.05)


class Wrapped:
    """A log with something done before and after its appending; everything else is the log's own."""

    def __init__(
        self, log: SqliteLog, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None
    ) -> None:
        self._log, self._before, self._after = log, before, after

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        self._before()
        places = self._log.append(records)
        self._after()
        return places

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@contextmanager
def opened(
    folder: Path,
    *,
    url: str = "sqlite:///tenure.db",
    wall_clock: Clock = system_clock,
    lease: timedelta = LEASE,
    patience_seconds: float = 30.0,
    wrap: Callable[[Any], Any] = lambda log: log,
    log: EventLog | None = None,
) -> Iterator[tuple[Intake, EventLog]]:
    """An intake as a process of its own would open it, and its log; an embedded one where none is given."""
    engine = open_database(url, root=folder)
    log = log or open_sqlite_log(folder / "log.db", 2, clock=NOW)
    keys = IdempotencyKeys(engine, wall_clock, lease)
    intake = Intake(wrap(log), SCHEMAS, UTC, keys, NOW, patience_seconds=patience_seconds)
    try:
        yield intake, log
    finally:
        intake.close()
        log.close()
        engine.dispose()


@contextmanager
def held(engine: Engine) -> Iterator[Callable[[], None]]:
    """Keep a SQLite database locked, as a writer that has stopped does, until the end or until it is let go."""
    connection = engine.connect()
    transaction = connection.begin()
    connection.execute(sa.text("SELECT 1"))
    try:
        yield transaction.rollback
    finally:
        connection.close()
