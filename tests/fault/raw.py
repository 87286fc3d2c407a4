"""A caller who writes bytes to a socket: nothing between it and the service tidies up what is asked.

It counts what was answered, and notes what took longer than a second, to be asked again: a machine that tests run on
may be busy once, but not each time with the same request.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 30.0  # a guard against hangs
SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Said:
    """What was answered; status 0 where the line was cut."""

    status: int
    head: dict[str, str]
    body: bytes

    @cached_property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def is_problem(self) -> bool:
        is_one = self.head.get("content-type") == "application/problem+json" and bool(self.body)
        return is_one and self.document["status"] == self.status

    @property
    def refusal(self) -> tuple[int, str | None]:
        """Status and field of what was refused: the request, or the first of the many that it was about."""
        if self.status != 200 or b'"results"' not in self.body:
            return self.status, self.document.get("field") if self.is_problem else None
        for result in self.document["results"]:
            if result.get("status") not in {None, "accepted"}:
                status = result["status"]
                return 422 if status == "refused" else status, result["field"]
        return 200, None


@dataclass(frozen=True)
class Asked:
    """A request as it goes over the line, but for the key and the length of its body."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None

    def raw(self, token: str) -> bytes:
        lines = [
            b"%s %s HTTP/1.1" % (self.method.encode(), self.target),
            b"Host: localhost",
            *(b"%s: %s" % line for line in self.headers),
        ]
        if not any(name.lower() == b"authorization" for name, _ in self.headers):
            lines.append(b"Authorization: Bearer " + token.encode())
        if self.body is not None:
            if not any(name.lower() == b"content-type" for name, _ in self.headers):
                lines.append(b"Content-Type: application/json")
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", b""]) + (self.body or b"")


@dataclass
class Caller:
    """Asks one service, on a connection that is kept as long as it is answered."""

    url: str
    token: str
    counts: Counter[int] = field(default_factory=Counter)
    slowest: tuple[float, bytes] = (0.0, b"")
    slow: list[Asked] = field(default_factory=list)
    _line: socket.socket | None = None

    def ask(self, asked: Asked) -> Said:
        since = perf_counter()
        said = self._exchange(asked.raw(self.token), has_body=asked.method != "HEAD")
        seconds = perf_counter() - since
        self.note(seconds, said.status, f"{asked.method} ".encode() + asked.target)
        if seconds > SLOW_SECONDS:
            self.slow.append(asked)
        return said

    def note(self, seconds: float, status: int, what: bytes) -> None:
        self.counts[status] += 1
        self.slowest = max(self.slowest, (seconds, what[:100]))

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE_SECONDS)

    def talk(self, *pieces: bytes, hang_up: bool = False, most: int = 1_000) -> list[Said]:
        """Send pieces on a line of their own, and read answers until the service hangs up, or has given so many."""
        with self.connect() as line:
            with suppress(OSError):  # where it has hung up already, what it said may still be there
                for piece in pieces:
                    line.sendall(piece)
                if hang_up:
                    line.shutdown(socket.SHUT_WR)
            answers: list[Said] = []
            rest = b""
            while len(answers) < most and (said := _read(line, rest)) is not None:
                answer, rest = said
                answers.append(answer)
                self.note(0.0, answer.status, b"")
                if answer.head.get("connection") == "close":
                    break
            return answers

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def is_slow_again(self, asked: Asked) -> bool:
        """Whether a request takes as long whenever it is made."""
        for _ in range(3):
            since = perf_counter()
            self._exchange(asked.raw(self.token), has_body=asked.method != "HEAD")
            if perf_counter() - since <= SLOW_SECONDS:
                return False
        return True

    def _exchange(self, request: bytes, *, has_body: bool) -> Said:
        for _ in range(2):  # the service may have closed a line that was kept
            is_new = self._line is None
            line = self._line = self._line or self.connect()
            with suppress(OSError):  # as above
                line.sendall(request)
            said = _read(line, b"", has_body=has_body)
            if said is None or said[0].head.get("connection") == "close":
                self.close()
            if said is not None:
                return said[0]
            if is_new:
                break
        return Said(0, {}, b"")


def _read(line: socket.socket, read: bytes, *, has_body: bool = True) -> tuple[Said, bytes] | None:
    """The next answer and what came behind it; None where none comes."""
    while b"\r\n\r\n" not in read:
        came = _receive(line)
        if not came:
            return None
        read += came
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    length = int(headers["content-length"]) if has_body else 0
    pieces, size = [body], len(body)
    while size < length:
        came = _receive(line)
        if not came:
            return None
        pieces.append(came)
        size += len(came)
    whole = b"".join(pieces)
    return Said(int(first.split(" ")[1]), headers, whole[:length]), whole[length:]


def _receive(line: socket.socket) -> bytes:
    try:
        return line.recv(1 << 16)
    except ConnectionError:
        return b""
