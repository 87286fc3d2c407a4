"""The gate: every request passes it before any route sees it, and every answer passes it on the way out.

Enters: an ASGI application, the policy, keys and limits. Leaves: an ASGI application. Invariant: what the policy does
not name never reaches the application, whatever is mounted there and however it was added; what reaches it has proved a
key with a role for it, keeps its rate, and brings a body that is whole, small, flat enough and of the right type.

Order of the checks, each before what costs more: the size of the head, the host (where no key protects the service),
the key, its rate, the route, the key's role, the type of the body, its size, its depth. Whoever shows no key learns
nothing but that: not which routes exist, nor what else is wrong with the request.

A service for which no key was ever made is open to this machine alone. It is started on loopback addresses only, and
should it listen elsewhere all the same, only connections that came to a loopback address are answered. A page in a
browser on this machine could still ask it, by a name of its own that it makes point at 127.0.0.1; so the name that was
asked for has to be the machine's own too.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from time import perf_counter
from typing import Any, Final, NamedTuple

from tenure.serve.body import Body, GoneError, RefusedError, check_depth
from tenure.serve.chance import random_bits
from tenure.serve.exchange import GONE, Exchange, headers_of
from tenure.serve.keys import Key, KeyRing
from tenure.serve.limits import Limiter
from tenure.serve.problem import Failure
from tenure.serve.roles import POLICY, PUBLIC, Policy, Routes, Site

__all__ = ["Admitted", "Finished", "Gate", "admitted"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Head = Mapping[bytes, bytes]

_log = logging.getLogger("tenure.serve")
_ADMITTED: Final = "tenure.admitted"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_TARGET_BYTES: Final = 8192
_HEADER_LINES: Final = 100
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_PAGES: Final = frozenset({"/docs"})

_NO_KEY: Final = Failure(
    401, "No key", "This needs an API key.", "Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    "authorization",
)  # fmt: skip
_WRONG_KEY: Final = Failure(
    401, "Unknown key", "The API key is not known, or was revoked.", "`tenure keys create` makes one.", "authorization"
)
_FORBIDDEN: Final = "The key may not do this"
_NOT_FOUND: Final = Failure(404, "Not found", "Nothing is here.", "Check the path.", "path")
_SEE_DOCS: Final = replace(_NOT_FOUND, hint="/docs shows what there is.")
_OTHER_METHOD: Final = "Method not allowed"
_NOT_HERE: Final = Failure(
    421, "Wrong host", "Without API keys only requests to this machine's own names are answered.",
    "Ask http://localhost or http://127.0.0.1, or make a key with `tenure keys create`.", "host",
)  # fmt: skip
_NOT_JSON: Final = Failure(
    415, "Not JSON", "The body has to be JSON.", "Send `Content-Type: application/json`.", "content-type"
)
_PACKED: Final = Failure(
    415, "Packed", "The body must not be packed.", "Leave Content-Encoding out.", "content-encoding"
)
_TOO_LONG: Final = Failure(414, "Too long", f"Path and query have more than {_TARGET_BYTES:,} bytes.", field="path")
_TOO_MANY: Final = Failure(
    431, "Too many headers", f"The request has more than {_HEADER_LINES} header lines.", field="headers"
)


class Admitted(NamedTuple):
    """What a route may know of a request that was let in.

    Parameters
    ----------
    request_id : str
        Names the request in answers and logs.
    key : Key or None
        Who asks; None where no key is needed.
    template : str
        The route, as the policy writes it.
    body : bytes
        All of the body.
    """

    request_id: str
    key: Key | None
    template: str
    body: bytes


class Finished(NamedTuple):
    """A request that is over, for metrics and logs: nothing here names a customer or holds a secret.

    Parameters
    ----------
    method : str
        As sent.
    template : str
        The route, as the policy writes it; empty where the policy names none.
    status : int
        What was answered; 499 where the caller hung up before.
    seconds : float
        From the request's head to the end of the answer.
    key_id : str or None
        Whose key was shown; None where none was needed or none was right.
    request_id : str
        As answered in `X-Request-Id`.
    """

    method: str
    template: str
    status: int
    seconds: float
    key_id: str | None
    request_id: str


def admitted(scope: Mapping[str, Any]) -> Admitted:
    """What the gate has found out about the request that an application is answering.

    Examples
    --------
    >>> admitted({"tenure.admitted": Admitted("r1", None, "/livez", b"")}).request_id
    'r1'
    """
    found: Admitted = scope[_ADMITTED]
    return found


class Gate:
    """An application behind the gate.

    Parameters
    ----------
    app : ASGI application
        What answers those who are let in.
    keys : KeyRing
        Who may come.
    limiter : Limiter
        How often.
    policy : mapping
        (method, path template) to the roles of which one is needed.
    tls : bool
        Whether the service is reached by TLS.
    began, ended : sequence of callables
        Called when a request comes and when it is over, whatever became of it.
    finished : sequence of callables
        Called with what became of it.

    Examples
    --------
    >>> import asyncio
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"alive"})
    >>> async def send(message):
    ...     pass
    >>> gate = Gate(app, keys=KeyRing(lambda: ()), limiter=Limiter(10), finished=[lambda done: print(done.status)])
    >>> scope = {"type": "http", "method": "GET", "path": "/livez", "headers": [(b"host", b"localhost")]}
    >>> asyncio.run(gate(scope, None, send))
    200
    >>> asyncio.run(gate({**scope, "path": "/admin"}, None, send))
    404
    """

    def __init__(
        self,
        app: App,
        *,
        keys: KeyRing,
        limiter: Limiter,
        policy: Policy = POLICY,
        tls: bool = False,
        began: Sequence[Callable[[], None]] = (),
        ended: Sequence[Callable[[], None]] = (),
        finished: Sequence[Callable[[Finished], None]] = (),
    ) -> None:
        self.app = app
        self._keys = keys
        self._limiter = limiter
        self._routes = Routes(policy)
        self._nothing = _SEE_DOCS if ("GET", "/docs") in policy else _NOT_FOUND
        self._body = Body()
        self._of_data, self._of_pages = headers_of(page=False, tls=tls), headers_of(page=True, tls=tls)
        self._began, self._ended, self._finished = tuple(began), tuple(ended), tuple(finished)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of any kind; websockets are refused, since no line of any policy is one."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        since = perf_counter()
        for call in self._began:
            call()
        head: Head = dict(scope["headers"])
        site = self._routes.find(_path(scope))
        visit = _Visit(scope["method"], site, _request_id(head.get(b"x-request-id")))
        headers = self._of_pages if visit.template in _PAGES else self._of_data
        exchange = Exchange(send, visit.request_id, headers)
        try:
            await self._let_in(visit, scope, head, receive, exchange)
        except RefusedError as refused:
            await exchange.refuse(refused.failure, refused.headers)
        except GoneError:
            exchange.status = GONE
        except Exception as error:  # noqa: BLE001 - the last place where a failure can still be answered
            _log_failure(error, visit)
            await exchange.fail()
        finally:
            self._end(visit, exchange.status or GONE, perf_counter() - since)

    async def _let_in(self, visit: _Visit, scope: Scope, head: Head, receive: Receive, exchange: Exchange) -> None:
        """Check everything that can be checked, and hand the request on."""
        self._check_head(scope, head)
        self._check_key(visit, head)
        body = b""
        if visit.method in _WITH_BODY:
            _check_type(head)
            body = await self._body.read(head, receive)
            check_depth(body)
            receive = _Given(body, receive)
        scope[_ADMITTED] = Admitted(visit.request_id, visit.key, visit.template, body)
        await self.app(scope, receive, exchange.send)
        if not await exchange.end():
            _log_failure(None, visit)

    def _check_head(self, scope: Scope, head: Head) -> None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > _TARGET_BYTES:
            raise RefusedError(_TOO_LONG)
        if len(scope["headers"]) > _HEADER_LINES:
            raise RefusedError(_TOO_MANY)
        if self._keys.is_open and not (_is_own_name(head.get(b"host", b"")) and _came_to_loopback(scope)):
            raise RefusedError(_NOT_HERE)

    def _check_key(self, visit: _Visit, head: Head) -> None:
        """Who asks, how often, and whether they may."""
        site, method = visit.site, visit.method
        is_listed = site is not None and method in site.needs
        need = site.needs[method] if site is not None and is_listed else frozenset()
        if need is PUBLIC:
            return
        if not self._keys.is_open:
            visit.key = key = self._prove(head)
            wait = self._limiter.take(key.id, key.rate)
            if wait:
                raise RefusedError(_too_often(wait))
        if site is None:
            raise RefusedError(self._nothing)
        if not is_listed:
            allow = ", ".join(sorted(site.needs))
            raise RefusedError(
                Failure(405, _OTHER_METHOD, f"Here only {allow} is answered.", field="method"), allow=allow
            )
        if visit.key is not None and not visit.key.may(need):
            roles = " or ".join(sorted(need | {"admin"}))
            hint = f"Ask with a key that has the role {roles}."
            detail = f"The key {visit.key.id} lacks the role."
            raise RefusedError(Failure(403, _FORBIDDEN, detail, hint, "authorization"))

    def _prove(self, head: Head) -> Key:
        token = _token(head)
        key = self._keys.find(token)
        if key is None:
            failure, extra = (_NO_KEY, "") if token is None else (_WRONG_KEY, ', error="invalid_token"')
            raise RefusedError(failure, **{"www-authenticate": f'Bearer realm="tenure"{extra}'})
        return key

    def _end(self, visit: _Visit, status: int, seconds: float) -> None:
        key_id = None if visit.key is None else visit.key.id
        done = Finished(visit.method, visit.template, status, seconds, key_id, visit.request_id)
        try:
            for tell in self._finished:
                tell(done)
        except Exception as error:  # noqa: BLE001 - the request was answered; who counts it cannot undo that
            _log_failure(error, visit)
        for call in self._ended:
            call()


class _Visit:
    """One request, as far as it is known."""

    __slots__ = ("key", "method", "request_id", "site", "template")

    def __init__(self, method: str, site: Site | None, request_id: str) -> None:
        self.method = method
        self.site = site
        self.template = "" if site is None else site.template
        self.request_id = request_id
        self.key: Key | None = None


class _Given:
    """A connection whose body was read already."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


