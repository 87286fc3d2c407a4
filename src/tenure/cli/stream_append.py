"""`tenure stream append FILE…`: events from files or standard input to the end of the log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.app.stream_append import Appended, append_files
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import WRONG_INPUT, emit, end, progress_bar

__all__ = ["append", "appended_text"]


def append(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="JSON Lines or Parquet; - is standard input.")],
    event_type: Annotated[str | None, typer.Option("--type", help="The type of events that name none.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Append the good events where some are bad.")] = False,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Append events to the log: all of them, or, where one is bad, none."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress:
        found = append_files(
            place,
            files,
            event_type=event_type,
            skip_bad=skip_bad,
            standard_input=getattr(sys.stdin, "buffer", None),
            progress=progress,
        )
    emit(found, appended_text(found, config, skip_bad=skip_bad), as_json=as_json)
    if found.refused and not skip_bad:
        end(WRONG_INPUT)


def appended_text(found: Appended, config: Path, *, skip_bad: bool) -> RenderableType:
    """How many events were appended, and which were refused.

    Examples
    --------
    >>> appended_text(Appended(2, 2, {}, ()), Path("tenure.toml"), skip_bad=False)
    '[bold]2 events[/] appended. Next: [bold]tenure stream[/]'
    """
    done = f"[bold]{found.appended:,} event{'' if found.appended == 1 else 's'}[/] appended."
    if not found.refused:
        return f"{done} Next: {next_command('stream', config)}"
    table = Table("where", "reason", "found")
    for one in found.examples:
        table.add_row(*map(escape, (one.place, one.reason, one.detail)))
    hidden = sum(found.refused.values()) - len(found.examples)
    further = [f"and {hidden:,} more"] if hidden else []
    if skip_bad:
        return Group(table, *further, f"[yellow]{escape(found.summary)}[/] {done}")
    hint = "→ Correct them, or append the good ones with --skip-bad."
    return Group(table, *further, f"[bold red]{escape(found.summary)}[/] Nothing was appended.", hint)
