"""`tenure demo`: the whole journey on demonstration data."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape

from tenure.app.demo import DemoResult, run_demo
from tenure.app.demo_service import Served, Told
from tenure.cli.compare import comparison_tables
from tenure.cli.options import Json
from tenure.cli.output import emit, progress_bar
from tenure.cli.score import score_text
from tenure.cli.train import scorecard_table
from tenure.core.time import format_instant

__all__ = ["demo"]

_SHOWN = 3


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demonstration writes.")] = Path(
        "tenure-demo"
    ),
    as_json: Json = False,
) -> None:
    """Take a year of grocery baskets from raw lines to a contact list, a report, and answers over HTTP."""
    with progress_bar() as progress:
        result = run_demo(out, progress)
    document = {
        "config": result.config,
        "trained": result.trained,
        "compared": result.compared,
        "scored": result.scored,
        "served": result.served,
    }
    emit(document, _text(result), as_json=as_json)


def _text(result: DemoResult) -> RenderableType:
    own = result.trained.scorecard[0]
    found, compared = own.deciles[0].gain, result.compared
    return Group(
        f"[bold]What was found[/] in {own.rows:,} households that the model had never been judged on before:",
        scorecard_table(result.trained.scorecard),
        f"The tenth with the highest scores holds {found.value:.0%} [{found.low:.0%}, {found.high:.0%}] of leavers.",
        "",
        "[bold]Whether something else would do[/], learned from the same rows and judged on the same households:",
        *comparison_tables(compared.comparison),
        f"[bold]{escape(compared.conclusion)}[/]",
        *(f"· {escape(finding.text)}" for finding in compared.comparison.findings[1:]),
        "",
        score_text(result.scored),
        "[bold]The first of them[/], and what their risk goes with:",
        *_first_contacts(result.scored.contact_list),
        "",
        *_service_lines(result.served),
        "",
        "[bold]Where everything is[/]",
        f"  settings      {escape(str(result.config.resolve()))}",
        f"  report        {escape(str(result.trained.report))}",
        f"  comparison    {escape(str(compared.report))}",
        f"  contact list  {escape(str(result.scored.contact_list))}",
        f"  scores        {escape(str(result.scored.folder))}",
        "",
        "[bold]Next[/]: open the report in a browser; ask the service yourself, at the instant at which the log ends:",
        f"  cd {escape(str(result.config.parent))} && "
        f"tenure serve --with-stream --as-of {format_instant(result.scored.as_of)}",
        "and on your own data:",
        "  tenure init --events YOUR_LOG.parquet && tenure check && tenure train && tenure score",
        "  tenure serve --with-stream",
    )


def _service_lines(served: Served) -> Iterator[str]:
    """What the service answered, before and after an event."""
    yield f"[bold]Asked over HTTP[/]: `tenure serve --with-stream` at {served.url}, with {served.version}, said of"
    for told in served.scores:
        yield f"  {_told(told)}"
        yield from (f"    · {escape(reason)}" for reason in told.reasons[:_SHOWN])
    who = escape(served.before.customer_id)
    yield f"Then {who} came back, which was posted to /v1/events. The same question, before and after:"
    yield f"  {_told(served.before)}"
    yield f"  {_told(served.after)}"
    yield from (f"    · {escape(reason)}" for reason in served.after.reasons[:_SHOWN])


def _told(told: Told) -> str:
    profit = "" if told.expected_profit is None else f", worth {told.expected_profit:,.2f}"
    said = f"{told.probability:.1%} likely to leave, {told.decision.replace('_', ' ')}{profit}"
    return f"{escape(told.customer_id)}: {said} [dim]({told.source})[/]"


def _first_contacts(path: Path) -> Iterator[str]:
    """The top of the contact list, and below each contact its reasons."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), _SHOWN):
            yield f"  {escape(row['customer_id'])}: {float(row['probability']):.0%} likely to leave"
            reasons = row.get("reasons") or "no reasons were worked out"
            yield from (f"    · {escape(reason)}" for reason in reasons.split("; "))
