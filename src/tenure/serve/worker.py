"""One process that answers: it starts, says that it is ready, answers until it is told to stop, and leaves politely.

Enters: a listening socket, a factory of the application. Leaves: answers, and an exit code. Invariant: whoever has been
let in is answered, however the process is told to stop.

How a worker leaves
-------------------
SIGTERM, SIGINT and the end of the process that watches over it mean the same. For `drain_seconds` everything is
answered as before, but `/readyz` says 503, so that a load balancer sends nobody any more, and every answer closes its
connection, so that callers who stay connected come back elsewhere. Then newcomers are put off (`serve/listen.py`), the
queue of those who came before is emptied, and the socket closed. Connections on which nothing is asked are given a
moment in which a request that is on its way can arrive. What is being answered then is finished, for at most
`FINISH_SECONDS`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import NoReturn

import uvicorn

from tenure.core.errors import InputError, TenureError
from tenure.serve.gate import App, Receive, Scope, Send
from tenure.serve.head import LimitedProtocol
from tenure.serve.listen import Tls, has_newcomers, put_off_newcomers
from tenure.serve.logs import logging_as_json
from tenure.serve.series import take_place
from tenure.serve.service import CLOSING
from tenure.serve.tracing import opened_tracing

__all__ = ["READY", "AppFactory", "Door", "Job", "work"]

AppFactory = Callable[[], App | AbstractContextManager[App]]
"""Makes the application in the worker: a function of a module, since it is found there by its name. Where it answers a
context manager, that is left when the last request was answered."""
READY = "ready"
"""What a worker says once it answers; anything else that it says is the error for which it cannot."""
STOPPING = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
# Longer than the minute after which most proxies give an idle connection up: the one who closes should be the one who
# sends, for only they know that nothing is on its way.
KEEP_ALIVE_SECONDS = 75
FINISH_SECONDS = 30
SETTLE_SECONDS, SETTLE_AT_MOST = 0.2, 1.0
TICK_SECONDS = 0.02

_log = logging.getLogger("tenure.serve")
_CLOSE = (b"connection", b"close")


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Parameters
    ----------
    factory : callable
        Makes the application.
    drain_seconds : float
        How long everything is still answered once the worker was told to stop.
    tls : Tls or None
        The certificate, if connections are encrypted.
    """

    factory: AppFactory
    drain_seconds: float
    tls: Tls | None = None


class Door:
    """The application, which is told with every request whether the process is being stopped.

    It says itself that it is not ready any more, so that this answer is guarded and counted as all others are.

    Examples
    --------
    >>> async def app(scope, receive, send):
    ...     print(scope)
    >>> door = Door(app)
    >>> asyncio.run(door({"path": "/readyz"}, None, None))
    {'path': '/readyz'}
    >>> door.is_closing = True
    >>> asyncio.run(door({"path": "/readyz"}, None, None))
    {'path': '/readyz', 'tenure.closing': True}
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.is_closing = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Hand one connection on."""
        if self.is_closing:
            scope[CLOSING] = True
        return self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """uvicorn's server, with the leave that the head of this module describes."""

    def __init__(self, config: uvicorn.Config, door: Door, listener: socket.socket, job: Job) -> None:
        super().__init__(config)
        self._door = door
        self._listener = listener
        self._drain_seconds = job.drain_seconds
        self.told: Callable[[], None] = lambda: None

    def leave(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Stop as soon as possible."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.told()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("Told to stop; not ready any more.")
        self._say_goodbye()
        await self._go_on(self._drain_seconds)
        put_off_newcomers(self._listener)
        await self._take_up_newcomers()
        await self._settle()
        await super().shutdown(sockets)
        _log.info("Stopped.")

    def _say_goodbye(self) -> None:
        """Not ready from now on, and every answer that has not begun is the last of its connection."""
        self._door.is_closing = True
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers.append(_CLOSE)  # until the next tick, which makes them anew

    async def _go_on(self, seconds: float) -> None:
        until, ticks = time.monotonic() + seconds, 0
        while time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            await self.on_tick(ticks // 5)  # ten a second, as uvicorn counts; it renews the date

    async def _take_up_newcomers(self) -> None:
        """Empty the queue of the socket, and close it."""
        for _ in range(int(FINISH_SECONDS / TICK_SECONDS)):
            if self.force_exit or not has_newcomers(self._listener):
                break
            await asyncio.sleep(TICK_SECONDS)
        for server in self.servers:
            server.close()
        self._listener.close()

    async def _settle(self) -> None:
        """Wait until nobody has been connected for a moment, but not for those who stay without asking."""
        end = time.monotonic() + SETTLE_AT_MOST
        calm = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < min(end, calm) and not self.force_exit:
            await asyncio.sleep(TICK_SECONDS)
            if self.server_state.connections:
                calm = time.monotonic() + SETTLE_SECONDS


def _config(door: Door, job: Job) -> uvicorn.Config:
    tls = job.tls
    return uvicorn.Config(
        door,
        interface="asgi3",
        loop="auto" if sys.platform == "win32" else "uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.context(),
    )


def work(place: int, job: Job, listener: socket.socket, boss: Connection) -> None:
    """Answer until told to stop; the process ends with this call.

    Parameters
    ----------
    place : int
        Which of the workers this is, from 0.
    job : Job
        What it is to do.
    listener : socket
        Bound; shared by all workers.
    boss : Connection
        Takes `READY` or an error, and says by its end that nobody watches over this process any more.
    """
    take_place(place)
    for number in STOPPING:
        signal.signal(number, _leave)
    with logging_as_json(place):
        try:
            _answer(job, listener, boss)
        except TenureError as error:
            boss.send(type(error)(error.message, hint=error.hint))
            sys.exit(error.exit_code)
        except Exception:  # noqa: BLE001 - what escaped from here would be written with its message, whatever that says
            _log.critical("A worker failed.", exc_info=True)
            sys.exit(1)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Told to stop before there is anything to stop."""
    sys.exit(0)


def _answer(job: Job, listener: socket.socket, boss: Connection) -> None:
    with ExitStack() as stack:
        tracing = stack.enter_context(opened_tracing())
        made = job.factory()
        app: App = stack.enter_context(made) if isinstance(made, AbstractContextManager) else made
        stack.enter_context(_settled_memory())
        door = Door(app if tracing is None else tracing.app(app))
        server = _Server(_config(door, job), door, listener, job)
        server.told = partial(boss.send, READY)
        # Until uvicorn listens for signals, and once more after it has stopped for one and passes it on.
        for number in STOPPING:
            signal.signal(number, server.leave)
        threading.Thread(target=_watch, args=(boss, server), name="boss", daemon=True).start()
        try:
            server.run([listener])
        except OSError as error:
            raise InputError(
                f"The address cannot be listened on: {error.strerror or error}.",
                hint="Another service may have taken the port in between; stop it, or choose another port.",
            ) from error


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Leave what is here for good out of the search for garbage, which would take a fifth of a second each time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _watch(boss: Connection, server: _Server) -> None:
    """Leave when nobody watches over this process any more: it would hold the port, and nobody would replace it."""
    try:
        boss.recv()
    except (EOFError, OSError):
        _log.warning("The process that watches over the workers has gone.")
    server.leave()
