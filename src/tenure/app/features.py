"""`tenure features`: the snapshot at a cutoff, as a file.

Enters: a `Place`, a cutoff, a path. Leaves: one Parquet file. Invariant: it is the very table that training and scoring
read, computed by the same expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tenure.app.history import churn_of, declared_features, default_as_of, open_history
from tenure.app.place import Place
from tenure.core.errors import HistoryError, InputError
from tenure.core.files import atomic_path
from tenure.core.progress import Progress, silent
from tenure.core.time import format_instant
from tenure.features.snapshot import require_matured, snapshot, write_snapshot
from tenure.source.fields import TOLERANCE
from tenure.source.history import History

__all__ = ["Written", "require_come", "require_customers", "require_known", "write_features"]

_OTHER_FORMATS = frozenset(
    {".arrow", ".csv", ".feather", ".gz", ".json", ".jsonl", ".tsv", ".txt", ".xls", ".xlsx", ".zip"}
)


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
        The labels have not matured, the cutoff lies before the data or in the future, or nobody is at risk at it.
    InputError
        `out` is a folder, or named as a file of another format.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> written = write_features(place, None, place.root / "snapshot.parquet")
    >>> written.rows, written.features[0]
    (103, 'order_count_14d')
    """
    churn = churn_of(place)
    _require_parquet(out)
    with place.alone(progress), place.engine() as engine:
        opened = open_history(place, engine, progress)
        cutoff = as_of or default_as_of(opened.history)
        require_known(place, opened.history, cutoff)
        if labels:
            require_matured(churn, [cutoff], opened.history.watermark)
        features = declared_features(place, opened, before=cutoff)
        progress("features", 0.0)
        with atomic_path(out) as temporary:
            table = snapshot(opened.tables, features, churn, cutoff, labels=labels)
            rows = write_snapshot(opened.tables, table, temporary)
            require_customers(rows, opened.history, cutoff)
        progress("features", 1.0)
    return Written(out, cutoff, rows, features.names, labels)


def _require_parquet(out: Path) -> None:
    if out.is_dir():
        example = out / "features.parquet"
        raise InputError(f"{out} is a folder.", hint=f"Name a file, for example {example}.", path=str(out))
    if out.suffix.lower() in _OTHER_FORMATS:
        raise InputError(
            f"Features are written as Parquet, which a file called {out.name} would not be taken for.",
            hint=f"Name it {out.with_suffix('.parquet')}.",
            path=str(out),
        )


def require_known(place: Place, history: History, cutoff: datetime) -> None:
    """Refuse a cutoff before the first event, and one that has not come yet.

    Raises
    ------
    HistoryError
        Nothing was known at the cutoff, or not everything is known yet.
    """
    if history.first is None or cutoff <= history.first:
        begins = format_instant(history.first) if history.first else "never"
        raise HistoryError(
            f"The cutoff {format_instant(cutoff)} lies before the data, which begins at {begins}.",
            hint="Choose a later --as-of.",
            as_of=cutoff,
        )
    require_come(place, cutoff)


def require_come(place: Place, cutoff: datetime) -> None:
    """Refuse a cutoff in the future.

    Raises
    ------
    HistoryError
        Not everything is known yet.
    """
    now = place.now().replace(microsecond=0)
    if cutoff > now + TOLERANCE + timedelta(seconds=1):  # the end of the log may lie as far ahead as an event may
        raise HistoryError(
            f"The cutoff {format_instant(cutoff)} lies in the future: it is {format_instant(now)}.",
            hint="Choose an earlier --as-of, or leave it out for the latest that is known.",
            as_of=cutoff,
        )


def require_customers(rows: int, history: History, cutoff: datetime) -> None:
    """Refuse a cutoff at which nobody is at risk: an empty result would stand in the place of a useful one.

    Raises
    ------
    HistoryError
        There is no row.
    """
    if not rows:
        ends = format_instant(history.watermark) if history.watermark else "never"
        raise HistoryError(
            f"Nobody is at risk at {format_instant(cutoff)}; the log ends at {ends}.",
            hint="Choose an --as-of near the end of the log, bring a newer log, or change [churn] active.",
            as_of=cutoff,
        )
