"""One answer on its way out: what is put on every answer, and what never leaves.

Enters: the messages with which an application answers one request. Leaves: the same messages with the service's own
headers. Invariant: an answer with status 500 is never the application's own: whatever it says is dropped and replaced
by a problem that says nothing but the request id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from tenure.serve.problem import Failure

__all__ = ["GONE", "Exchange", "Headers", "headers_of"]

Headers = tuple[tuple[bytes, bytes], ...]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

GONE: Final = 499  # what logs and metrics call a request whose caller hung up; nobody is answered with it

_HEADERS: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_OF_DATA: Final = b"default-src 'none'; frame-ancestors 'none'"
_OF_PAGES: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
_UNDER_TLS: Final = (b"strict-transport-security", b"max-age=31536000")
_FAILED: Final = Failure(500, "The service failed", "This is a defect of the service; its log names this request.")


def headers_of(*, page: bool, tls: bool) -> Headers:
    """The lines that every answer's head gets beside its request id.

    Parameters
    ----------
    page : bool
        Whether people look at it: a page may bring its own styles, and nothing else.
    tls : bool
        Whether the service is reached by TLS, which browsers are then told to insist on.

    Examples
    --------
    >>> dict(headers_of(page=False, tls=False))[b"content-security-policy"]
    b"default-src 'none'; frame-ancestors 'none'"
    """
    policy = (b"content-security-policy", _OF_PAGES if page else _OF_DATA)
    return (*_HEADERS, policy, *([_UNDER_TLS] if tls else []))


class Exchange:
    """The answer to one request.

    Parameters
    ----------
    send : callable
        Takes the connection's messages.
    request_id : str
        Names the request.
    headers : tuple of (bytes, bytes)
        What every answer's head gets.

    Examples
    --------
    >>> import asyncio
    >>> async def send(message):
    ...     print(message.get("status", message.get("body")))
    >>> exchange = Exchange(send, "r1", ())
    >>> asyncio.run(exchange.send({"type": "http.response.start", "status": 500, "headers": []}))
    >>> asyncio.run(exchange.end())
    500
    b'{"type":"about:blank","title":"The service failed",...,"request_id":"r1"}'
    False
    """

    __slots__ = ("_dropped", "_headers", "_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        self._dropped = False
        self.request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        if message["type"] == "http.response.start":
            status: int = message["status"]
            if status == _FAILED.status:
                self._dropped = True
            else:
                self.status = status
                named = (b"x-request-id", self.request_id.encode())
                message["headers"] = [*message.get("headers", ()), *self._headers, named]
        if not self._dropped:
            await self._send(message)

    async def end(self) -> bool:
        """The application has nothing more to say; False where a problem was sent in place of what it said."""
        if self._dropped:
            await self.refuse(_FAILED, {})
        return not self._dropped

    async def fail(self) -> None:
        """The application broke down. An answer that has begun is left as it is: the server then hangs up."""
        if not self.status:
            await self.refuse(_FAILED, {})

    async def refuse(self, failure: Failure, headers: Mapping[str, str]) -> None:
        """Answer with a problem in place of the application."""
        body = failure.body(self.request_id)
        lines = {**failure.headers, **headers, "content-length": str(len(body))}
        self.status = failure.status
        named = (b"x-request-id", self.request_id.encode())
        head = [*((name.encode(), text.encode()) for name, text in lines.items()), *self._headers, named]
        await self._send({"type": "http.response.start", "status": failure.status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})
