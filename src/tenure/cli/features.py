"""`tenure features`: write the point-in-time snapshot at a cutoff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tenure.app.features import write_features
from tenure.app.place import Place
from tenure.cli.options import AsOf, Config, Json, Set, overrides
from tenure.cli.output import emit, progress_bar
from tenure.core.time import format_instant, parse_instant, parse_timezone

__all__ = ["features"]


def features(
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    as_of: AsOf = None,
    labels: Annotated[bool, typer.Option("--labels", help="Add the matured label.")] = False,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Write the features of every customer at risk at a cutoff."""
    place = Place.load(config, overrides(sets))
    cutoff = parse_instant(as_of, parse_timezone(place.settings.project.timezone)) if as_of else None
    with progress_bar() as progress:
        written = write_features(place, cutoff, out, labels=labels, progress=progress)
    text = (
        f"[bold]{written.rows:,} customers[/] at risk at {format_instant(written.as_of)}, "
        f"{len(written.features)} features, in {escape(str(out))}"
    )
    emit(written, text, as_json=as_json)
