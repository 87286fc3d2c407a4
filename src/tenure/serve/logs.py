"""What the service says about itself: one JSON object a line, on standard error.

Enters: answered requests, and the records that tenure's and other packages' loggers make. Leaves: lines with the fields
of `FIELDS` and no others. Invariant: a line never holds a customer's id, a token, a query or a body.

How that is kept
----------------
Nobody can tell from a text whether it holds a customer's id, so what callers or data had a part in is never written:

- A request is written as its method, its route's template and its status; never its path.
- Tenure's loggers say fixed words; what varies comes in the fields of `FIELDS`, by name, and every other is left out.
  Texts that are formatted into the words are replaced by `…`, numbers are not.
- Of an exception its kind and the places that it passed are written, never its message: "no customer 'c100'" is one.
- Other packages compose their messages as they like, so of them only the logger's name and the level are written,
  except uvicorn's, whose words are fixed; where it passes on what an application failed with, the failure's kind and
  places are written instead.
- Whatever looks like an API key is blackened in every line, last of all.

A request id is written as the caller chose it, for it is there to be found again: callers are told to make it up.

Requests are written together, a few times a second, for a system call each would cost more than many of the answers.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tenure.core.errors import TenureError
from tenure.serve.gate import Finished
from tenure.serve.metrics import METHODS, NOT_KNOWN
from tenure.serve.series import this_place

__all__ = ["FIELDS", "JsonLines", "RequestLog", "logging_as_json"]

FIELDS = (
    "request_id",
    "method",
    "route",
    "status",
    "seconds",
    "key_id",
    "address",
    "alias",
    "count",
    "dependency",
    "exit_code",
    "reason",
    "state",
    "version",
    "worker",
)
"""Names of the values that a record may carry: `logger.info("A version serves.", extra={"version": "v2"})`."""
TOKEN = re.compile(r"tenure_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}")
HIDDEN = "…"
ATOMIC_BYTES = 4096  # a pipe takes this much at once, without lines of other processes in between
REFUSED, FAILURE = 400, 500
SLOW_SECONDS = 1.0
LEVELS = {"root": logging.WARNING, "tenure": logging.INFO, "uvicorn": logging.WARNING}
FRAMES = 20
_Setup = tuple[int, list[logging.Handler], bool, bool]

# Made once: `json.dumps` makes an encoder for every call that wants anything out of the ordinary.
_encode = json.JSONEncoder(ensure_ascii=False, default=lambda value: type(value).__name__).encode


def _line(fields: dict[str, Any]) -> str:
    """One line of JSON, without anything that looks like a token."""
    return TOKEN.sub(HIDDEN, _encode(fields))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(logging.Formatter):
    """Writes a record as a line of JSON.

    Parameters
    ----------
    worker : int or None
        Which worker writes; None for the process that watches over them.

    Examples
    --------
    >>> record = logging.LogRecord("tenure.serve", logging.INFO, "", 0, "%d of %s", (3, "c100"), None)
    >>> json.loads(JsonLines(None).format(record))["message"]
    '3 of …'
    """

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Write the fixed words and the known fields, and nothing else."""
        fields = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _words(record),
            **self._worker,
            **{name: record.__dict__[name] for name in FIELDS if name in record.__dict__},
        }
        error = record.exc_info[1] if record.exc_info else _passed_on(record)
        if error is not None:
            fields |= _of_exception(error)
        return _line(fields)


def _words(record: logging.LogRecord) -> str:
    top = record.name.partition(".")[0]
    if top not in {"tenure", "uvicorn"} or not isinstance(record.msg, str):
        return HIDDEN
    if _is_passed_on(record):
        return "The application failed while it began or ended."
    if not record.args:
        return record.msg.strip()
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    try:
        return record.msg % tuple(value if isinstance(value, int | float) else HIDDEN for value in arguments)
    except (TypeError, ValueError):
        return record.msg


def _is_passed_on(record: logging.LogRecord) -> bool:
    """Whether a record's words are an application's own: of its lifespan, whose failure it tells as a whole trace."""
    return record.name.startswith("uvicorn") and record.module == "on" and record.funcName == "send"


def _passed_on(record: logging.LogRecord) -> BaseException | None:
    """The exception with which a lifespan ends: it is being handled while uvicorn writes what it was told of it."""
    return sys.exc_info()[1] if _is_passed_on(record) else None


