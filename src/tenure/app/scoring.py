"""`tenure score`: a version, the customers at risk, the contact list.

Enters: a `Place`, a cutoff, the name of a version. Leaves: a `ScoreSummary`, visible files and the published table.
Invariant: features are computed with the version's own declarations, never with those that the settings hold today, and
the snapshot is finished before scoring begins, so that a killed run goes on with the very same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tenure.app.features import require_come, require_customers, require_known
from tenure.app.history import churn_of, default_as_of, open_history
from tenure.app.place import Place
from tenure.core.errors import ConfigError, HistoryError, NotFoundError
from tenure.core.files import atomic_path
from tenure.core.progress import Progress, silent
from tenure.core.settings import ChurnSettings
from tenure.core.time import floor_time, format_instant
from tenure.features.declare import FeatureSet
from tenure.features.snapshot import snapshot, snapshot_key, write_snapshot
from tenure.model.artifact import LoadedVersion, load_version
from tenure.model.registry import LATEST
from tenure.score.batch import Batch, score_batch
from tenure.score.predictor import Predictor
from tenure.score.rows import Snapshot, open_snapshot
from tenure.score.run import ScoreSummary
from tenure.score.table import publish_scores
from tenure.source.engine import read_parquet_sql
from tenure.source.fields import timestamp_sql
from tenure.source.history import History
from tenure.source.ingest import ingest_table

__all__ = ["load", "rows_of", "score"]


def load(place: Place, version: str | None = None) -> LoadedVersion:
    """Load a version: the one that is named, else `champion`, else the latest.

    Raises
    ------
    NotFoundError
        There is no such version.
    ArtifactError
        It may not be used.
    """
    registry = place.registry()
    chosen = registry.resolve(version or ("champion" if "champion" in registry.aliases() else LATEST))
    return load_version(chosen.folder, chosen.manifest_sha256)


def score(
    place: Place, as_of: datetime | None = None, version: str | None = None, progress: Progress = silent
) -> ScoreSummary:
    """Score every customer at risk and publish the result.

    Parameters
    ----------
    place : Place
        The project.
    as_of : datetime or None
        UTC cutoff; default: the end of the log. A plain table is scored as it is, as of now.
    version : str or None
        A version, an alias or `latest`.
    progress : Progress
        Told about the stages.

    Raises
    ------
    ConfigError
        `[churn]` means something else than when the version was trained.
    NotFoundError
        There is no such version, or its features need what the settings no longer name.
    HistoryError
        The cutoff lies before the data or in the future, or nobody is at risk at it.
    StateError
        Another run is writing the same result, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.app.training import train_version
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> _ = train_version(place)
    >>> score(place).tally.customers, score(place).already_done
    (103, True)
    """
    loaded = load(place, version)
    runtime, clock = place.settings.runtime, place.clock
    with place.alone(progress):
        rows, cutoff = rows_of(place, loaded, as_of, progress)
        batch = Batch(rows, Predictor.of(loaded), place.settings.value, cutoff, place.settings.score)
        summary = score_batch(batch, place.workspace, runtime=runtime, clock=clock, progress=progress)
        publish_scores(place.database(), summary.folder, progress)
    return summary


def rows_of(
    place: Place, loaded: LoadedVersion, as_of: datetime | None = None, progress: Progress = silent
) -> tuple[Snapshot, datetime]:
    """The customers at risk with the features that a version needs, and the cutoff (UTC) that they speak for.

    Raises
    ------
    ConfigError, NotFoundError, HistoryError
        As `score`.
    """
    if place.settings.table is not None:
        return _table_rows(place, as_of, progress)
    return _event_rows(place, loaded, as_of, progress)


def _event_rows(
    place: Place, loaded: LoadedVersion, as_of: datetime | None, progress: Progress
) -> tuple[Snapshot, datetime]:
    churn = churn_of(place)
    _require_same_meaning(churn, loaded)
    with place.engine() as engine:
        opened = open_history(place, engine, progress)
        _require_sources(opened.history, loaded)
        cutoff = as_of or default_as_of(opened.history)
        require_known(place, opened.history, cutoff)
        key = snapshot_key(opened.history, loaded.features, churn, cutoff)
        path = _only(place.workspace / "scoring", f"{key}.parquet")
        progress("features", 0.0)
        if not path.exists():
            with atomic_path(path) as temporary:
                rows = snapshot(opened.tables, loaded.features, churn, cutoff)
                require_customers(write_snapshot(opened.tables, rows, temporary), opened.history, cutoff)
        progress("features", 1.0)
    return open_snapshot([path], key), cutoff


def _require_same_meaning(churn: ChurnSettings, loaded: LoadedVersion) -> None:
    """Refuse to let a version answer another question than it was trained for."""
    now = _meaning(churn.model_dump(mode="json"))
    then = _meaning(loaded.manifest.settings.get("churn") or {})
    changed = [key for key in now if now[key] != then.get(key)]
    if changed:
        shown = ", ".join(f"{key} was {then.get(key)!r} and is {now[key]!r}" for key in changed)
        raise ConfigError(
            f"[churn] has changed since {loaded.name} was trained: {shown}.",
            hint="Train a version for the new meaning with `tenure train`, or set [churn] back.",
            version=loaded.name,
        )


def _meaning(churn: Mapping[str, Any]) -> dict[str, Any]:
    """What leaving means: without the choice of cutoffs, and without the place of the periods, which may move."""
    meaning = {key: value for key, value in churn.items() if key not in {"train", "test", "every"}}
    if meaning.get("expiry"):
        meaning["expiry"] = {key: meaning["expiry"].get(key) for key in ("where", "grace")}
    return meaning


def _require_sources(history: History, loaded: LoadedVersion) -> None:
    """Refuse a version whose features need what the settings no longer name."""
    lacking = list(dict.fromkeys(_lacking(history, loaded.features)))
    if lacking:
        raise NotFoundError(
            f"{loaded.name} was trained with {', '.join(lacking)}; the settings name no such thing any more.",
            hint="Put it back into tenure.toml, or train a version without it.",
            version=loaded.name,
        )


def _lacking(history: History, features: FeatureSet) -> Iterator[str]:
    for feature in features.events:
        table = history.events.get(feature.event)
        if table is None:
            yield f"[events.{feature.event}]"
        elif feature.value is not None and feature.value not in table.values:
            yield f"the value {feature.value!r} of [events.{feature.event}]"
        elif feature.category is not None and feature.category not in table.categories:
            yield f"the category {feature.category!r} of [events.{feature.event}]"
    customers = history.customers
    known = {name for name, _ in customers.attributes} if customers else set()
    yield from (f"the customer attribute {one.name!r}" for one in features.attributes if one.name not in known)
    if features.tenure and not (customers and customers.has_since):
        yield "[customers] since"


def _table_rows(place: Place, as_of: datetime | None, progress: Progress) -> tuple[Snapshot, datetime]:
    """A plain table, ordered by customer; where rows have times, each customer's latest row up to the cutoff."""
    given = (place.settings, place.root, place.workspace, place.clock, place.tables, progress)
    table = ingest_table(*given, labelled=False).table
    if as_of is not None:
        require_come(place, as_of)
    cutoff = as_of or table.last or floor_time(place.now(), timedelta(days=1))
    key = f"{table.fingerprint[:24]}-{format_instant(cutoff).replace(':', '')}"
    path = _only(place.workspace / "scoring", f"{key}.parquet")
    if not path.exists():
        known_sql = f"SELECT * FROM {read_parquet_sql(table.paths)}"
        if table.has_time:
            known_sql += f" WHERE time <= {timestamp_sql(cutoff)}"
            known_sql += " QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY time DESC) = 1"
        with place.engine() as engine:
            rows = engine.sql(f"{known_sql} ORDER BY customer_id").to_arrow_table()
        if not rows.num_rows:
            raise HistoryError(
                f"No row of the table has a time up to {format_instant(cutoff)}.", hint="Choose a later --as-of."
            )
        with atomic_path(path) as temporary:
            pq.write_table(rows, temporary, compression="zstd")
    return open_snapshot([path], key), cutoff


def _only(folder: Path, name: str) -> Path:
    """The path of a snapshot in a folder that keeps one: what was scored before is in the scores."""
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("*.parquet"):
        if other.name != name:
            other.unlink()
    return folder / name
