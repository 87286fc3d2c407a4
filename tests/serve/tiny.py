"""The smallest service that runs as the real one does: counts, logs, and ways to be slow, to fail and to die.

Run it as `python -m tests.serve.tiny '{"workers": 2}'`: a line of JSON on standard output says where it answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from tenure.core.errors import ConfigError, TenureError
from tenure.core.settings import ServeSettings
from tenure.serve.gate import App, Finished, Receive, Scope, Send
from tenure.serve.logs import RequestLog
from tenure.serve.metrics import Metrics
from tenure.serve.run import Running, Tls, serve
from tenure.serve.service import CLOSING

SPOILED = "TENURE_TEST_SPOILED"


@contextmanager
def make_app() -> Iterator[App]:
    """What every worker answers with; says on standard error that it was left."""
    if os.environ.get(SPOILED) == "refused":
        raise ConfigError("The version is spoiled.", hint="Train another one.")
    if os.environ.get(SPOILED) == "dead":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get(SPOILED) == "slow":
        logging.getLogger("tenure.serve").info("It takes its time.")
        time.sleep(600.0)
    metrics, log = Metrics(), RequestLog()
    metrics.serves(f"v{os.getpid()}", "champion")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        since = perf_counter()
        metrics.began()
        status = 503 if scope["path"] == "/readyz" and CLOSING in scope else 200
        try:
            body = await answer(scope, receive, metrics)
            length = (b"content-length", str(len(body)).encode())
            await send({"type": "http.response.start", "status": status, "headers": [length]})
            await send({"type": "http.response.body", "body": body})
        finally:
            done = Finished(scope["method"], scope["path"], status, perf_counter() - since, None, "r1")
            metrics.finished(done)
            log.finished(done)
            metrics.ended()

    yield app
    log.close()
    logging.getLogger("tenure.serve").info("The application was closed.")


async def live(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


async def answer(scope: Scope, receive: Receive, metrics: Metrics) -> bytes:
    path: str = scope["path"]
    if path == "/metrics":
        return metrics.text()
    if path == "/slow":
        await asyncio.sleep(0.03)
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/fail":
        raise LookupError(f"no customer {scope['query_string']!r}")
    if scope["method"] == "POST":
        return bytes((await receive())["body"])
    return str(os.getpid()).encode()


def tell(running: Running) -> None:
    say({"url": running.url, "pid": os.getpid()})


def say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main(told: dict[str, Any]) -> int:
    tls = Tls(Path(told["cert"]), Path(told["key"])) if "cert" in told else None
    settings = ServeSettings.model_validate(
        {"port": 0, "drain_seconds": 0.5} | {name: told[name] for name in told.keys() - {"cert", "key", "keyed"}}
    )
    try:
        serve(make_app, settings, tls, keyed=told.get("keyed", False), ready=tell)
    except TenureError as error:
        say({"code": error.code, "message": str(error)})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
