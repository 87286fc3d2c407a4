"""A small world to score: customers whose probability is plain arithmetic, and ways to look at what came out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.settings import ValueSettings
from tenure.core.time import fixed_clock, parse_instant
from tenure.model.protocol import Vector
from tenure.score.batch import Batch
from tenure.score.predictor import Predictor
from tenure.score.rows import open_snapshot
from tenure.score.table import score_runs, scores

AS_OF = parse_instant("2026-01-31")
NOON = fixed_clock("2026-02-01T12:00:00")
RANGED = ValueSettings(clv="worth", contact_cost=10, incentive_cost=5, save_rate=(0.1, 0.5))
FLAT = ValueSettings(clv=600, contact_cost=10, save_rate=0.3)


def probability(table: pa.Table) -> Vector:
    """Sixteenths, so that nothing is rounded."""
    found: Vector = table.column("x").to_numpy() % 17 / 16
    return found


PREDICTOR = Predictor("v1", "0f", ("x",), probability)


def customers(rows: int) -> pa.Table:
    """Customers in the order of their ids; every seventh has no known worth."""
    numbers = np.arange(rows)
    return pa.table(
        {
            "customer_id": pa.array([f"customer-{number:06d}" for number in numbers], pa.string()),
            "cutoff": pa.repeat(pa.scalar(AS_OF.replace(tzinfo=None), pa.timestamp("us")), rows),
            "x": pa.array(numbers * 7919 % 1009, pa.int64()),
            "worth": pa.array(numbers * 104729 % 1500 + 0.25, mask=numbers % 7 == 3),
        }
    )


def write(table: pa.Table, folder: Path, row_group_rows: int = 100, files: int = 1) -> list[Path]:
    """Write a snapshot as one or several files."""
    step = max(1, -(-table.num_rows // files))
    paths = [folder / f"snapshot-{number}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        pq.write_table(table.slice(number * step, step), path, row_group_size=row_group_rows)
    return paths


def batch_of(paths: Sequence[Path], value: ValueSettings = RANGED, **changes: Any) -> Batch:
    """A batch in small steps, so that few customers already make many."""
    given = {"predictor": PREDICTOR, "as_of": AS_OF, "part_rows": 250, "batch_rows": 60, **changes}
    return Batch(open_snapshot(paths, "snapshot-1"), value=value, **given)


def content(folder: Path) -> dict[str, str]:
    """Name and digest of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def visible(workspace: Path) -> list[str]:
    """Names in the folder of results that do not begin with a dot."""
    return sorted(path.name for path in (workspace / "scores").glob("[!.]*"))


def hidden(workspace: Path) -> list[str]:
    """Names of work folders, finished or not."""
    return sorted(path.name for path in (workspace / "scores").glob(".*") if path.suffix != ".lock")


def stored(engine: Engine) -> list[tuple[Any, ...]]:
    """What readers of the table see, without the number that the database gave to the run."""
    run = score_runs.c
    query = (
        sa.select(run.as_of, run.computed_at, run.model_version, run.customers, *list(scores.c)[1:])
        .join(scores, scores.c.run == run.run)
        .where(run.state == "published")
        .order_by(run.as_of, scores.c.customer_id)
    )
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(query)]
