"""Reasons in the project's relational database, beside the scores that they belong to.

Enters: a run of scores that nobody reads yet, and its `reasons.jsonl`. Leaves: a row per explained customer in
`score_reasons`. Invariant: a run is published with all its reasons, never with some of them; a load that was killed
begins again and finds nothing twice.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import metadata
from tenure.score.reasons import read_reasons

__all__ = ["drop_reasons", "load_reasons", "score_reasons"]

_CHUNK_ROWS = 5_000

score_reasons = sa.Table(
    "score_reasons",
    metadata,
    sa.Column("run", sa.ForeignKey("score_runs.run"), primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("reasons", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)


def load_reasons(engine: Engine, run: int, path: Path) -> None:
    """Put the reasons of a run into the database, in small transactions; no file means no reasons."""
    drop_reasons(engine, run)
    reasons = read_reasons(path)
    while rows := [{"run": run, "customer_id": one, "reasons": text} for one, text in islice(reasons, _CHUNK_ROWS)]:
        with engine.begin() as connection:
            connection.execute(sa.insert(score_reasons), rows)


def drop_reasons(engine: Engine, run: int) -> None:
    """Remove the reasons of a run, a few thousand at a time."""
    some = sa.select(score_reasons.c.customer_id).where(score_reasons.c.run == run)
    first = some.order_by(score_reasons.c.customer_id).limit(_CHUNK_ROWS)
    chunk = sa.delete(score_reasons).where(score_reasons.c.run == run, score_reasons.c.customer_id.in_(first))
    removed = 1
    while removed:
        with engine.begin() as connection:
            removed = connection.execute(chunk).rowcount
