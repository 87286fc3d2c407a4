"""`tenure stream status|verify|show`: how far the stream is, whether it is right, and what it knows of a customer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.app.stream import check_parity, open_stream
from tenure.app.stream_read import customer_row
from tenure.app.stream_status import StreamStatus, stream_status
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import CHECK_SAID_NO, emit, end, progress_bar
from tenure.core.time import format_instant, parse_duration, parse_instant, parse_timezone
from tenure.store.consumer import COUNTS
from tenure.store.hybrid import HybridRow
from tenure.store.verify import Parity

__all__ = ["show", "status", "verify"]

_SOURCES = {"online": "the stream", "batch": "the last batch"}


def status(
    count: Annotated[bool, typer.Option("--count/--no-count", help="Count the customers of every partition.")] = True,
    over: Annotated[str | None, typer.Option(help="Look twice, so far apart, and say how fast it is: 2s.")] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Show how far every partition is, what became of its records, and which dead letters wait."""
    place = Place.load(config, overrides(sets))
    seconds = parse_duration(over).total_seconds() if over else 0.0
    with progress_bar() as progress, open_stream(place, progress) as (stream, _):
        found = stream_status(stream, sizes=count, over_seconds=seconds)
    emit(found, _status_text(found, config), as_json=as_json)


def _status_text(found: StreamStatus, config: Path) -> RenderableType:
    table = Table("partition", "ready", "lag", "folded until", "archived", "customers", *COUNTS)
    for one in found.partitions:
        until = format_instant(one.folded_until) if one.folded_until else ""
        customers = "" if found.customers is None else f"{one.customers:,}"
        numbers = (f"{getattr(one, name):,}" for name in COUNTS)
        ready = "yes" if one.ready else "[yellow]no[/]"
        table.add_row(str(one.partition), ready, f"{one.lag:,}", until, f"{one.archived:,}", customers, *numbers)
    letters = ", ".join(f"{reason}: {count:,}" for reason, count in found.dead_letters.items())
    return Group(
        f"From {escape(found.log)} into {escape(found.store)}.",
        table,
        _state(found, config),
        *([f"Dead letters that wait: {escape(letters)}."] if letters else []),
    )


def _state(found: StreamStatus, config: Path) -> str:
    if not found.ready:
        return f"[yellow]Not filled yet.[/] Next: {next_command('stream', config)}"
    since = f"History counts until {format_instant(found.bootstrapped_as_of)}. " if found.bootstrapped_as_of else ""
    speed = "" if found.records_per_second is None else f" {found.records_per_second:,.0f} records a second."
    if not found.lag:
        return f"{since}Everything is folded.{speed}"
    age = "" if found.behind_seconds is None else f", {found.behind_seconds:,.1f} s behind"
    return f"{since}{found.lag:,} records wait{age}.{speed}"


def verify(
    sample: Annotated[int, typer.Option(min=1, help="How many customers, by chance.")] = 100,
    seed: Annotated[int, typer.Option(help="Which ones: the same seed, the same customers.")] = 0,
    customer: Annotated[list[str] | None, typer.Option(help="These customers instead. Repeatable.")] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Compare online features with those that history gives for the same events; exit code 3 where they differ."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress, open_stream(place, progress) as (stream, features):
        found = check_parity(stream, features, sample=sample, seed=seed, customers=customer or ())
    emit({**vars(found), "equal": found.equal}, _parity_text(found), as_json=as_json)
    if not found.equal:
        end(CHECK_SAID_NO)


def _parity_text(found: Parity) -> RenderableType:
    several = "1 customer" if found.customers == 1 else f"{found.customers:,} customers"
    compared = f"{found.features:,} features of {several} at {format_instant(found.as_of)}"
    if found.equal:
        return f"[bold green]Equal[/]: {compared}."
    table = Table("feature", "customers", "for example", "online", "history")
    for one in found.differences:
        table.add_row(
            escape(one.feature),
            f"{one.customers:,}",
            escape(one.customer_id),
            _number(one.online),
            _number(one.history),
        )
    return Group(table, f"[bold red]{len(found.differences):,} features differ[/] of {compared}.")


def _number(value: object) -> str:
    return "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


def show(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_of: Annotated[str | None, typer.Option(help="Instant to speak for, ISO 8601. Default: now.")] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Show a customer's features as they are now, and how old every part of them is."""
    place = Place.load(config, overrides(sets))
    at = parse_instant(as_of, parse_timezone(place.settings.project.timezone)) if as_of else None
    with progress_bar() as progress, open_stream(place, progress) as (stream, features):
        row = customer_row(stream, features, customer, at)
    emit(_row_document(row), _row_text(row), as_json=as_json)


def _row_document(row: HybridRow) -> dict[str, object]:
    ages = {"events": row.events_age, "attributes": row.attributes_age}
    seconds = {f"{name}_age_seconds": None if age is None else age.total_seconds() for name, age in ages.items()}
    return {
        "customer_id": row.customer_id,
        "as_of": row.as_of,
        "events_from": row.events,
        **seconds,
        "features": dict(row.values),
    }


def _row_text(row: HybridRow) -> RenderableType:
    table = Table("feature", "value")
    for name, value in row.values.items():
        table.add_row(escape(name), escape(_number(value)))
    parts = [f"events from {_SOURCES[row.events]}, {_age(row.events_age)}"]
    parts += [] if row.attributes_age is None else [f"batch row, {_age(row.attributes_age)}"]
    return Group(f"[bold]{escape(row.customer_id)}[/] as of {format_instant(row.as_of)}: {'; '.join(parts)}.", table)


def _age(age: timedelta | None) -> str:
    """How long ago, in the largest unit of which there are two."""
    seconds = max(age.total_seconds(), 0.0) if age is not None else 0.0
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} old"
    return f"{seconds:.1f} s old"
