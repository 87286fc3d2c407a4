"""An application on a socket of this machine, in a thread of this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

from tenure.serve.head import LimitedProtocol

__all__ = ["listening"]

PATIENCE_SECONDS = 60.0  # a guard against hangs


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an application as the service's workers do; where it is."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, loop="uvloop", http=LimitedProtocol, log_config=None, access_log=False)
    )
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE_SECONDS
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
