"""`tenure train`: train, judge, write and register a version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.app.training import TrainResult, train_version
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import emit, progress_bar
from tenure.model.evaluate import Judgement

__all__ = ["scorecard_table", "train", "train_text"]

_CAPTION = "Below each figure its 95 % interval. Recall and precision where contacting pays."
_COLUMNS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average\nprecision",
    "lift_top_decile": "lift\ntop 10 %",
    "recall": "recall",
    "precision": "precision",
    "observed_expected": "observed/\nexpected",
}


def train(
    family: Annotated[str | None, typer.Option(help="Model family; default: that of the settings.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    tune: Annotated[
        int | None, typer.Option(min=0, help="Search for better parameters first: trials it makes. Resumable.")
    ] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Train on the cutoffs that the log allows, judge on the last one, and register the version."""
    place = Place.load(config, overrides(sets, model__family=family, model__seed=seed, model__tune=tune))
    with progress_bar() as progress:
        result = train_version(place, progress)
    emit(result, train_text(result, config), as_json=as_json)


def train_text(result: TrainResult, config: Path) -> RenderableType:
    """What a person wants to know after a training."""
    own = result.scorecard[0]
    threshold = f"; contacting pays from {result.threshold:.1%} on" if result.threshold is not None else ""
    following = "score" if result.alias == "champion" else f"models promote {result.version}"
    return Group(
        f"[bold]{result.version}[/] ({result.family}) registered as {result.alias}. Test block: {own.rows:,} rows, "
        f"{own.positives:,} churners{threshold}.",
        scorecard_table(result.scorecard),
        *(f"· {escape(sentence)}" for sentence in _earned(result)),
        *(f"· {escape(note)}" for note in result.notes),
        f"Report: {escape(str(result.report))}",
        f"Next: look at the report, then {next_command(following, config)}",
    )


def _earned(result: TrainResult) -> Iterator[str]:
    """What the test block would have brought, beside contacting everybody."""
    best, everybody = result.campaigns[0], next(one for one in result.campaigns if one.name == "contact everybody")
    sampled = best.sampled
    if sampled is not None:
        yield (
            f"Contacting {best.contacted:,} customers where it pays would have earned {sampled.value:,.0f} "
            f"({sampled.low:,.0f} to {sampled.high:,.0f}); contacting everybody {everybody.profit.value:,.0f}."
        )


def scorecard_table(scorecard: tuple[Judgement, ...]) -> Table:
    """Metrics with their 95 % intervals, a row for each model and baseline."""
    table = Table(
        "on the\ntest block",
        *_COLUMNS.values(),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=_CAPTION,
    )
    for judgement in scorecard:
        style = "bold" if judgement is scorecard[0] else "dim" if judgement.kind == "baseline" else ""
        table.add_row(judgement.name, *(_cell(judgement, name) for name in _COLUMNS), style=style)
    return table


def _cell(judgement: Judgement, name: str) -> str:
    found = judgement.metrics.get(name)
    return "" if found is None else f"{_short(found.value)}\n{_short(found.low)}-{_short(found.high)}"


def _short(value: float) -> str:
    """Three digits behind the point, and none before it where that would be a nought: rows fit 80 columns."""
    return f"{value:.3f}".removeprefix("0") if value < 0.9995 else f"{value:.2f}"
