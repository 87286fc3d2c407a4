"""Worker processes that share a port: started, watched over, replaced, and told to stop.

Enters: a factory of the application and the `[serve]` settings. Leaves: nothing; the call ends when the service was
told to stop. Invariant: while it runs there are `workers` processes that answer, or are being started, and none of them
outlives it.

A worker that dies is replaced at once; one that dies soon after its start is replaced after a pause that doubles, so
that a defect does not keep a machine busy. Where a worker cannot even start the first time, the service does not.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from tenure.core.errors import StateError, TenureError
from tenure.core.settings import ServeSettings
from tenure.serve.listen import Tls, bind, url_of
from tenure.serve.logs import logging_as_json
from tenure.serve.series import forget_worker, shared_counts
from tenure.serve.worker import FINISH_SECONDS, READY, AppFactory, Job, work

__all__ = ["AppFactory", "Running", "Tls", "serve"]

STOPPING = (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
STEADY_SECONDS = 10.0  # a worker that lived longer is replaced without a pause
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 30.0
LEAVE_SECONDS = 10.0  # beyond draining and finishing; a worker that needs longer hangs

_log = logging.getLogger("tenure.serve")
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Running:
    """A service that answers.

    Parameters
    ----------
    url : str
        Where; with the port that was free if none was chosen.
    workers : int
        Processes that answer.
    """

    url: str
    workers: int


@dataclass
class _Worker:
    """A place among the workers, and the process that fills it, if one does."""

    place: int
    process: SpawnProcess | None = None
    pipe: Connection | None = None
    is_ready: bool = False
    since: float = 0.0
    pause: float = 0.0
    error: TenureError | None = None
    watched: list[int | Connection] = field(default_factory=list)


def serve(
    app_factory: AppFactory,
    settings: ServeSettings,
    tls: Tls | None = None,
    *,
    keyed: bool,
    ready: Callable[[Running], object] | None = None,
) -> None:
    """Answer until SIGTERM, SIGINT or SIGHUP; a second SIGINT ends what is being answered.

    Has to be called in the main thread. Log lines go to standard error.

    Parameters
    ----------
    app_factory : callable
        Makes the application in every worker: a function of a module, found there by its name. It may answer a context
        manager of the application, which is left when the worker stops.
    settings : ServeSettings
        Host, port, number of workers and how long to drain.
    tls : Tls or None
        The certificate; without it connections are not encrypted.
    keyed : bool
        Whether callers have to show a key; without, only loopback addresses are listened on.
    ready : callable, optional
        Called once, when every worker answers.

    Raises
    ------
    InputError
        The address cannot be listened on, or others could reach it while there are no keys; the certificate is none.
    TenureError
        What the factory raised in a worker that could not start.
    StateError
        A worker ended while it started, without saying why.

    Examples
    --------
    >>> serve(lambda: None, ServeSettings(host="0.0.0.0"), keyed=False)
    Traceback (most recent call last):
    tenure.core.errors.InputError: 0.0.0.0 can be reached by others, and there is no key that they would have to show.
    → Make one with `tenure keys create NAME --role score`, or listen on 127.0.0.1.
    """
    if tls is not None:
        tls.context()
    with (
        logging_as_json(),
        bind(settings.host, settings.port, keyed=keyed) as listener,
        shared_counts() as folder,
        _signals() as told,
    ):
        job = Job(app_factory, settings.drain_seconds, tls)
        crew = _Crew(job, settings.workers, listener, folder, told)
        running = Running(url_of(listener, tls=tls is not None), settings.workers)
        _log.info("Starting.", extra={"address": running.url, "count": running.workers})
        crew.run(partial(_tell, running, ready))


def _tell(running: Running, ready: Callable[[Running], object] | None) -> None:
    _log.info("Ready.", extra={"address": running.url, "count": running.workers})
    if ready is not None:
        ready(running)


class _Told:
    """Which signals came; readable where one did, so that waiting for processes ends."""

    def __init__(self, wake: socket.socket) -> None:
        self.wake = wake
        self.numbers: list[int] = []

    def hear(self, number: int, _frame: FrameType | None) -> None:
        self.numbers.append(number)

    def clear(self) -> None:
        """Forget that something was to be read; `numbers` stay."""
        try:
            self.wake.recv(4096)
        except BlockingIOError:
            return


@contextmanager
def _signals() -> Iterator[_Told]:
    with ExitStack() as stack:
        reader, writer = (stack.enter_context(end) for end in socket.socketpair())
        reader.setblocking(False)
        writer.setblocking(False)
        told = _Told(reader)
        before = {number: signal.signal(number, told.hear) for number in STOPPING}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)


class _Crew:
    """The workers of a service."""

    def __init__(self, job: Job, workers: int, listener: socket.socket, folder: Path, told: _Told) -> None:
        self._job = job
        self._listener = listener
        self._folder = folder
        self._told = told
        self._workers = [_Worker(place) for place in range(workers)]
        self._is_steady = False

    def run(self, ready: Callable[[], object]) -> None:
        """Start everybody, replace who dies, and stop everybody at the end, whatever the end is."""
        try:
            for worker in self._workers:
                self._start(worker)
            while not self._told.numbers:
                self._look(ready)
            if not self._is_steady:
                _log.info("Told to stop before it was ready.")
        finally:
            self._stop()

    def _look(self, ready: Callable[[], object]) -> None:
        """Wait until something happens, and see to it."""
        self._wait(self._workers, self._until_next_start())
        for worker in self._workers:
            self._listen_to(worker)
            if worker.process is not None and not worker.process.is_alive():
                self._bury(worker)
            if worker.process is None and time.monotonic() >= worker.since + worker.pause and not self._told.numbers:
                self._start(worker)
        if not self._is_steady and all(worker.is_ready for worker in self._workers):
            self._is_steady = True
            ready()

    def _until_next_start(self) -> float | None:
        waits = [worker.since + worker.pause for worker in self._workers if worker.process is None]
        return max(min(waits) - time.monotonic(), 0.0) if waits else None

    def _wait(self, workers: Sequence[_Worker], seconds: float | None) -> None:
        watched = [thing for worker in workers for thing in worker.watched]
        connection.wait([self._told.wake, *watched], seconds)
        self._told.clear()

    def _start(self, worker: _Worker) -> None:
        forget_worker(worker.place, self._folder)
        pipe, theirs = _spawn.Pipe()
        worker.process = _spawn.Process(
            target=work, args=(worker.place, self._job, self._listener, theirs), name=f"tenure-worker-{worker.place}"
        )
        worker.process.start()
        theirs.close()
        worker.pipe, worker.is_ready, worker.since, worker.error = pipe, False, time.monotonic(), None
        worker.watched = [worker.process.sentinel, pipe]

    def _listen_to(self, worker: _Worker) -> None:
        """Take what a worker says: that it answers, or why it cannot."""
        while worker.pipe is not None and worker.pipe in worker.watched and worker.pipe.poll():
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):  # it has gone, or is about to
                worker.watched.remove(worker.pipe)
                return
            if said == READY:
                worker.is_ready = True
                _log.info("A worker answers.", extra={"worker": worker.place})
            else:
                worker.error = said

    def _bury(self, worker: _Worker) -> None:
        """See to a process that has ended: the service ends if it has not begun, else another one takes its place."""
        code = worker.process.exitcode if worker.process else None
        lived = time.monotonic() - worker.since
        self._close(worker)
        if not self._is_steady:
            raise worker.error or StateError(
                f"A worker ended with exit code {code} while it started.",
                hint="Its last lines above say more; out of memory it is killed without a word.",
                exit_code=code,
            )
        steady = worker.is_ready and lived >= STEADY_SECONDS
        worker.pause = 0.0 if steady else min(max(worker.pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        worker.since, worker.is_ready = time.monotonic(), False
        reason = worker.error.code if worker.error else "died"
        _log.error("A worker ended.", extra={"worker": worker.place, "exit_code": code, "reason": reason})

    def _close(self, worker: _Worker) -> None:
        if worker.process is not None:
            worker.process.join()
            worker.process.close()
        if worker.pipe is not None:
            worker.pipe.close()
        worker.process, worker.pipe, worker.watched = None, None, []
        forget_worker(worker.place, self._folder)

    def _stop(self) -> None:
        """Tell everybody to leave, wait until they have, and end those who do not."""
        # The last worker that closes the socket ends it; were it open here, newcomers would wait for nobody.
        self._listener.close()
        heard = len(self._told.numbers)
        self._send(signal.SIGTERM)
        end = time.monotonic() + self._job.drain_seconds + FINISH_SECONDS + LEAVE_SECONDS
        while (left := [worker for worker in self._workers if worker.process is not None]) and time.monotonic() < end:
            self._wait(left, end - time.monotonic())
            if signal.SIGINT in self._told.numbers[heard:]:  # SIGTERM may come twice, from who tells a whole group
                heard = len(self._told.numbers)
                self._send(signal.SIGINT)
            for worker in left:
                self._listen_to(worker)
                if worker.process is not None and not worker.process.is_alive():
                    self._close(worker)
        for worker in self._workers:
            if worker.process is not None:
                _log.error("A worker did not leave and was ended.", extra={"worker": worker.place})
                worker.process.kill()
                self._close(worker)

    def _send(self, number: int) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)