def _path(scope: Scope) -> str:
    """The path as the application's own router will see it."""
    path: str = scope["path"]
    root = scope.get("root_path")
    return path.removeprefix(root) if root else path


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{random_bits():016x}{random_bits():016x}"


def _token(head: Head) -> str | None:
    """What is shown as a key; None where nothing is."""
    shown = head.get(b"authorization")
    if shown is not None and shown[:7].lower() == b"bearer ":
        shown = shown[7:].strip()
    else:  # where another scheme is named, for a proxy on the way for example, the key may still stand beside it
        shown = head.get(b"x-api-key", shown)
    return None if shown is None else shown.decode("latin-1")


def _check_type(head: Head) -> None:
    given = head.get(b"content-type", b"")
    if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(_NOT_JSON)
    if head.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RefusedError(_PACKED)


@lru_cache(maxsize=256)
def _is_own_name(host: bytes) -> bool:
    """Whether a Host header names this machine and nothing that somebody else could make point here."""
    text = host.decode("latin-1").lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _came_to_loopback(scope: Scope) -> bool:
    """Whether a connection was made to this machine's own address; one over a Unix socket names none."""
    server = scope.get("server")
    return server is None or server[1] is None or _is_own_name(_host_of(server[0]))


@lru_cache(maxsize=64)
def _host_of(address: str) -> bytes:
    return (f"[{address}]" if ":" in address else address).encode()


def _too_often(wait_seconds: float) -> Failure:
    seconds = max(math.ceil(wait_seconds), 1)
    hint = f"Try again in {seconds} s, or send several at once to /v1/scores."
    return Failure(429, "Too many requests", "The key asks more often than its rate allows.", hint, None, seconds)


def _log_failure(error: Exception | None, visit: _Visit) -> None:
    fields = {"request_id": visit.request_id, "method": visit.method, "route": visit.template}
    _log.error("A request failed.", exc_info=error, extra=fields)
