"""`tenure stream dead list|retry`: records that were no events, and another try for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.app.stream_append import project_log
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import emit
from tenure.core.errors import NotFoundError, did_you_mean
from tenure.core.time import EPOCH, format_instant
from tenure.store.dead import DeadLetter, counts, listed, unretryable
from tenure.store.dead import retry as append_again

__all__ = ["dead"]

_SHOWN = 60
_CONFIG = Path("tenure.toml")
Reason = Annotated[str | None, typer.Option(help="Only letters with this reason.")]

dead = typer.Typer(no_args_is_help=True, help="List records that were no events, and try them again.")


@dead.command("list")
def list_letters(
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 20,
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Show what could not be read, with the reason and the record as it came."""
    database = Place.load(config, overrides(sets)).database()
    waiting = counts(database)
    letters = listed(database, reason=_known(reason, waiting), limit=limit)
    document = {"waiting": waiting, "unretryable": unretryable(database), "letters": [_facts(one) for one in letters]}
    if not waiting:
        emit(document, "No dead letters.", as_json=as_json)
        return
    table = Table("partition", "offset", "appended", "reason", "found", "record")
    for one in letters:
        record = one.payload.decode(errors="backslashreplace")
        short = record if len(record) <= _SHOWN else f"{record[:_SHOWN]}…"
        place = (str(one.partition), str(one.offset), format_instant(_appended(one)))
        table.add_row(*place, *map(escape, (one.reason, one.detail, short)))
    told = ", ".join(f"{name}: {count:,}" for name, count in waiting.items())
    again = f"After mending what caused them: {next_command('stream dead retry', config)}"
    emit(document, Group(table, escape(f"{sum(waiting.values()):,} wait ({told})."), again), as_json=as_json)


@dead.command("retry")
def retry(reason: Reason = None, config: Config = _CONFIG, sets: Set = None, as_json: Json = False) -> None:
    """Append waiting records to the log again; those that are still no events are set aside anew."""
    place = Place.load(config, overrides(sets))
    database = place.database()
    with project_log(place) as log:
        appended = append_again(database, log, reason=_known(reason, counts(database)), clock=place.clock)
    left = unretryable(database, reason=reason)
    kept = f" {left:,} name no customer and stay: nobody can say where they belong." if left else ""
    text = f"[bold]{appended:,} records[/] appended again.{kept}"
    emit({"appended": appended, "unretryable": left}, text, as_json=as_json)


def _known(reason: str | None, waiting: dict[str, int]) -> str | None:
    if reason is not None and reason not in waiting:
        raise NotFoundError(
            f"No letter waits with the reason {reason!r}. {did_you_mean(reason, waiting)}",
            hint="`tenure stream dead list` shows the reasons.",
        )
    return reason


def _appended(letter: DeadLetter) -> datetime:
    return EPOCH + timedelta(microseconds=letter.appended)


def _facts(letter: DeadLetter) -> dict[str, object]:
    return {
        "log": letter.log,
        "partition": letter.partition,
        "offset": letter.offset,
        "appended": _appended(letter),
        "reason": letter.reason,
        "detail": letter.detail,
        "record": letter.payload.decode(errors="backslashreplace"),
    }
