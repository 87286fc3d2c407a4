"""Events that are posted go into the log, each request once.

Enters: documents, and the key that the caller gave their request. Leaves: one result per event, once every accepted one
is durable in the log. Invariant: of all requests of a caller with the same key and body, one appends, and the others
are answered what that one was; and what is refused here is what a consumer would set aside.

The way of a request with a key
-------------------------------
Requests of one process that share a key meet in memory: the first goes ahead, the others wait for its answer without a
thread of their own. The first claims the key in the database, where requests of other processes meet: while another
process has the claim it asks again now and then, and keeps no thread in between. Then it appends; then it keeps the
answer beside the key. Whatever goes wrong before anything was appended gives the key back, so that
the same request can be made again.

Nobody waits for long: a caller is told after `patience_seconds` that the log or the database is late. The work goes on
by itself, though, and ends what it began. A claim that comes too late is given back. An append that comes too late
keeps its answer, and whoever asks again with the same key gets it. So a retry does not append twice because of a slow
disk. What remains is a process that dies between appending and keeping the answer: its claim runs out, the retry
appends again, and events with an id are counted once by whoever reads the log.

A request of which no event was accepted has had no effect and does not use its key up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Any

from tenure.core.errors import StateError, UnavailableError
from tenure.core.guard import Guard, State, nobody
from tenure.core.time import Clock, system_clock, to_micros
from tenure.serve.idempotency import Claim, IdempotencyKeys, KeyReusedError, UnderWayError
from tenure.serve.later import Later
from tenure.serve.posted import as_posted
from tenure.serve.taken import Taken
from tenure.source.admit import Admitted, admit
from tenure.source.event_schema import EventSchema
from tenure.source.log import EventLog
from tenure.source.record_files import Record

__all__ = ["Intake", "NotTakenError"]

_LANES = 8
_MOST_WAITING = 256
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.25
_SWEEP_SECONDS = 60.0
_AGAIN = "Try again, with the same idempotency key if there was one; events that have an id count once in any case."
_log = logging.getLogger(__name__)


class NotTakenError(StateError):
    """Events were not taken, or may not have been; its words are for whoever posted them."""

    code = "not_taken"


@dataclass(frozen=True)
class _Request:
    """What one caller wants appended."""

    items: Sequence[Any]
    caller: str
    key: str | None
    digest: bytes


class _Asked:
    """A request that is being answered, and for how long it goes on asking for its key."""

    def __init__(self, request: _Request, patience_seconds: float) -> None:
        self.request, self.answer = request, Future[Taken]()
        self.until = time.monotonic() + patience_seconds
        self._pause = _FIRST_PAUSE_SECONDS / 2

    def pause(self) -> float:
        """How long to leave others alone before asking again, in seconds."""
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return self._pause


class Intake:
    """Takes events; any number of threads may call.

    Parameters
    ----------
    log : EventLog
        Where events go.
    schemas : mapping of str to EventSchema
        The event types that are known.
    zone : tzinfo
        Where times without an offset happened.
    keys : IdempotencyKeys
        What was asked before.
    clock : Clock
        When events would be appended: what is much later is in the future.
    patience_seconds : float
        How long the log, or another request with the same key, is waited for; the database half as long.
    told : callable
        Told the name and the new state when the breaker before the log, or before the database, turns.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> paid = {"type": "pay", "customer_id": "ana", "time": "2026-01-31", "id": "p9"}
    >>> with small_stream() as stream:
    ...     keys = IdempotencyKeys(stream.database)
    ...     intake = Intake(stream.log, stream.rules.schemas, stream.rules.zone, keys, stream.clock)
    ...     first = intake.submit([paid, {}], caller="shop", key="k1", digest=b"d").result()
    ...     again = intake.submit([paid, {}], caller="shop", key="k1", digest=b"d").result()
    ...     intake.close()
    >>> first.accepted, first.results[1].reason, again == first.again()
    (1, 'missing type', True)
    """

    def __init__(
        self,
        log: EventLog,
        schemas: Mapping[str, EventSchema],
        zone: tzinfo,
        keys: IdempotencyKeys,
        clock: Clock = system_clock,
        *,
        patience_seconds: float = 5.0,
        told: Callable[[str, State], None] = nobody,
    ) -> None:
        self._log, self._schemas, self._zone, self._clock = log, schemas, zone, clock
        self._keys, self._lease_seconds = keys, keys.lease.total_seconds()
        self._patience_seconds = patience_seconds
        self._guards = (
            Guard("log", patience_seconds, lanes=_LANES, told=told),
            Guard("keys", patience_seconds / 2, lanes=_LANES, told=told),
        )
        self._pool, self._later = ThreadPoolExecutor(_LANES, "tenure-intake"), Later("tenure-intake-later")
        self._lock, self._room = Lock(), BoundedSemaphore(_MOST_WAITING)
        self._leading: dict[tuple[str, str], tuple[bytes, Future[Taken]]] = {}
        self._swept, self._is_closed = time.monotonic(), False

    def states(self) -> Mapping[str, State]:
        """The state of the breaker before the log, and of the one before the database."""
        return {guard.name: guard.state for guard in self._guards}

    def close(self) -> None:
        """End what has begun, and take nothing more; doing so twice is no mistake."""
        self._is_closed = True
        self._later.close()
        self._pool.shutdown()

    def submit(
        self, items: Sequence[Any], *, caller: str = "", key: str | None = None, digest: bytes = b""
    ) -> Future[Taken]:
        """Begin to append events; returns at once.

        Parameters
        ----------
        items : sequence of object
            What is meant to be events, as `json` reads it.
        caller : str
            Keys of different callers have nothing to do with each other.
        key : str, optional
            The idempotency key. Without one, a request that is repeated appends again.
        digest : bytes
            Of the body that the items came in.

        Returns
        -------
        Future
            The caller's own: cancelled, it leaves what was begun and everybody else alone.

        Raises
        ------
        KeyReusedError
            By this or by the future: the key was used for another body.
        UnderWayError
            By the future: another process is still acting on the same key.
        NotTakenError
            By this or by the future: the log or the database does not answer, or too many requests wait.
        """
        request = _Request(items, caller, key, digest)
        if key is None:
            return _own(self._begin(request), again=False)
        with self._lock:
            under_way = self._leading.get((caller, key))
            if under_way is None:
                leader = self._begin(request)
                self._leading[caller, key] = digest, leader
        if under_way is not None:
            if under_way[0] != digest:
                raise KeyReusedError(key)
            return _own(under_way[1], again=True)
        leader.add_done_callback(lambda _: self._leading.pop((caller, key), None))
        return _own(leader, again=False)

    def _begin(self, request: _Request) -> Future[Taken]:
        if not self._room.acquire(blocking=False):
            raise NotTakenError(
                f"{_MOST_WAITING} requests already wait for the event log; nothing was appended.", hint=_AGAIN
            )
        asked = _Asked(request, self._patience_seconds)
        asked.answer.add_done_callback(lambda _: self._room.release())
        self._go_on(asked)
        return asked.answer

    def _go_on(self, asked: _Asked) -> None:
        try:
            self._pool.submit(self._try, asked)
        except RuntimeError:  # closed
            asked.answer.set_exception(NotTakenError("The service is stopping; nothing was appended.", hint=_AGAIN))

    def _try(self, asked: _Asked) -> None:
        """Answer a request, or have it tried again where another process has the claim on its key."""
        try:
            taken = self._take(asked)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer gets it
            asked.answer.set_exception(error)
            return
        if taken is None:
            self._later.call(asked.pause(), partial(self._go_on, asked))
        else:
            asked.answer.set_result(taken)

    def _take(self, asked: _Asked) -> Taken | None:
        request = asked.request
        if request.key is None:
            return self._append(request, None)
        ends = time.monotonic() + self._lease_seconds
        found = self._through_database(_Claiming(self._keys, request.caller, request.key, request.digest))
        if found is None:
            if self._is_closed or time.monotonic() >= asked.until:
                raise UnderWayError(request.key)
            return None
        if isinstance(found, bytes):
            return Taken.read(found)
        self._sweep_sometimes()
        return self._append(request, _Held(self._keys, found, ends))

    def _through_database(self, claiming: _Claiming) -> Claim | bytes | None:
        try:
            return self._guards[1].call(claiming.run)
        except UnavailableError as error:
            claiming.give_up()
            raise NotTakenError(
                "The service cannot look idempotency keys up now; nothing was appended.", hint=_AGAIN
            ) from error

    def _append(self, request: _Request, held: _Held | None) -> Taken:
        admitted = self._judge(request.items)
        appending = _Appending(self._log, len(request.items), admitted, held)
        if not admitted.records:
            return appending.nothing()
        try:
            return self._guards[0].call(appending.run)
        except UnavailableError as error:
            began = not appending.give_up()
            _log.warning("Posted events were not taken.", exc_info=error, extra=error.ids)
            what = (
                "did not confirm the events; each may be in it or not"
                if began
                else "takes no events now; nothing was appended"
            )
            raise NotTakenError(f"The event log {what}.", hint=_AGAIN) from error

    def _judge(self, items: Sequence[Any]) -> Admitted:
        return admit([as_posted(item) for item in items], self._schemas, self._zone, to_micros(self._clock()))

    def _sweep_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._swept >= _SWEEP_SECONDS:
            self._swept = now
            with suppress(RuntimeError):  # closed meanwhile; the next one sweeps
                self._pool.submit(self._sweep)

    def _sweep(self) -> None:
        """Forget all old keys, some at a time, with rests in which others get at the database."""
        try:
            while self._guards[1].call(self._keys.sweep) and not self._is_closed:
                time.sleep(_FIRST_PAUSE_SECONDS)
        except StateError as error:
            _log.warning("Old idempotency keys were not swept.", exc_info=error)


class _Held:
    """A claim in hand, and when it runs out by this process's own clock."""

    def __init__(self, keys: IdempotencyKeys, claim: Claim, ends: float) -> None:
        self._keys, self._claim, self._ends = keys, claim, ends

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends

    def release(self) -> None:
        """Give the key back; where that cannot be, its lease runs out."""
        try:
            self._keys.release(self._claim)
        except StateError as error:
            _log.warning("An idempotency key could not be given back.", exc_info=error)

    def settle(self, taken: Taken) -> None:
        """Keep the answer, and try for as long as the claim stands: what was appended must not be appended again."""
        answer = taken.written()
        while True:
            try:
                if not self._keys.settle(self._claim, answer):
                    _log.warning("An idempotency key was taken over before its answer was kept.")
                return
            except StateError as error:
                if self.is_over:
                    _log.warning("The answer to an idempotency key could not be kept.", exc_info=error)
                    return
                time.sleep(_LONGEST_PAUSE_SECONDS)


