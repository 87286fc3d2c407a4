"""The body of a request: how much of it is read, how long it is waited for, and how deep it may nest.

Enters: the messages of an ASGI connection. Leaves: all bytes of a body that may be parsed. Invariant: no more than a
megabyte is ever held of a request, whatever its head says, and a body is refused for its depth before any parser sees
it, since parsers recurse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import numpy as np

from tenure.serve.problem import Failure

__all__ = ["BODY_LIMIT", "DEPTH_LIMIT", "Body", "GoneError", "RefusedError", "check_depth", "nesting"]

BODY_LIMIT: Final = 1 << 20
DEPTH_LIMIT: Final = 32
BODY_SECONDS: Final = 30.0
# A client that is sending does not listen; so much is thrown away before it is told that it was too much.
_THROWN_AWAY: Final = 32 << 20

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_KEPT: Final = b'"[]{}'
_DROPPED: Final = bytes(set(range(256)) - set(_KEPT))
_STEP: Final = np.zeros(256, np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_QUOTE: Final = ord('"')
_PIECE: Final = 1 << 15  # as much as stays in the processor's cache


class RefusedError(Exception):
    """A request that is answered with a problem instead of by the application.

    Parameters
    ----------
    failure : Failure
        What the caller is told.
    headers : mapping
        Lines of the answer's head beside the failure's own.
    """

    def __init__(self, failure: Failure, **headers: str) -> None:
        super().__init__(failure.title)
        self.failure = failure
        self.headers = headers


class GoneError(Exception):
    """The caller has hung up; nobody is left to answer."""


class Body:
    """Reads bodies, each within a limit and a time.

    Parameters
    ----------
    limit : int
        Bytes that a body may have.
    seconds : float
        How long a body may take to come.

    Examples
    --------
    >>> async def receive():
    ...     return {"type": "http.request", "body": b"{}", "more_body": False}
    >>> asyncio.run(Body().read({b"content-length": b"2"}, receive))
    b'{}'
    """

    def __init__(self, limit: int = BODY_LIMIT, seconds: float = BODY_SECONDS) -> None:
        self.limit = limit
        self.seconds = seconds
        # One timer for all who wait: a timer of its own would cost a request more than all other checks together.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, head: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Every byte of a body.

        Parameters
        ----------
        head : mapping
            The request's header, names in lower case.
        receive : callable
            The connection's next message.

        Raises
        ------
        RefusedError
            The body is too large (413), does not come (408), or its head contradicts itself (400).
        GoneError
            The caller hung up.
        """
        task = asyncio.current_task()
        if task is None:
            raise RefusedError(Failure(500, "The service failed"))
        self._watch(task)
        try:
            return await self._read(_declared(head), head, receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise RefusedError(
                Failure(408, "Too slow", f"The body did not come within {self.seconds:g} seconds.", field="body"),
                connection="close",
            ) from None
        finally:
            self._late.discard(task)
            del self._waiting[task]

    async def _read(self, declared: int, head: Mapping[bytes, bytes], receive: Receive) -> bytes:
        if declared > self.limit:
            if head.get(b"expect", b"").lower() == b"100-continue" or declared > _THROWN_AWAY:
                raise self._too_large(connection="close")
            await self._throw_away(receive)
        message = await _next(receive)
        chunk: bytes = message.get("body", b"")
        if not message.get("more_body", False) and len(chunk) <= self.limit:
            return chunk
        read = bytearray(chunk)
        while message.get("more_body", False):
            if len(read) > self.limit:
                await self._throw_away(receive)
            message = await _next(receive)
            read += message.get("body", b"")
        if len(read) > self.limit:
            raise self._too_large()
        return bytes(read)

    async def _throw_away(self, receive: Receive) -> None:
        """Read on without keeping anything, so that the caller comes to read the refusal; always refuses."""
        size = 0
        while size <= _THROWN_AWAY:
            message = await _next(receive)
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                raise self._too_large()
        raise self._too_large(connection="close")

    def _too_large(self, **headers: str) -> RefusedError:
        detail = f"The body has more than {self.limit:,} bytes."
        hint = "Send fewer scores or events at once."
        return RefusedError(Failure(413, "Too large", detail, hint, "body"), **headers)

    def _watch(self, task: asyncio.Task[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._waiting[task] = loop.time() + self.seconds
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self.seconds, self._end_late, loop)

    def _end_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, deadline in self._waiting.items():
            if deadline <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        earliest = min((due for task, due in self._waiting.items() if task not in self._late), default=None)
        self._timer = None if earliest is None else loop.call_at(earliest, self._end_late, loop)


def nesting(body: bytes) -> int:
    r"""How deep JSON text nests, at least as deep as any parser would go before it finds an error.

    Brackets inside strings do not count. Works on a few arrays instead of a loop, since a megabyte of brackets costs a
    loop a tenth of a second.

    Examples
    --------
    >>> nesting(b'{"a": [1, "]]]", "\\"[["]}'), nesting(b"1"), nesting(b"[" * 1000)
    (2, 0, 1000)
    """
    # Pairs of backslashes first: what then still stands before a quote makes the quote part of a string.
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    kept = text.translate(None, _DROPPED)
    deepest = depth = 0
    inside = np.False_
    for start in range(0, len(kept), _PIECE):
        piece = np.frombuffer(kept[start : start + _PIECE], np.uint8)
        within = np.bitwise_xor.accumulate(piece == _QUOTE) ^ inside
        depths = np.cumsum(_STEP[piece] * ~within, dtype=np.int32)
        deepest = max(deepest, depth + int(depths.max()))
        depth += int(depths[-1])
        inside = within[-1]
    return deepest


def check_depth(body: bytes, limit: int = DEPTH_LIMIT) -> None:
    """Refuse a body that nests too deep.

    Raises
    ------
    RefusedError
        400.

    Examples
    --------
    >>> check_depth(b'{"features": {}}')
    """
    # Nothing nests deeper than it opens, and most bodies open twice.
    if body.count(b"{") + body.count(b"[") > limit and nesting(body) > limit:
        detail = f"The body nests deeper than {limit} levels."
        raise RefusedError(Failure(400, "Too deep", detail, "Send objects as the API describes them.", "body"))


def _declared(head: Mapping[bytes, bytes]) -> int:
    text = head.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > 20:
        raise RefusedError(
            Failure(400, "Bad request", "Content-Length is not a number.", field="content-length"), connection="close"
        )
    return int(text)


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GoneError
    return message
