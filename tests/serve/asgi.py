"""A caller who speaks ASGI to an application in this process, and may do what no HTTP client would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Answered:
    """What an application answered; status 0 where it answered nothing."""

    status: int
    head: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask(
    app: App,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Sequence[bytes] = b"",
    **scope: Any,
) -> Answered:
    """Send one request, its body in as many messages as it has pieces, and wait for the answer."""
    return asyncio.run(asking(app, method, path, headers, body, **scope))


async def asking(
    app: App,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Sequence[bytes] = b"",
    **scope: Any,
) -> Answered:
    """As `ask`, inside a loop that runs already."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    sent: list[Message] = []
    come = iter(messages(pieces))

    async def receive() -> Message:
        message = next(come, None)
        if message is None:
            await asyncio.Event().wait()  # nothing more comes, and nobody hangs up
            raise AssertionError
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope_of(method, path, headers) | scope, receive, send)
    start: Message = next((m for m in sent if m["type"] == "http.response.start"), {"status": 0, "headers": ()})
    head = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answered(start["status"], head, b"".join(m.get("body", b"") for m in sent))


def messages(pieces: Sequence[bytes]) -> Iterable[Message]:
    for number, piece in enumerate(pieces, start=1):
        yield {"type": "http.request", "body": piece, "more_body": number < len(pieces)}


def scope_of(method: str, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The scope of a request as uvicorn makes it."""
    lines = {"host": "localhost:8000", **(headers or {})}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in lines.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }
