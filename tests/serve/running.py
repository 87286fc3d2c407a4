"""A service in a process of its own, for tests: started, asked over real sockets, and ended with the test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.architecture.tree import ROOT

PATIENCE_SECONDS = 60.0  # a guard against hangs


@dataclass(frozen=True)
class Service:
    """A running service and what it has written."""

    process: subprocess.Popen[bytes]
    said: dict[str, Any]
    log: Path

    @property
    def url(self) -> str:
        return str(self.said["url"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; every line is JSON."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def get(self, path: str) -> str:
        """Ask on a connection of its own."""
        with urlopen(self.url + path, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text

    def count(self, series: str) -> float:
        """A series of `/metrics`, summed over its labels."""
        found = re.findall(rf"^{series}(?:{{.*}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, found))


@contextmanager
def running(folder: Path, *, spoiled: str = "", **told: Any) -> Iterator[Service]:
    """Start `tests/serve/tiny.py` and wait until it says something."""
    command = ["-m", "tests.serve.tiny", json.dumps(told, default=str)]
    with started(folder, command, TENURE_TEST_SPOILED=spoiled) as service:
        yield service


@contextmanager
def beginning(folder: Path, *, spoiled: str) -> Iterator[Service]:
    """Start `tests/serve/tiny.py` and wait for nothing."""
    with _process(folder, ["-m", "tests.serve.tiny", "{}"], TENURE_TEST_SPOILED=spoiled) as (process, log):
        yield Service(process, {}, log)


@contextmanager
def started(folder: Path, command: Sequence[str], **variables: str) -> Iterator[Service]:
    """Start a service by a command of Python, and wait until it says something."""
    with _process(folder, command, **variables) as (process, log):
        assert process.stdout is not None
        yield Service(process, json.loads(process.stdout.readline()), log)


@contextmanager
def _process(folder: Path, command: Sequence[str], **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that is ended with the block, and what it writes into its log."""
    log = folder / "stderr.jsonl"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | variables
    command = [sys.executable, *command]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield process, log
        finally:
            process.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail where it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "It did not happen."
        time.sleep(0.02)
