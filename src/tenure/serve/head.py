"""The head of a request while it is still coming in: how long it may be, how long it may take, and what is none.

Enters: bytes of a connection. Leaves: the same bytes to uvicorn's parser, as long as they lead somewhere. Invariant:
what a connection has sent without ending a head, or adding to a body, is at most `HEAD_LIMIT` bytes and one read of the
socket, and `HEAD_SECONDS` old. The parser has no limit of its own, and puts a header together piece by piece: sixty
megabytes of one took fourteen seconds in which nobody else was answered; nor has the server, and kept half a head for
as long as the caller wished. Whoever sends what is no HTTP at all is told so as of every other error.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tenure.serve.exchange import headers_of
from tenure.serve.problem import Failure
from tenure.serve.whole import WholeAnswers

__all__ = ["HEAD_LIMIT", "HEAD_SECONDS", "LimitedProtocol"]

HEAD_LIMIT: Final = 1 << 16
HEAD_SECONDS: Final = 30.0
_TOO_LONG: Final = Failure(
    431, "Too long a head", f"The request's head has more than {HEAD_LIMIT:,} bytes.", field="headers"
)
_TOO_SLOW: Final = Failure(
    408, "Too slow", f"The request's head did not come within {HEAD_SECONDS:g} seconds.", field="headers"
)
_NO_HTTP: Final = Failure(400, "No HTTP", "What came is no request of HTTP 1.1, or its head contradicts itself.")


class _RefusedError(Exception):
    """Makes the parser stop; the caller was told why."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's parser of HTTP, for heads that end.

    Lines after a body in chunks (trailers) count as a head does.

    Examples
    --------
    >>> import uvicorn
    >>> uvicorn.Config("module:app", http=LimitedProtocol, log_config=None).http.__name__
    'LimitedProtocol'
    """

    head_seconds: ClassVar[float] = HEAD_SECONDS
    _led_nowhere = 0
    # Runs only while a head is owed, by who has connected and said nothing or half of something: most heads come in one
    # piece, and a timer for every request would cost more than all else here.
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, and has so long to ask something."""
        super().connection_made(transport)
        self._answers = WholeAnswers(transport)
        self.transport = cast(asyncio.Transport, self._answers)
        self._await_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        self._led_somewhere()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the connection has sent."""
        self._led_nowhere += len(data)
        super().data_received(data)
        if self._led_nowhere > HEAD_LIMIT:
            self._refuse(_TOO_LONG)
        elif self._led_nowhere and self._alarm is None:
            self._await_more()

    def on_message_begin(self) -> None:
        """A request begins, perhaps right behind the end of another one."""
        self._led_nowhere = max(self._led_nowhere, 1)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head ends; it may have come in one piece that was too long, perhaps with a part of the body."""
        is_long = self._led_nowhere > HEAD_LIMIT
        self._led_somewhere()
        if is_long and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self._refuse(_TOO_LONG)
            raise _RefusedError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body came."""
        self._led_somewhere()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request ends."""
        self._led_somewhere()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The request is answered, perhaps without a body."""
        self._answers.complete()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - it says less than is said here
        """Answer what is no request."""
        self._refuse(_NO_HTTP)

    def _led_somewhere(self) -> None:
        self._led_nowhere = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _await_more(self) -> None:
        self._alarm = self.loop.call_later(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        """The head did not come; where a request is still being answered, that comes first."""
        cycle = cast(RequestResponseCycle | None, self.cycle)
        if cycle is None or cycle.response_complete:
            self._refuse(_TOO_SLOW)
        else:
            self._await_more()

    def _refuse(self, failure: Failure) -> None:
        """Answer without a request, and hang up."""
        if self.transport.is_closing():
            return
        self._led_somewhere()
        body = failure.body()
        lines = [
            *self.server_state.default_headers,
            *((name.encode(), text.encode()) for name, text in failure.headers.items()),
            *headers_of(page=False, tls=self.scheme == "https"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[failure.status] + head + b"\r\n" + body)
        self.transport.close()
