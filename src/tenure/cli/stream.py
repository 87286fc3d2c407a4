"""`tenure stream`: the consumer in the foreground, and the group of its verbs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from tenure.app.place import Place
from tenure.app.stream import open_stream
from tenure.app.stream_run import Reading, run_consumer
from tenure.cli.options import Config, Json, Set, overrides
from tenure.cli.output import emit
from tenure.cli.stream_append import append
from tenure.cli.stream_dead import dead
from tenure.cli.stream_fill import bootstrap, publish, rebuild
from tenure.cli.stream_live import EVERY_SECONDS, live
from tenure.cli.stream_look import show, status, verify
from tenure.core.errors import ConfigError

__all__ = ["stream", "summary_text"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
UntilCaughtUp = Annotated[
    bool, typer.Option("--until-caught-up", help="Stop once everything is folded that was appended before the start.")
]

stream = typer.Typer(
    invoke_without_command=True,
    help="Fold events into fresh features as they happen. Without a verb: run the consumer.",
)


@stream.callback()
def _group(
    context: typer.Context,
    until_caught_up: UntilCaughtUp = False,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Fold events into fresh features as they happen. Without a verb: run the consumer."""
    if context.invoked_subcommand is None:
        run(until_caught_up, config, sets, as_json)
        return
    given = [name for name in context.params if _is_typed(context, name)]
    if given:
        verb = f"tenure stream {context.invoked_subcommand}"
        raise ConfigError(
            f"Options of `{verb}` stand behind the verb, and {len(given)} stood before it.",
            hint=f"Write `{verb} --config … --set … --json`.",
        )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@stream.command("run")
def run(
    until_caught_up: UntilCaughtUp = False,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Read events, count each once, and keep the online store and the archive; ends well at SIGTERM and Ctrl-C."""
    place = Place.load(config, overrides(sets))
    with (
        until_signalled() as stopped,
        live(as_json=as_json) as lively,
        open_stream(place, lively.progress) as (opened, _),
    ):
        reading = run_consumer(
            opened,
            stopped=stopped,
            tell=lively.tell,
            every_seconds=EVERY_SECONDS[lively.kind],
            until_caught_up=until_caught_up,
        )
    emit(reading, summary_text(reading), as_json=as_json)


def summary_text(reading: Reading) -> str:
    """What a consumer did, in a line.

    Examples
    --------
    >>> summary_text(Reading(2.0, 5, 3, 1, 0, 0, 1, 2.5, None, lag=0))
    '[bold]5 records[/] in 2.0 s: 3 events counted, 1 duplicate, 0 late, 1 dead; 0 waiting.'
    """
    known = f", {reading.known:,} in history already" if reading.known else ""
    waits = "" if reading.lag is None else f"; {reading.lag:,} waiting"
    return (
        f"[bold]{_several(reading.records, 'record')}[/] in {reading.seconds:,.1f} s: "
        f"{_several(reading.events, 'event')} counted, {_several(reading.duplicates, 'duplicate')}{known}, "
        f"{reading.late:,} late, {reading.dead:,} dead{waits}."
    )


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def until_signalled() -> Iterator[Callable[[], bool]]:
    """Tells whether the process was asked to end; asked a second time, it ends at once."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what Python calls a handler with
        asked.append(number)
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


for verb in (append, status, bootstrap, rebuild, publish, verify, show):
    stream.command()(verb)
stream.add_typer(dead, name="dead")
