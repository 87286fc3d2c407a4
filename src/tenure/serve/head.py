"""How long the head of a request may be, while it is still coming in.

Enters: bytes of a connection. Leaves: the same bytes to uvicorn's parser, as long as they lead somewhere. Invariant:
what a connection has sent without ending a head, or adding to a body, is at most `HEAD_LIMIT` bytes and one read of the
socket. The parser has no limit of its own, and puts a header together piece by piece: sixty megabytes of one took
fourteen seconds in which nobody else was answered.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tenure.serve.problem import PROBLEM_TYPE, Failure

__all__ = ["HEAD_LIMIT", "LimitedProtocol"]

HEAD_LIMIT: Final = 1 << 16
_TOO_LONG: Final = Failure(431, "Too long a head", f"The request's head has more than {HEAD_LIMIT:,} bytes.")


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's parser of HTTP, for heads that end.

    Lines after a body in chunks (trailers) count as a head does.

    Examples
    --------
    >>> import uvicorn
    >>> uvicorn.Config("module:app", http=LimitedProtocol).http.__name__
    'LimitedProtocol'
    """

    _led_nowhere = 0

    def data_received(self, data: bytes) -> None:
        """Take what the connection has sent."""
        self._led_nowhere += len(data)
        super().data_received(data)
        if self._led_nowhere > HEAD_LIMIT and not self.transport.is_closing():
            self.transport.write(_refusal())
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head ends."""
        self._led_nowhere = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body came."""
        self._led_nowhere = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request ends."""
        self._led_nowhere = 0
        super().on_message_complete()


def _refusal() -> bytes:
    body = _TOO_LONG.body()
    head = [
        f"HTTP/1.1 {_TOO_LONG.status} Request Header Fields Too Large",
        f"content-type: {PROBLEM_TYPE}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
