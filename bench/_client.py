"""A client that loads a service: run as a process of its own, so that it does not take the service's processor time.

Enters: a plan as JSON on stdin. Leaves: a line of JSON with what was seen, and with the instant of `time.perf_counter`,
a clock that all processes share, from which its instants count. Closed loop: every connection sends its next
request when it has its answer, which measures throughput. Open loop: requests are due at instants drawn before,
whatever the service does, and a latency counts from the instant at which its request was due, so that a service that
stalls cannot hide the requests that it kept from being sent (Tene's "coordinated omission").
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvloop

GIVE_UP_SECONDS = 30.0


@dataclass(eq=False)
class Tally:
    """What was seen: seconds, status and kind of each answer, requests that got none, and what the answers held."""

    seconds: list[float] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    marks: collections.Counter[str] = field(default_factory=collections.Counter)
    timeline: list[tuple[float, float, int, str]] = field(default_factory=list)
    lost: int = 0


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request. Answers have to say how long they are."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.transport: asyncio.Transport | None = None
        self.due = 0.0
        self.kind: int | None = None
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.run.ready(self)

    def send(self, kind: int, payload: bytes, due: float) -> None:
        self.kind, self.due = kind, due
        if self.transport is not None:
            self.transport.write(payload)

    def data_received(self, data: bytes) -> None:
        self.data = data = self.data + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or self.kind is None:
            return
        head = data[:end].lower()
        start = head.index(b"content-length:") + 15
        stop = head.find(b"\r\n", start)
        length = int(head[start:] if stop < 0 else head[start:stop])
        if len(data) < end + 4 + length:
            return
        kind, self.kind, self.data = self.kind, None, b""
        self.run.answered(kind, self.due, int(head[9:12]), data[end + 4 :])
        if b"connection: close" not in head:
            self.run.ready(self)
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.kind is not None:
            self.run.tally.lost += 1
        self.run.gone(self)


class Run:
    """One run of a plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.tally = plan, Tally()
        self.payloads = [base64.b64decode(one) for one in plan["payloads"]]
        self.kinds = np.array(plan["kinds"], dtype=np.int64)
        self.order = np.random.default_rng(plan["seed"]).permutation(len(self.payloads)).tolist()
        self.next, self.idle = 0, collections.deque[Connection]()
        self.waiting: collections.deque[float] = collections.deque()
        self.open, self.is_over, self.begun = 0, False, 0.0
        self.is_marked = bool(plan.get("marks"))

    def _take(self) -> tuple[int, bytes]:
        place = self.order[self.next % len(self.order)]
        self.next += 1
        return int(self.kinds[place]), self.payloads[place]

    def ready(self, connection: Connection) -> None:
        if self.is_over:
            return
        if self.plan["rate"] is None:
            connection.send(*self._take(), time.perf_counter())
        elif self.waiting:
            connection.send(*self._take(), self.waiting.popleft())
        else:
            self.idle.append(connection)

    def answered(self, kind: int, due: float, status: int, body: bytes) -> None:
        now = time.perf_counter()
        tally = self.tally
        tally.seconds.append(now - due)
        tally.due.append(due - self.begun)
        tally.kinds.append(kind)
        tally.statuses[status] += 1
        if self.is_marked and status == 200:
            found = json.loads(body)
            mark = f"{found['source']}{'*' if found['degraded'] else ''}"
            tally.marks[mark] += 1
            tally.timeline.append((due - self.begun, now - self.begun, kind, mark))

    def gone(self, connection: Connection) -> None:
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        if not self.is_over:
            self._connect()

    def _connect(self) -> None:
        self.open += 1
        asyncio.get_running_loop().create_task(self._connected())

    async def _connected(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            try:
                await loop.create_connection(lambda: Connection(self), self.plan["host"], self.plan["port"])
                return
            except OSError:
                await asyncio.sleep(0.05)

    def _due(self, at: float) -> None:
        if self.idle:
            self.idle.pop().send(*self._take(), at)
        else:
            self.waiting.append(at)
            if self.open < self.plan["connections"]:
                self._connect()

    async def run(self) -> Tally:
        self.begun = time.perf_counter()
        for _ in range(self.plan["connections"] if self.plan["rate"] is None else min(16, self.plan["connections"])):
            self._connect()
        if self.plan["rate"] is None:
            await asyncio.sleep(self.plan["seconds"])
        else:
            await self._open_loop()
        self.is_over = True
        return self.tally

    async def _open_loop(self) -> None:
        rng = np.random.default_rng(self.plan["seed"])
        rate, seconds = self.plan["rate"], self.plan["seconds"]
        due = np.sort(rng.random(int(rate * seconds)) * seconds) + self.begun  # a Poisson process of so many
        for at in due.tolist():
            wait = at - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self._due(at)
        end = time.perf_counter() + GIVE_UP_SECONDS
        while len(self.tally.seconds) + self.tally.lost < len(due) and time.perf_counter() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.tally.lost += len(due) - len(self.tally.seconds) - self.tally.lost


def main() -> None:
    plan = json.load(sys.stdin)
    uvloop.install()
    run = Run(plan)
    tally = uvloop.run(run.run())
    json.dump(
        {
            "begun": run.begun,
            "seconds": tally.seconds,
            "due": tally.due,
            "kinds": tally.kinds,
            "statuses": dict(tally.statuses),
            "marks": dict(tally.marks),
            "timeline": tally.timeline,
            "lost": tally.lost,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
