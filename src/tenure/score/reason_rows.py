"""Reasons in the project's relational database, beside the scores that they belong to.

Enters: a run of scores that nobody reads yet, and its `reasons.jsonl`. Leaves: a row per explained customer in
`score_reasons`, the reasons as JSON. Invariant: a run is published with all its reasons, never with some of them; a
load that was killed begins again and finds nothing twice; what is read back equals what the contact list says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import metadata
from tenure.core.errors import StateError
from tenure.score.explain import Reason
from tenure.score.reasons import read_reasons

__all__ = ["drop_reasons", "load_reasons", "reasons_from_json", "reasons_to_json", "score_reasons"]

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
    while page := list(islice(reasons, _CHUNK_ROWS)):
        rows = [{"run": run, "customer_id": one, "reasons": reasons_to_json(found)} for one, found in page]
        with engine.begin() as connection:
            connection.execute(sa.insert(score_reasons), rows)


def reasons_to_json(reasons: Sequence[Reason]) -> str:
    """Reasons as the table keeps them: a list of objects, the strongest effect first.

    Examples
    --------
    >>> reasons_to_json([Reason("visits", 2.0, 9.0, 0.61, 0.124, "visits is 2 (usual: 9)")])
    '[{"feature":"visits","value":2.0,"usual":9.0,"contribution":0.61,"effect":0.124,"text":"visits is 2 (usual: 9)"}]'
    """
    return json.dumps([vars(reason) for reason in reasons], separators=(",", ":"), ensure_ascii=False)


def reasons_from_json(text: str) -> tuple[Reason, ...]:
    """The reverse of `reasons_to_json`.

    Raises
    ------
    StateError
        The text is something else.

    Examples
    --------
    >>> reasons_from_json("[]")
    ()
    >>> reasons_from_json("visits is 2 (usual: 9), +12 points")
    Traceback (most recent call last):
    tenure.core.errors.StateError: The reasons in the database are not as this version of tenure keeps them.
    → Run `tenure score`: it publishes them anew.
    """
    try:
        return tuple(Reason(**one) for one in json.loads(text))
    except (ValueError, TypeError) as error:
        raise StateError(
            "The reasons in the database are not as this version of tenure keeps them.",
            hint="Run `tenure score`: it publishes them anew.",
        ) from error


def drop_reasons(engine: Engine, run: int) -> None:
    """Remove the reasons of a run, a few thousand at a time."""
    some = sa.select(score_reasons.c.customer_id).where(score_reasons.c.run == run)
    first = some.order_by(score_reasons.c.customer_id).limit(_CHUNK_ROWS)
    chunk = sa.delete(score_reasons).where(score_reasons.c.run == run, score_reasons.c.customer_id.in_(first))
    removed = 1
    while removed:
        with engine.begin() as connection:
            removed = connection.execute(chunk).rowcount