def _of_exception(error: BaseException) -> dict[str, Any]:
    """The kinds of an exception and of its causes, and where it passed: frames as `module:line function`."""
    kinds: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < FRAMES:
        kinds.append(cause.code if isinstance(cause, TenureError) else type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return {"error": kinds[0], "causes": kinds[1:], "where": _frames(error.__traceback__)}


def _frames(trace: TracebackType | None) -> list[str]:
    return [
        f"{frame.f_globals.get('__name__', HIDDEN)}:{line} {frame.f_code.co_name}"
        for frame, line in list(traceback.walk_tb(trace))[-FRAMES:]
    ]


@contextmanager
def logging_as_json(worker: int | None = None) -> Iterator[None]:
    """Let every logger of this process write JSON lines on standard error, and what nobody caught as well.

    Parameters
    ----------
    worker : int or None
        As of `JsonLines`.

    Examples
    --------
    >>> with logging_as_json(0):
    ...     type(logging.getLogger().handlers[0].formatter).__name__
    'JsonLines'
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker))
    hooks = sys.excepthook, threading.excepthook
    before = [(logger, _setup(logger)) for logger in _loggers()]
    for logger, _ in before:
        _set_up(logger, (LEVELS.get(logger.name, logging.NOTSET), [], True, False))
    logging.getLogger().handlers[:] = [handler]
    logging.captureWarnings(capture=True)
    sys.excepthook, threading.excepthook = _uncaught, _uncaught_in_thread
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for logger, setup in before:
            _set_up(logger, setup)
        sys.excepthook, threading.excepthook = hooks


def _loggers() -> list[logging.Logger]:
    """The root, and all of tenure's and uvicorn's: a program may have given these handlers and levels of their own."""
    top = [logging.getLogger(name) for name in LEVELS]
    known = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    return top + [one for one in known if one not in top and one.name.partition(".")[0] in LEVELS]


def _setup(logger: logging.Logger) -> _Setup:
    return logger.level, logger.handlers[:], logger.propagate, logger.disabled


def _set_up(logger: logging.Logger, setup: _Setup) -> None:
    level, logger.handlers[:], logger.propagate, logger.disabled = setup
    logger.setLevel(level)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("tenure.serve").critical("Nobody caught this.", exc_info=(kind, error, trace))


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


class RequestLog:
    """Writes lines of answered requests, together with those of the same moment.

    A request that failed, was refused or took `SLOW_SECONDS` always has a line. Of the others, which metrics count all,
    as many have one as they are told to: to write a line costs a tenth of what it costs to answer.

    Parameters
    ----------
    share : float
        Of the requests that went well and quickly, how many have a line; they are taken at even distances.
    write : callable, optional
        Takes whole lines as bytes; by default they go to standard error.
    every_seconds : float
        How long a line waits at most.
    most : int
        Lines that may wait; where standard error takes none, more are counted instead of kept.

    Examples
    --------
    >>> lines: list[bytes] = []
    >>> log = RequestLog(lines.append)
    >>> log.finished(Finished("GET", "/v1/score/{customer_id}", 200, 0.0021, "k1", "r1"))
    >>> log.close()
    >>> [json.loads(lines[0])[name] for name in ("level", "request_id", "route", "seconds")]
    ['INFO', 'r1', '/v1/score/{customer_id}', 0.0021]
    """

    def __init__(
        self,
        write: Callable[[bytes], object] | None = None,
        *,
        share: float = 1.0,
        every_seconds: float = 0.2,
        most: int = 20_000,
    ) -> None:
        place = this_place()
        self._worker = {} if place is None else {"worker": place}
        self._write = write or _to_standard_error
        self._most = most
        self._share, self._due = share, 0.0
        self._waiting: list[tuple[float, Finished]] = []
        self._not_kept = self._told_not_kept = 0
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(every_seconds,), name="request-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def finished(self, request: Finished) -> None:
        """A request was answered."""
        if request.status < REFUSED and request.seconds < SLOW_SECONDS:
            self._due += self._share
            if self._due < 1.0:
                return
            self._due -= 1.0
        if len(self._waiting) < self._most:
            self._waiting.append((time.time(), request))
        else:
            self._not_kept += 1

    def flush(self) -> None:
        """Write what waits."""
        with self._turn:
            # `finished` takes no lock and may be anywhere: the list stays the one that it has, and its count its own.
            waiting = self._waiting[:]
            del self._waiting[: len(waiting)]
            not_kept = self._not_kept - self._told_not_kept
            self._told_not_kept += not_kept
            lines = [self._told(when, request) for when, request in waiting]
            if not_kept:
                words = "Requests were answered faster than their lines could be written."
                lines.append(_line(self._head(time.time(), "WARNING", words) | {"count": not_kept}))
            for piece in _pieces(lines):
                self._write(piece)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._closed.set()
        self._thread.join()
        self.flush()
        atexit.unregister(self.close)

    def _run(self, every_seconds: float) -> None:
        while not self._closed.wait(every_seconds):
            self.flush()

    def _told(self, when: float, request: Finished) -> str:
        return _line(
            self._head(when, "ERROR" if request.status >= FAILURE else "INFO", "request")
            | {
                "request_id": request.request_id,
                "method": request.method if request.method in METHODS else "OTHER",
                "route": request.template or NOT_KNOWN,
                "status": request.status,
                "seconds": round(request.seconds, 6),
                "key_id": request.key_id,
            }
        )

    def _head(self, when: float, level: str, words: str) -> dict[str, Any]:
        return {
            "time": _time(when),
            "level": level,
            "logger": "tenure.serve.requests",
            "message": words,
            **self._worker,
        }


def _pieces(lines: Sequence[str]) -> Iterable[bytes]:
    """Whole lines, as many as a pipe takes without mixing them with those of other processes."""
    piece = b""
    for line in lines:
        encoded = line.encode("utf-8", "replace") + b"\n"
        if piece and len(piece) + len(encoded) > ATOMIC_BYTES:
            yield piece
            piece = b""
        piece += encoded
    if piece:
        yield piece


def _to_standard_error(piece: bytes) -> None:
    while piece:
        piece = piece[os.write(2, piece) :]
