"""Lines are JSON, and none says whom a request was about."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.lifespan.on import LifespanOn

from tenure.core.errors import NotFoundError
from tenure.serve.gate import Finished
from tenure.serve.logs import RequestLog, logging_as_json
from tests.architecture.tree import ROOT

SECRET = "c-4711-secret"  # noqa: S105
TOKEN = "tenure_0123456789ab_" + "x" * 43


def fail(error: Exception) -> None:
    raise error


def logged(error: Exception) -> None:
    try:
        try:
            fail(KeyError(SECRET))
        except KeyError as cause:
            raise error from cause
    except type(error):
        logging.getLogger("tenure.serve").exception("A request failed.")


def in_thread() -> None:
    thread = threading.Thread(target=fail, args=(ValueError(SECRET),))
    thread.start()
    thread.join()


ours, theirs, asgi = (logging.getLogger(name) for name in ("tenure.serve", "redis.connection", "uvicorn.error"))
LEAKS: list[Callable[[], object]] = [
    lambda: ours.warning("Refused %s of %d.", SECRET, 3),
    lambda: ours.warning("Refused %(customer)s.", {"customer": SECRET}),
    lambda: ours.info("Known fields only.", extra={"customer_id": SECRET, "body": SECRET, "version": "v1"}),
    lambda: ours.info("A key came.", extra={"reason": f"with {TOKEN}"}),
    lambda: ours.info("A value of no kind.", extra={"reason": ValueError(SECRET)}),
    lambda: ours.error(ValueError(SECRET)),
    lambda: theirs.error("GET %s failed", SECRET),
    lambda: theirs.error("GET " + SECRET),
    lambda: asgi.error("Refused %s", SECRET),
    lambda: logging.getLogger().error(SECRET),
    lambda: logged(NotFoundError(f"No customer {SECRET!r}.", customer_id=SECRET)),
    lambda: logged(ValueError(SECRET)),
    lambda: warnings.warn(SECRET, UserWarning, stacklevel=1),
    in_thread,
    lambda: sys.excepthook(LookupError, LookupError(SECRET), None),
]


def main() -> None:
    """What a worker may come to say: run in a process of its own, for what it says goes to standard error."""
    warnings.simplefilter("always")
    with logging_as_json(3):
        for leak in LEAKS:
            leak()
        log = RequestLog()
        log.finished(Finished(SECRET, "", 404, 0.001, None, TOKEN))
        log.finished(Finished("POST", "/v1/scores", 500, 0.25, "0123456789ab", "mine-1"))
        log.close()


def test_no_line_names_a_customer_or_shows_a_token() -> None:
    command = [sys.executable, "-m", "tests.serve.test_logs"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TENURE_WORKER": "3"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert len(lines) == len(LEAKS) + 2
    assert SECRET not in ended.stderr
    assert "4711" not in ended.stderr
    assert "xxxxxxxx" not in ended.stderr
    assert {line["worker"] for line in lines} == {3}
    assert lines[0]["message"] == "Refused … of 3."
    assert (lines[2]["version"], lines[2].keys() & {"customer_id", "body"}) == ("v1", set())
    refused = lines[10]
    assert (refused["error"], refused["causes"]) == ("not_found", ["KeyError"])
    assert [place.partition(" ")[2] for place in refused["where"]] == ["logged"]
    (uncaught,) = (line for line in lines if line.get("error") == "LookupError")
    assert uncaught["level"] == "CRITICAL"
    nobody, failed = (line for line in lines if line["message"] == "request")
    assert (nobody["method"], nobody["route"], nobody["status"]) == ("OTHER", "(none)", 404)
    assert failed["level"] == "ERROR"
    assert {name: failed[name] for name in ("request_id", "method", "route", "status", "seconds", "key_id")} == {
        "request_id": "mine-1",
        "method": "POST",
        "route": "/v1/scores",
        "status": 500,
        "seconds": 0.25,
        "key_id": "0123456789ab",
    }


def test_loggers_are_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook
    with logging_as_json():
        ours.info("Inside.")
    assert (root.handlers[:], root.level, sys.excepthook) == before
    assert json.loads(capsys.readouterr().err)["message"] == "Inside."


@pytest.fixture
def set_up_elsewhere() -> Iterator[logging.Logger]:
    """uvicorn's loggers as uvicorn sets them up for a program that does not say otherwise, and tenure's as muted."""
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "tenure.serve")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.level, one.handlers[:], one.propagate, one.disabled) for one in loggers]
    uvicorn.Config("module:app", log_level="critical")
    ours.disabled = True
    yield logging.getLogger("uvicorn")
    for logger, level, handlers, propagate, disabled in before:
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


def test_loggers_that_a_program_has_set_up_write_json_too(
    set_up_elsewhere: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set_up_elsewhere.handlers[:]
    assert before
    with logging_as_json():
        asgi.error("Application startup failed. Exiting.")
        ours.info("Inside.")
    told = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert told == ["Application startup failed. Exiting.", "Inside."]
    assert (set_up_elsewhere.handlers, set_up_elsewhere.propagate, asgi.level) == (before, False, logging.CRITICAL)
    assert ours.disabled


@pytest.mark.parametrize("when", ["startup", "shutdown"])
def test_an_application_that_fails_in_its_lifespan_is_told_by_kind_and_place(
    when: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if when == "startup":
            fail(LookupError(SECRET))
        yield
        fail(LookupError(SECRET))

    async def live() -> None:
        life = LifespanOn(uvicorn.Config(FastAPI(lifespan=lifespan), log_config=None))
        await life.startup()
        if not life.should_exit:
            await life.shutdown()

    with logging_as_json():
        asyncio.run(live())
    written = capsys.readouterr().err
    assert SECRET not in written
    told, ended = (json.loads(line) for line in written.splitlines())
    assert told["message"] == "The application failed while it began or ended."
    assert told["error"] == "LookupError"
    assert [place.partition(" ")[2] for place in told["where"]][-2:] == ["lifespan", "fail"]
    assert ended["message"] == f"Application {when} failed. Exiting."


def test_lines_that_cannot_be_written_are_counted() -> None:
    written: list[bytes] = []
    log = RequestLog(written.append, most=10, every_seconds=3600)
    for n in range(25):
        log.finished(Finished("GET", "/livez", 200, 0.001, None, f"r{n}"))
    log.close()
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert [line.get("request_id") for line in lines] == [f"r{n}" for n in range(10)] + [None]
    assert (lines[-1]["count"], lines[-1]["level"]) == (15, "WARNING")


class Interrupted(list[Any]):
    """A list that waits, flushed by another thread just before something is added."""

    def __init__(self, log: RequestLog) -> None:
        super().__init__()
        self._log = log

    def append(self, item: Any) -> None:
        self._log.flush()
        super().append(item)


class Overtaken(int):
    """A count, told by another thread just before one is added."""

    log: RequestLog

    def __add__(self, more: int) -> int:
        self.log.flush()
        return int(self) + more


def test_a_line_that_comes_while_others_are_written_is_not_lost() -> None:
    written: list[bytes] = []
    log = RequestLog(written.append, every_seconds=3600)
    log._waiting = Interrupted(log)
    for n in range(3):
        log.finished(Finished("GET", "/livez", 200, 0.001, None, f"r{n}"))
    log.close()
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == ["r0", "r1", "r2"]


def test_a_line_that_is_left_out_while_others_are_written_is_counted_once() -> None:
    written: list[bytes] = []
    log = RequestLog(written.append, most=0, every_seconds=3600)
    for count in range(2):
        log._not_kept = Overtaken(count)
        log._not_kept.log = log
        log.finished(Finished("GET", "/livez", 200, 0.001, None, "r"))
    log.close()
    assert sum(json.loads(line)["count"] for line in b"".join(written).splitlines()) == 2


def test_lines_are_written_whole() -> None:
    written: list[bytes] = []
    log = RequestLog(written.append, every_seconds=3600)
    for n in range(500):
        log.finished(Finished("GET", "/v1/score/{customer_id}", 200, 0.001, "0123456789ab", f"r{n}"))
    log.close()
    assert len(written) > 10
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in written)
    assert sum(piece.count(b"\n") for piece in written) == 500


if __name__ == "__main__":
    main()


def test_what_went_well_is_sampled_and_everything_else_is_written() -> None:
    written: list[bytes] = []
    log = RequestLog(written.append, share=0.25, every_seconds=3600)
    for number in range(8):
        log.finished(Finished("GET", "/v1/score/{customer_id}", 200, 0.001, None, f"well{number}"))
    log.finished(Finished("GET", "/v1/score/{customer_id}", 404, 0.001, None, "refused"))
    log.finished(Finished("GET", "/v1/score/{customer_id}", 200, 1.5, None, "slow"))
    log.finished(Finished("GET", "/v1/score/{customer_id}", 500, 0.001, None, "failed"))
    log.close()
    told = [json.loads(line)["request_id"] for line in b"".join(written).splitlines()]
    assert told == ["well3", "well7", "refused", "slow", "failed"]
