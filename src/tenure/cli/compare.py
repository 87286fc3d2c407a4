"""`tenure compare`: families and imbalance methods side by side on the project's own data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tenure.advise.compare import Comparison, Entry
from tenure.app.compare import CompareResult, compare_models
from tenure.app.place import Place
from tenure.cli.options import Config, Json, Set, overrides
from tenure.cli.output import emit, progress_bar
from tenure.model.evaluate import Estimate

__all__ = ["compare", "compare_text", "comparison_tables"]

_QUALITY = {
    "roc_auc": "ROC AUC",
    "average_precision": "average\nprecision",
    "recall": "recall",
    "precision": "precision",
    "brier": "Brier",
    "observed_expected": "observed/\nexpected",
    "profit": "profit per\ncustomer",
}
_COSTS: Mapping[str, Callable[[Entry], str]] = {
    "training\nseconds": lambda entry: f"{entry.costs.training_seconds:.1f}",
    "one row\np50 ms": lambda entry: f"{entry.costs.p50_seconds * 1e3:.2f}",
    "one row\np99 ms": lambda entry: f"{entry.costs.p99_seconds * 1e3:.2f}",
    "batch\nrows/s": lambda entry: f"{entry.costs.rows_per_second:,.0f}",
    "artifact\nMB": lambda entry: f"{entry.costs.artifact_bytes / 1e6:.2f}",
    "peak\nMB": lambda entry: f"{entry.costs.peak_bytes / 1e6:,.0f}" if entry.costs.peak_bytes else "",
    "explanation": lambda entry: entry.explanation,
}
_CAPTION = "Below each figure its 95 % interval. Recall, precision and profit where contacting pays."


def compare(
    family: Annotated[
        list[str] | None, typer.Option(help="Family to compare. Repeatable. Default: all that are installed.")
    ] = None,
    imbalance: Annotated[
        list[str] | None, typer.Option(help="Method: none, weights, undersample, smote. Repeatable. Default: none.")
    ] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Train families and imbalance methods, judge all on the last cutoff, and say what the intervals allow."""
    place = Place.load(config, overrides(sets))
    with progress_bar() as progress:
        result = compare_models(place, family or (), imbalance or (), progress)
    emit(result, compare_text(result), as_json=as_json)


def compare_text(result: CompareResult) -> RenderableType:
    """What a person wants to know after a comparison."""
    found = result.comparison
    return Group(
        f"Test block: {found.rows:,} rows of {found.customers:,} customers, {found.lost_customers:,} of whom left. "
        f"Champion: {escape(found.champion)}, {escape(result.champion_is)}.",
        *comparison_tables(found),
        *(f"[yellow]Not compared:[/] {escape(failure.name)}: {escape(failure.reason)}" for failure in found.failed),
        f"[bold]{escape(result.conclusion)}[/]",
        *(f"· {escape(finding.text)}" for finding in found.findings[1:]),
        *(f"· {escape(note)}" for note in result.notes),
        f"Report: {escape(str(result.report))}",
    )


def comparison_tables(comparison: Comparison) -> tuple[Table, Table]:
    """How good everybody is, and at which cost; the champion first."""
    return _quality(comparison), _costs(comparison)


def _quality(comparison: Comparison) -> Table:
    ahead = ("ROC AUC\nto champion", "profit\nto champion")
    table = _table("on the\ntest block", *_QUALITY.values(), *ahead, caption=_CAPTION)
    for entry in comparison.entries:
        cells = [_cell(entry.metrics.get(name), name) for name in _QUALITY]
        cells += [_cell(entry.ahead.get(name), name, signed=True) for name in ("roc_auc", "profit")]
        table.add_row(entry.name, *cells, style="bold" if entry.name == comparison.champion else "")
    return table


def _costs(comparison: Comparison) -> Table:
    table = _table("on this\nmachine", *_COSTS, caption="Each candidate was trained in a process of its own.")
    for entry in comparison.entries:
        cells = [show(entry) for show in _COSTS.values()]
        table.add_row(entry.name, *cells, style="bold" if entry.name == comparison.champion else "")
    return table


def _table(*columns: str, caption: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=caption)


def _cell(found: Estimate | None, metric: str, *, signed: bool = False) -> str:
    if found is None:
        return ""
    form = "{:+" if signed else "{:"
    form += ".2f}" if metric == "profit" else ".3f}"
    value, low, high = (_bare(form.format(number)) for number in (found.value, found.low, found.high))
    return f"{value}\n{low} to {high}" if signed or metric == "profit" else f"{value}\n{low}-{high}"


def _bare(text: str) -> str:
    """No nought before the point, so that rows fit a window."""
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    return sign + (digits.removeprefix("0") if "." in digits and digits != "0.00" else digits)
