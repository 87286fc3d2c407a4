"""`tenure simulate`: a made-up subscription service with the truth beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from tenure.cli.options import Force, Json, next_command
from tenure.cli.output import emit, progress_bar
from tenure.core.time import parse_instant
from tenure.source.simulate import SimulationSpec, SimulationSummary
from tenure.source.simulate import simulate as run

__all__ = ["simulate"]

_DEFAULT = SimulationSpec()


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the simulation.")],
    customers: Annotated[int, typer.Option(help="Customers subscribed at any time.")] = _DEFAULT.customers,
    months: Annotated[int, typer.Option(help="Length of the log in periods of 30 days.")] = _DEFAULT.months,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = _DEFAULT.seed,
    churn_rate: Annotated[float, typer.Option(help="Mean churn probability per 30 days.")] = _DEFAULT.churn_rate,
    late: Annotated[float, typer.Option(help="Share of events recorded late.")] = _DEFAULT.late,
    duplicates: Annotated[float, typer.Option(help="Share of events delivered twice.")] = _DEFAULT.duplicates,
    corrupt: Annotated[float, typer.Option(help="Share of rows that break the contract.")] = _DEFAULT.corrupt,
    shift: Annotated[Literal["covariate", "concept"] | None, typer.Option(help="What changes during the log.")] = None,
    shift_at: Annotated[str | None, typer.Option(help="When it changes, ISO 8601.")] = None,
    start: Annotated[str | None, typer.Option(help="First instant of the log, ISO 8601.")] = None,
    return_rate: Annotated[
        float, typer.Option(help="Share of the lost that return per period.")
    ] = _DEFAULT.return_rate,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Simulate a subscription service with the true churn probability of every customer beside it."""
    spec = SimulationSpec(
        customers=customers,
        months=months,
        seed=seed,
        churn_rate=churn_rate,
        late=late,
        duplicates=duplicates,
        corrupt=corrupt,
        shift=shift,
        shift_at=parse_instant(shift_at) if shift_at else None,
        start=parse_instant(start) if start else _DEFAULT.start,
        return_rate=return_rate,
    )
    with progress_bar() as progress:
        summary = run(spec, out, progress, overwrite=force)
    emit(summary, _text(summary, out), as_json=as_json)


def _text(summary: SimulationSummary, out: Path) -> str:
    events = ", ".join(f"{count:,} {name}" for name, count in summary.events.items())
    return (
        f"[bold]{summary.rows:,} rows[/] of {summary.customers:,} customers in {escape(str(out))}: {events}.\n"
        f"{summary.churn_rate:.1%} of {summary.at_risk:,} customers at risk churned within 30 days of a cutoff; "
        f"the true hazard ranks them with AUC {summary.hazard_auc:.3f}, which no model can beat.\n"
        f"Next: {next_command('train', out / 'tenure.toml')}"
    )
