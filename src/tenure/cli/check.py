"""`tenure check`: sources, cutoffs, labels and leaks, before anything is trained."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tenure.app.check import CheckResult
from tenure.app.check import check as run
from tenure.app.place import Place
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import emit, progress_bar
from tenure.core.time import format_instant
from tenure.features.audit import require_clean
from tenure.source.history import ContractReport

__all__ = ["check", "contract_table"]


def check(config: Config = Path("tenure.toml"), sets: Set = None, as_json: Json = False) -> None:
    """Check the sources, plan cutoffs and blocks, count labels and run the leakage audit."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress:
        found = run(place, progress)
    if found.audit.leaks and not as_json:
        emit(found, _text(found, config), as_json=False)
    require_clean(found.audit)
    emit(found, _text(found, config), as_json=as_json)


def _text(found: CheckResult, config: Path) -> RenderableType:
    notes = [f"· {escape(note)}" for note in found.notes if note != found.split.explanation]
    leaks = len(found.audit.leaks)
    audit = "no leak found" if not leaks else f"[bold red]{leaks} {'leak' if leaks == 1 else 'leaks'} found[/]"
    return Group(
        contract_table(found.contract),
        f"Leaving means {escape(found.churn)}. {found.split.explanation}",
        _labels(found),
        f"{len(found.features)} features; the audit looked at {found.audit.rows:,} rows: {audit}.",
        *notes,
        *([] if leaks else [f"Next: {next_command('train', config)}"]),
    )


def contract_table(report: ContractReport) -> Table:
    """Rows read, accepted and rejected by source, with the reasons."""
    table = Table("source", "rows", "left out by where", "accepted", "rejected", "reasons")
    for source in report.sources:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in source.rejected.items())
        counts = (f"{n:,}" for n in (source.rows, source.filtered, source.accepted, source.rejected_rows))
        table.add_row(source.source, *counts, escape(reasons))
    for origin, types in report.other_types.items():
        listed = ", ".join(f"{kind}: {count:,}" for kind, count in types.items())
        unnamed = f"types that no section names: {listed}"
        table.add_row(escape(origin), f"{sum(types.values()):,}", "", "", "", escape(unnamed))
    return table


def _labels(found: CheckResult) -> Table:
    table = Table("block", "cutoff", "at risk", "left", "rate")
    for health in found.labels:
        rate = f"{health.churners / health.rows:.1%}" if health.rows else ""
        cutoff = format_instant(health.cutoff) if health.cutoff else ""
        table.add_row(health.block, cutoff, f"{health.rows:,}", f"{health.churners:,}", rate)
    return table
