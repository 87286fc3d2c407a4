"""`tenure demo`: the whole journey on demonstration data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape

from tenure.app.demo import DemoResult, run_demo
from tenure.cli.options import Json
from tenure.cli.output import emit, progress_bar
from tenure.cli.score import score_text
from tenure.cli.train import scorecard_table

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demonstration writes.")] = Path(
        "tenure-demo"
    ),
    as_json: Json = False,
) -> None:
    """Take a year of grocery baskets from raw lines to a contact list and a report."""
    with progress_bar() as progress:
        result = run_demo(out, progress)
    document = {"config": result.config, "trained": result.trained, "scored": result.scored}
    emit(document, _text(result), as_json=as_json)


def _text(result: DemoResult) -> RenderableType:
    own = result.trained.scorecard[0]
    found = own.deciles[0].gain
    return Group(
        f"[bold]What was found[/] in {own.rows:,} households that the model had never been judged on before:",
        scorecard_table(result.trained.scorecard),
        f"The tenth with the highest scores holds {found.value:.0%} [{found.low:.0%}, {found.high:.0%}] of leavers.",
        "",
        score_text(result.scored),
        "",
        "[bold]Where everything is[/]",
        f"  settings      {escape(str(result.config))}",
        f"  report        {escape(str(result.trained.report))}",
        f"  contact list  {escape(str(result.scored.contact_list))}",
        f"  scores        {escape(str(result.scored.folder))}",
        "",
        "[bold]Next[/]: open the report in a browser; then on your own data:",
        "  tenure init --events YOUR_LOG.parquet && tenure check && tenure train && tenure score",
    )