class _Claiming:
    """Claims a key for somebody who may stop waiting; a claim that comes after that is given back."""

    def __init__(self, keys: IdempotencyKeys, caller: str, key: str, digest: bytes) -> None:
        self._keys, self._wanted = keys, (caller, key, digest)
        self._lock, self._given_up = Lock(), False
        self._found: Claim | bytes | None = None

    def run(self) -> Claim | bytes | None:
        found = self._keys.claim(*self._wanted)
        with self._lock:
            self._found = found
            given_up = self._given_up
        if given_up:
            self._give_back()
        return found

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
        self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            found, self._found = self._found, None
        if isinstance(found, Claim):
            _Held(self._keys, found, 0.0).release()


class _Appending:
    """Appends for somebody who may stop waiting; what has begun ends by itself and keeps its answer."""

    def __init__(self, log: EventLog, count: int, admitted: Admitted, held: _Held | None) -> None:
        self._log, self._count, self._admitted, self._held = log, count, admitted, held
        self._lock, self._began, self._given_up = Lock(), False, False

    def nothing(self) -> Taken:
        """Every event was refused: the key is as good as new."""
        if self._held is not None:
            self._held.release()
        return self._taken([])

    def run(self) -> Taken:
        with self._lock:
            if self._given_up:
                raise StateError("Nobody waits for these events any more; none was appended.")
            self._began = True
        taken = self._taken(self._append(list(self._admitted.records.values())))
        if self._held is not None:
            self._held.settle(taken)
        return taken

    def give_up(self) -> bool:
        """Stop waiting; whether nothing has begun, and nothing will."""
        with self._lock:
            self._given_up = True
            began = self._began
        if not began and self._held is not None:
            self._held.release()
        return not began

    def _append(self, records: Sequence[Record]) -> list[tuple[int, int]]:
        try:
            if self._held is not None and self._held.is_over:
                raise StateError("The claim on the idempotency key ran out before the events were appended.")
            return self._log.append(records)
        except BaseException:
            if self._held is not None:
                self._held.release()
            raise

    def _taken(self, places: Sequence[tuple[int, int]]) -> Taken:
        return Taken.of(self._count, dict(zip(self._admitted.records, places, strict=False)), self._admitted.refused)


def _own(leader: Future[Taken], *, again: bool) -> Future[Taken]:
    """A future for one caller, who may cancel it without touching the work or the others."""
    own: Future[Taken] = Future()

    def copy(done: Future[Taken]) -> None:
        if not own.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is not None:
            own.set_exception(error)
        else:
            own.set_result(done.result().again() if again else done.result())

    leader.add_done_callback(copy)
    return own
