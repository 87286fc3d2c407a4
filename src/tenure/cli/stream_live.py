"""What a running consumer says of itself on stderr: a line that is drawn anew on a terminal, JSON lines in a pipe.

Enters: readings and progress. Leaves: text. Invariant: stdout stays free for the one document at the end; a pipe that
did not ask for JSON hears nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Literal, Protocol, TextIO

from tenure.app.stream_run import Reading
from tenure.core.progress import silent

__all__ = ["EVERY_SECONDS", "Live", "line_of", "live"]

Kind = Literal["line", "json", "silent"]
EVERY_SECONDS: dict[Kind, float] = {"line": 0.5, "json": 5.0, "silent": 60.0}
_CLEAR = "\r\x1b[2K"


class Live(Protocol):
    """Who is told how a consumer is doing."""

    kind: Kind

    def tell(self, reading: Reading) -> None:
        """Take a reading."""

    def progress(self, stage: str, done: float) -> None:
        """Hear of long work before the first event."""


class _Line:
    """One line of a terminal."""

    kind: Kind = "line"

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def tell(self, reading: Reading) -> None:
        self._draw(line_of(reading))

    def progress(self, stage: str, done: float) -> None:
        self._draw(f"{stage} {done:.0%}")

    def clear(self) -> None:
        self._terminal.write(_CLEAR)
        self._terminal.flush()

    def _draw(self, text: str) -> None:
        self._terminal.write(_CLEAR + text)
        self._terminal.flush()


class _JsonLines:
    """A document per reading, for whoever collects logs."""

    kind: Kind = "json"

    def tell(self, reading: Reading) -> None:
        sys.stderr.write(json.dumps(asdict(reading), ensure_ascii=False) + "\n")
        sys.stderr.flush()

    def progress(self, stage: str, done: float) -> None:
        silent(stage, done)


class _Silent:
    """Nothing."""

    kind: Kind = "silent"

    def tell(self, reading: Reading) -> None:
        """Say nothing."""

    def progress(self, stage: str, done: float) -> None:
        silent(stage, done)


def line_of(reading: Reading) -> str:
    """A reading in a line.

    Examples
    --------
    >>> line_of(Reading(2.0, 5, 3, 1, 0, 0, 1, 2.5, 0.31, lag=40))
    '2/s · 40 waiting · fresh in 0.31 s (p99) · 3 events · 1 duplicates · 0 late · 1 dead'
    """
    parts = [f"{reading.records_per_second:,.0f}/s"]
    parts += [] if reading.lag is None else [f"{reading.lag:,} waiting"]
    parts += [] if reading.fresh_p99_seconds is None else [f"fresh in {reading.fresh_p99_seconds:.2f} s (p99)"]
    parts += [f"{reading.events:,} events", f"{reading.duplicates:,} duplicates"]
    parts += [f"{reading.late:,} late", f"{reading.dead:,} dead"]
    parts += [reading.trouble] if reading.trouble else []
    return " · ".join(parts)


@contextmanager
def live(*, as_json: bool) -> Iterator[Live]:
    """Choose how to speak, and leave a clean line behind.

    Examples
    --------
    >>> with live(as_json=False) as lively:
    ...     lively.progress("restore", 0.5)
    """
    if sys.stderr.isatty():
        line = _Line(sys.stderr)
        try:
            yield line
        finally:
            line.clear()
    else:
        yield _JsonLines() if as_json else _Silent()
