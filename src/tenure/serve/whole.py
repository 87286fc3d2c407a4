"""An answer's head leaves with its body, in one piece.

Enters: what a server writes to a connection: a head, then a body. Leaves: the same bytes in the same order. Invariant:
a head waits for its body alone, and no longer than until the answer is complete or the connection is closed.

uvicorn writes the head for itself, which makes two system calls and two packets of every small answer: a twentieth of
what a look-up costs.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

__all__ = ["WholeAnswers"]

_END_OF_HEAD: Final = b"\r\n\r\n"
_GO_ON: Final = b"HTTP/1.1 100 "  # asks for a body, which comes only then


class WholeAnswers:
    r"""A transport that keeps the head of an answer until its body is written; all else is the transport's own.

    Parameters
    ----------
    transport : asyncio.Transport
        The connection.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> connection = WholeAnswers(SimpleNamespace(write=print))
    >>> connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
    >>> connection.write(b"{}")
    b'HTTP/1.1 200 OK\r\n\r\n{}'
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write a head with what is written next, and anything else at once."""
        if data.endswith(_END_OF_HEAD) and not self._head and not data.startswith(_GO_ON):
            self._head = data
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def complete(self) -> None:
        """Write a head that no body has followed."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close the connection once everything is written."""
        self.complete()
        self._transport.close()
