"""`tenure score`: score every customer at risk and write the contact list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tenure.app.place import Place
from tenure.app.scoring import score as run
from tenure.cli.options import AsOf, Config, Json, Set, overrides
from tenure.cli.output import document_of, emit, progress_bar
from tenure.core.time import format_instant, parse_instant, parse_timezone
from tenure.score.run import ScoreSummary

__all__ = ["score", "score_text"]


def score(
    as_of: AsOf = None,
    version: Annotated[str | None, typer.Option(help="Version, alias or latest; default: champion.")] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Score every customer at risk and write the contact list, ordered by incremental profit."""
    place = Place.load(config, overrides(sets))
    cutoff = parse_instant(as_of, parse_timezone(place.settings.project.timezone)) if as_of else None
    with progress_bar() as progress:
        summary = run(place, cutoff, version, progress)
    document = {**document_of(summary), "contact_list": summary.contact_list}
    emit(document, score_text(summary), as_json=as_json)


def score_text(summary: ScoreSummary) -> str:
    """What a person wants to know after a batch."""
    tally, contacts = summary.tally, summary.contacts
    again = " (already done, nothing was changed)" if summary.already_done else ""
    return (
        f"[bold]{tally.customers:,} customers[/] scored as of {format_instant(summary.as_of)} with {summary.version}"
        f"{again}: {tally.expected_churners:,.0f} are expected to leave.\n"
        f"[bold]{contacts.contacts:,} contacts[/] pay, worth {contacts.profit_expected:,.0f} "
        f"({contacts.profit_low:,.0f} to {contacts.profit_high:,.0f}) in incremental profit{_explained(summary)}.\n"
        f"Scores: {escape(str(summary.folder))}\nContact list: {escape(str(summary.contact_list))}"
    )


def _explained(summary: ScoreSummary) -> str:
    """How many of the contacts have reasons, as the end of a sentence."""
    contacts = summary.contacts
    if not contacts.contacts:
        return ""
    if contacts.explained == contacts.contacts:
        return "; all have their reasons"
    return f"; the best {contacts.explained:,} have their reasons" if contacts.explained else "; none has reasons"
