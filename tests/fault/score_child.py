"""What the killed process does: score a snapshot, then publish the scores, and end at once when it is told to."""

from __future__ import annotations

import os
from pathlib import Path

from tenure.core.database import open_database
from tenure.core.progress import Progress
from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock
from tenure.score import table
from tenure.score.batch import score_batch
from tenure.score.table import publish_scores
from tests.score.world import FLAT, RANGED, batch_of

KILLED = 137
VALUES: dict[str, ValueSettings] = {"ranged": RANGED, "flat": FLAT.model_copy(update={"capacity": 90})}


def dying(calls: int | None, told: list[tuple[str, float]]) -> Progress:
    """Progress that ends the process, without any clean-up, when it is called for the `calls`-th time."""

    def progress(stage: str, done: float) -> None:
        told.append((stage, done))
        if len(told) == calls:
            os._exit(KILLED)

    return progress


def run(snapshot: Path, workspace: Path, value: str, hour: int, die_at: int | None = None) -> None:
    """Score and publish by a clock that shows `hour`; write down every step that was told."""
    table.CHUNK_ROWS = 150
    told: list[tuple[str, float]] = []
    progress = dying(die_at, told)
    batch, clock = batch_of([snapshot], VALUES[value]), fixed_clock(f"2026-02-01T{hour}:00:00")
    summary = score_batch(batch, workspace, clock=clock, progress=progress)
    publish_scores(open_database(f"sqlite:///{workspace}/tenure.db"), summary.folder, progress)
    (workspace / "steps.txt").write_text("\n".join(stage for stage, _ in told))
