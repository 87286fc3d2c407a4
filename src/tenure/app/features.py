"""`tenure features`: the snapshot at a cutoff, as a file.

Enters: a `Place`, a cutoff, a path. Leaves: one Parquet file. Invariant: it is the very table that training and scoring
read, computed by the same expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tenure.app.history import churn_of, declared_features, default_as_of, open_history
from tenure.app.place import Place
from tenure.core.errors import HistoryError
from tenure.core.progress import Progress, silent
from tenure.core.time import format_instant
from tenure.features.snapshot import require_matured, snapshot, write_snapshot
from tenure.source.history import History

__all__ = ["Written", "write_features"]


@dataclass(frozen=True)
class Written:
    """A written snapshot: where, of which instant (UTC), how many customers, which columns."""

    path: Path
    as_of: datetime
    rows: int
    features: tuple[str, ...]
    labels: bool


def write_features(
    place: Place, as_of: datetime | None, out: Path, *, labels: bool = False, progress: Progress = silent
) -> Written:
    """Write the features of every customer at risk.

    Parameters
    ----------
    place : Place
        The project.
    as_of : datetime or None
        UTC cutoff; default: the end of the log.
    out : Path
        Parquet file to write; an existing one is replaced when the new one is whole.
    labels : bool
        Add the label.
    progress : Progress
        Told about the stages.

    Raises
    ------
    HistoryError
        The labels have not matured, or the cutoff lies before the data.
    """
    churn = churn_of(place)
    with place.engine() as engine:
        opened = open_history(place, engine, progress)
        cutoff = as_of or default_as_of(opened.history)
        require_data_before(opened.history, cutoff)
        if labels:
            require_matured(churn, [cutoff], opened.history.watermark)
        features = declared_features(place, opened, before=cutoff)
        progress("features", 0.0)
        rows = write_snapshot(opened.tables, snapshot(opened.tables, features, churn, cutoff, labels=labels), out)
        progress("features", 1.0)
    return Written(out, cutoff, rows, features.names, labels)


def require_data_before(history: History, cutoff: datetime) -> None:
    """Refuse a cutoff before the first event.

    Raises
    ------
    HistoryError
        Nothing was known at the cutoff.
    """
    if history.first is None or cutoff <= history.first:
        begins = format_instant(history.first) if history.first else "never"
        raise HistoryError(
            f"The cutoff {format_instant(cutoff)} lies before the data, which begins at {begins}.",
            hint="Choose a later --as-of.",
            as_of=cutoff,
        )
