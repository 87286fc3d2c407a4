"""What the killed process does: score a snapshot, then publish the scores, and end at once when it is told to.

A deed is anything that changes what another process could see: a file or folder made, opened to be written or flushed,
renamed or removed, a statement that writes to the database, a commit; and every call of the progress. The process ends
right before the deed that it is told.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.progress import Progress, silent
from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock
from tenure.score import table
from tenure.score.batch import Batch, score_batch
from tenure.score.table import publish_scores
from tests.score.world import FLAT, RANGED, batch_of

KILLED = 137
CHUNK_ROWS = 250
VALUES: dict[str, ValueSettings] = {"ranged": RANGED, "flat": FLAT.model_copy(update={"capacity": 90})}
AUDITED = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"}


class Deeds:
    """Counts what is done, and ends the process, without any clean-up, before the deed that it is told."""

    def __init__(self, workspace: Path, die_at: int | None) -> None:
        self.workspace = str(workspace)
        self.die_at = die_at
        self.done: list[str] = []

    def note(self, deed: str) -> None:
        self.done.append(deed)
        if len(self.done) == self.die_at:
            os._exit(KILLED)

    def progress(self, stage: str, done: float) -> None:
        self.note(f"{stage} {done:.2f}")

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        """Python's own report of what it is about to do."""
        if event not in AUDITED or (event == "open" and given[1] in {"r", "rb"}):
            return
        place = str(given[1] if event == "ctypes.dlsym" else given[0])
        if event == "os.mkdir" and Path(place).exists():
            return
        if place == "renameat2" or place.startswith(self.workspace):
            self.note(f"{event} {place.removeprefix(self.workspace)}")

    def statement(self, _connection: object, _cursor: object, sql: str, *_given: object) -> None:
        """SQLAlchemy's report of a statement that it is about to run."""
        if not sql.startswith(("BEGIN", "SELECT")):
            self.note(sql)


def score_and_publish(batch: Batch, engine: Engine, workspace: Path, hour: int, progress: Progress = silent) -> None:
    """The whole of it, by a clock that shows `hour`."""
    summary = score_batch(batch, workspace, clock=fixed_clock(f"2026-02-01T{hour}:00:00"), progress=progress)
    publish_scores(engine, summary.folder, progress)


def run(snapshot: Path, workspace: Path, value: str, die_at: int | None = None) -> None:
    """Score and publish in a process of its own; at the end write down every deed."""
    deeds = Deeds(workspace, die_at)
    table.CHUNK_ROWS = CHUNK_ROWS
    engine = open_store(workspace)
    sys.addaudithook(deeds.audit)
    sa.event.listen(engine, "before_cursor_execute", deeds.statement)
    sa.event.listen(engine, "commit", lambda _connection: deeds.note("COMMIT"))
    score_and_publish(batch_in(snapshot, value), engine, workspace, 12, deeds.progress)
    (workspace / "deeds.txt").write_text("\n".join(" ".join(deed.split()) for deed in deeds.done))


def batch_in(snapshot: Path, value: str) -> Batch:
    """Three parts, five steps."""
    return batch_of([snapshot], VALUES[value], batch_rows=125)


def open_store(workspace: Path) -> Engine:
    return open_database(f"sqlite:///{workspace}/tenure.db")
