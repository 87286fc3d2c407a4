"""`tenure stream bootstrap|rebuild|publish`: what fills the online store other than events one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tenure.app.history import default_as_of
from tenure.app.place import Place
from tenure.app.stream import PartitionStatus, open_stream
from tenure.app.stream import bootstrap as fill
from tenure.app.stream import publish as write_rows
from tenure.app.stream import rebuild as fill_again
from tenure.cli.options import AsOf, Config, Json, Set, overrides
from tenure.cli.output import emit, progress_bar
from tenure.core.time import format_instant, parse_instant, parse_timezone
from tenure.store.stream import Stream

__all__ = ["bootstrap", "publish", "rebuild"]


def bootstrap(
    as_of: AsOf = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Fill the online store with history as of an instant, and go on with the log from there."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress, open_stream(place, progress) as (stream, features):
        at = _instant(place, stream, as_of)
        found = fill(place, stream, features, at)
    document = {"as_of": at, "partitions": found}
    emit(document, f"{_filled(found)} History counts until {format_instant(at)}.", as_json=as_json)


def rebuild(config: Config = Path("tenure.toml"), sets: Set = None, as_json: Json = False) -> None:
    """Drop the states and fill them again: history of the bootstrap if there was one, the archive, the log."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress, open_stream(place, progress) as (stream, _):
        found = fill_again(stream)
    emit({"partitions": found}, _filled(found), as_json=as_json)


def publish(
    as_of: AsOf = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Write every customer's batch row, attributes and features as of an instant, beside the states."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress, open_stream(place, progress) as (stream, features):
        at = _instant(place, stream, as_of)
        rows = write_rows(place, stream, features, at)
    emit({"as_of": at, "rows": rows}, f"[bold]{rows:,} rows[/] as of {format_instant(at)} published.", as_json=as_json)


def _instant(place: Place, stream: Stream, text: str | None) -> datetime:
    if text is None:
        return default_as_of(stream.history())
    return parse_instant(text, parse_timezone(place.settings.project.timezone))


def _filled(found: Sequence[PartitionStatus]) -> str:
    customers, events = (sum(getattr(one, name) for one in found) for name in ("customers", "events"))
    return f"[bold]{customers:,} customers[/] have states of {events:,} events."
