"""A process that posts events to the small stream, and is killed on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Literal

from tests.serve.intakes import Wrapped, opened

__all__ = ["EVENTS", "Moment", "post"]

Moment = Literal["claimed", "appended", "answered"]
EVENTS: list[Any] = [
    {"type": "pay", "customer_id": "ana", "time": "2026-01-31T10:00:00Z", "id": "new", "amount": 4.0},
    {"type": "pay", "customer_id": "ana", "time": "soon", "id": "bad", "amount": 4.0},
]
"""One event that counts, and one that is refused."""


def post(folder: str, moment: Moment) -> None:
    """Post the events with the key `k`, and die after this much of it."""

    def die_if(reached: Moment) -> None:
        if reached == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(log: Any) -> Wrapped:
        return Wrapped(log, before=lambda: die_if("claimed"), after=lambda: die_if("appended"))

    with opened(Path(folder), wrap=wrap) as (intake, _):
        intake.submit(EVENTS, caller="shop", key="k", digest=b"d").result()
        die_if("answered")
