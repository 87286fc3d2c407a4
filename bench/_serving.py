"""What the benchmarks of the service share: a project that is served, servers in processes of their own, their load.

Enters: a number of customers. Leaves: a trained, scored and filled project with a key, requests for it, and what a
client saw. The client is a process of its own (`_client.py`).
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from tenure.app.place import Place
from tenure.app.scoring import load
from tenure.app.stream import bootstrap, open_stream
from tenure.model.artifact import LoadedVersion
from tenure.score.table import published_runs

TENURE = str(Path(sys.executable).with_name("tenure"))
CLIENT = str(Path(__file__).with_name("_client.py"))
READY_SECONDS = 120.0
Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True)
class Served:
    """A project that can be served: where it is, a key, its version, its customers and their features."""

    config: Path
    token: str
    version: LoadedVersion
    as_of: datetime
    customers: list[str]
    rows: list[dict[str, Any]]


class Answered(NamedTuple):
    """When a request was due and answered, of which kind it was, and its score's source, with * where degraded."""

    due: float
    at: float
    kind: int
    mark: str


@dataclass(frozen=True)
class Seen:
    """What a client saw. `begun` is an instant of `time.perf_counter`; `due` and `timeline` count from it."""

    begun: float
    seconds: np.ndarray[Any, np.dtype[np.float64]]
    due: np.ndarray[Any, np.dtype[np.float64]]
    kinds: np.ndarray[Any, np.dtype[np.int64]]
    statuses: Mapping[str, int]
    marks: Mapping[str, int]
    timeline: list[Answered]
    lost: int
    length: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.length

    @property
    def errors(self) -> int:
        """Requests with no answer, or one that is no 2xx."""
        return self.lost + sum(count for status, count in self.statuses.items() if not status.startswith("2"))

    def p(self, percent: float, kind: int | None = None) -> float:
        """A percentile of the latencies in milliseconds."""
        chosen = self.seconds if kind is None else self.seconds[self.kinds == kind]
        return float(np.percentile(chosen, percent) * 1e3) if len(chosen) else float("nan")


def run(*arguments: str, cwd: Path | None = None) -> str:
    return subprocess.run([TENURE, *arguments], check=True, capture_output=True, text=True, cwd=cwd).stdout


def served_project(folder: Path, customers: int) -> Served:
    """Simulate, train, score and fill a project, and make a key for it."""
    if not (folder / "tenure.toml").exists():
        run("simulate", str(folder), "--customers", str(customers), "--json")
        run("train", "--config", str(folder / "tenure.toml"), "--json")
        run("score", "--config", str(folder / "tenure.toml"), "--json")
    place = Place.load(folder / "tenure.toml")
    [newest, *_] = published_runs(place.database())
    with open_stream(place) as (stream, features):
        if not stream.store.marks():
            bootstrap(place, stream, features, newest.as_of)
    made = run("keys", "create", "bench", "--role", "score", "--role", "events", "--rate", "1000000",
               "--config", str(folder / "tenure.toml"), "--json")  # fmt: skip
    version = load(place)
    snapshot = next((folder / ".tenure" / "scoring").glob("*.parquet"))
    names = [column.name for column in version.parts.encoder.columns]
    table = pq.read_table(snapshot, columns=["customer_id", *names])
    rows = table.select(names).to_pylist()
    return Served(folder / "tenure.toml", json.loads(made)["key"], version, newest.as_of,
                  table.column("customer_id").to_pylist(), rows)  # fmt: skip


def get(path: str, token: str | None = None, *, host: str = "127.0.0.1") -> bytes:
    """The bytes of a request; the host as its header names it, with a port where it needs one."""
    key = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{key}\r\n".encode()


def post(path: str, document: Any, token: str | None = None) -> bytes:
    """The bytes of a request with a body."""
    body = json.dumps(document).encode()
    key = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def load_with(
    address: Address,
    payloads: Sequence[bytes],
    *,
    seconds: float,
    rate: float | None = None,
    connections: int = 16,
    kinds: Sequence[int] | None = None,
    seed: int = 0,
    marks: bool = False,
) -> subprocess.Popen[str]:
    """Start a client; `seen` waits for it."""
    plan = {
        "host": address[0], "port": address[1], "seconds": seconds, "rate": rate, "connections": connections,
        "seed": seed, "payloads": [base64.b64encode(one).decode() for one in payloads],
        "kinds": list(kinds or [0] * len(payloads)), "marks": marks,
    }  # fmt: skip
    client = subprocess.Popen([sys.executable, CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if client.stdin is not None:
        client.stdin.write(json.dumps(plan))
        client.stdin.close()
    return client


def seen(client: subprocess.Popen[str], length: float) -> Seen:
    """What a client saw, once it has ended."""
    with client:
        found = json.loads(client.stdout.read() if client.stdout is not None else "")
    return Seen(found["begun"], np.array(found["seconds"]), np.array(found["due"]),
                np.array(found["kinds"], dtype=np.int64), found["statuses"], found["marks"],
                [Answered(*one) for one in found["timeline"]], found["lost"], length)  # fmt: skip


def loaded(address: Address, payloads: Sequence[bytes], *, seconds: float, **options: Any) -> Seen:
    """Load a service and see."""
    return seen(load_with(address, payloads, seconds=seconds, **options), seconds)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def server(command: Sequence[str], port: int, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in processes of its own, once it takes connections; it ends with the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **environment},
                                   start_new_session=True)  # fmt: skip
    try:
        _wait(process, port, log)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"A server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def tenure_serve(project: Served, port: int, *more: str) -> list[str]:
    """The command that serves a project, as of the end of its log."""
    return [TENURE, "serve", "--config", str(project.config), "--port", str(port), "--workers", "1",
            "--as-of", project.as_of.isoformat(), *more]  # fmt: skip


def await_ready(port: int) -> None:
    """Wait until a service of tenure says that it is ready."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if re.match(rb"HTTP/1.1 200", connection.recv(64)):
                return
        time.sleep(0.2)
    raise SystemExit("The service did not get ready.")


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
