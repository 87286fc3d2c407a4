"""`tenure explain CUSTOMER`: why a customer has the score that they have, as a waterfall in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tenure.app.explain import Explanation, explain_customer
from tenure.app.place import Place
from tenure.cli.options import AsOf, Config, Json, Set, overrides
from tenure.cli.output import document_of, emit, progress_bar
from tenure.core.time import format_instant, parse_instant, parse_timezone
from tenure.score.explain import Explained, points

__all__ = ["explain", "explanation_text"]

_WIDTH = 24
_FULL, _EIGHTHS = "█", " ▏▎▍▌▋▊▉"


def explain(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    as_of: AsOf = None,
    version: Annotated[str | None, typer.Option(help="Version, alias or latest; default: champion.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Reasons to show one by one; the others are added up.")] = 8,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Say what a customer's features go with: the value, what is usual, and the effect in percentage points."""
    place = Place.load(config, overrides(sets))
    cutoff = parse_instant(as_of, parse_timezone(place.settings.project.timezone)) if as_of else None
    with progress_bar() as progress:
        found = explain_customer(place, customer, cutoff, version, progress)
    emit(document_of(found), explanation_text(found, top), as_json=as_json)


def explanation_text(found: Explanation, top: int) -> RenderableType:
    """The waterfall from the usual probability to the customer's, with the reasons beside it."""
    one = found.customer
    title = (
        f"[bold]{escape(one.customer_id)}[/] leaves with a probability of [bold]{_percent(one.probability)}[/] "
        f"(usual: {_percent(one.usual_probability)}), as of {format_instant(found.as_of)}, by {found.version}."
    )
    falls = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    falls.add_column(justify="right", no_wrap=True)
    falls.add_column(width=_WIDTH, no_wrap=True)
    falls.add_column(overflow="fold")
    for number, bar, words, style in _steps(one, top):
        falls.add_row(number, Text(bar, style=style), escape(words))
    return Group(
        title,
        falls,
        f"Points are percentage points of probability; {found.kind}. They are associations that the model has learned, "
        "not causes: changing a feature need not change whether anybody leaves.",
    )


def _steps(one: Explained, top: int) -> Iterator[tuple[str, str, str, str]]:
    """Number, bar, words and colour of each line of the waterfall."""
    shown = [(reason.effect, reason.text) for reason in one.reasons[:top]]
    rest = one.reasons[top:]
    if rest:
        several = "1 other feature" if len(rest) == 1 else f"{len(rest)} other features"
        shown.append((sum(reason.effect for reason in rest), several))
    stations = [one.usual_probability]
    for effect, _ in shown:
        stations.append(stations[-1] + effect)
    low, high = min(stations), max(stations)
    scale = _WIDTH / (high - low) if high > low else 0.0
    yield _percent(one.usual_probability), _bar(stations[0], stations[0], low, scale), "usual", "dim"
    for (effect, words), before, after in zip(shown, stations, stations[1:], strict=False):
        bar = _bar(min(before, after), max(before, after), low, scale)
        yield points(effect).removesuffix(" points"), bar, words, "red" if effect > 0 else "green"
    yield _percent(one.probability), _bar(stations[-1], stations[-1], low, scale), "this customer", "bold"


def _bar(start: float, stop: float, low: float, scale: float) -> str:
    """Blocks from one probability to another; a thin mark where they are the same."""
    first = min(int((start - low) * scale), _WIDTH - 1)
    length = (stop - low) * scale - first
    whole = int(length)
    return " " * first + (_FULL * whole + _EIGHTHS[int(8 * (length - whole))].strip() or _EIGHTHS[1])


def _percent(probability: float) -> str:
    return f"{probability:.0%}".replace("%", " %") if probability >= 0.0995 else f"{100 * probability:.1f} %"
