"""`tenure models list|show|promote|rollback`: the registry of trained versions."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.cli.options import Config, Json, Set, next_command, overrides
from tenure.cli.output import emit
from tenure.model.catalogue import Move, Version
from tenure.model.verify import verify

__all__ = ["models"]

models = typer.Typer(no_args_is_help=True, help="List, show, promote and roll back trained versions.")
_CONFIG = Path("tenure.toml")
_SHOWN = ("roc_auc", "average_precision", "brier", "observed_expected", "lift_top_decile")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"


def _facts(version: Version) -> dict[str, object]:
    return {
        "version": version.name,
        "family": version.family,
        "created_at": version.created_at,
        "aliases": version.aliases,
        "folder": version.folder,
        "metrics": version.metrics,
    }


@models.command("list")
def list_versions(config: Config = _CONFIG, sets: Set = None, as_json: Json = False) -> None:
    """List every version, the newest first, with its test metrics and aliases."""
    registry = Place.load(config, overrides(sets)).registry()
    versions = registry.versions()
    if not versions:
        emit({"versions": []}, f"No version yet. Next: {next_command('train', config)}", as_json=as_json)
        return
    table = Table("version", "family", "created", "ROC AUC", "average precision", "aliases")
    for version in versions:
        metrics = (_estimate(version, name) for name in _SHOWN[:2])
        created = f"{version.created_at:%Y-%m-%d %H:%M}"
        table.add_row(version.name, version.family, created, *metrics, ", ".join(version.aliases))
    emit({"versions": [_facts(version) for version in versions]}, table, as_json=as_json)


def _estimate(version: Version, name: str) -> str:
    metric = version.metrics.get(name)
    return "" if metric is None else f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


@models.command("show")
def show(
    version: Annotated[str, typer.Argument(help="A version, an alias or latest.")] = "latest",
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Show one version: what it is, its test metrics, and whether its files are intact."""
    registry = Place.load(config, overrides(sets)).registry()
    found = registry.resolve(version)
    manifest = verify(found.folder, found.manifest_sha256)
    moves = [move for move in registry.history() if move.version == found.name]
    facts = _facts(found) | {
        "cutoffs": manifest.cutoffs,
        "features": manifest.features.names,
        "threshold": manifest.threshold,
        "dependencies": manifest.dependencies,
        "moves": moves,
        "intact": True,
    }
    what = f"{found.family}, {len(manifest.features.names)} features, created {found.created_at:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"[bold]{found.name}[/] {what}, files intact",
        *(f"  {name:<20} {_estimate(found, name)}" for name in _SHOWN if name in found.metrics),
        f"  aliases: {', '.join(found.aliases) or 'none'}",
        f"  report: {escape(str(found.folder / 'report.html'))}",
        *(_move_text(move) for move in moves),
    ]
    emit(facts, "\n".join(lines), as_json=as_json)


def _move_text(move: Move) -> str:
    how = "rolled back to" if move.is_rollback else "pointed at"
    return f"  {move.at:%Y-%m-%d %H:%M} {move.alias} {how} {move.version} by {escape(move.by)}: {escape(move.reason)}"


@models.command("promote")
def promote(
    version: Annotated[str, typer.Argument(help="A version, an alias or latest.")],
    alias: Annotated[str, typer.Option(help="champion, challenger or a name of your own.")] = "champion",
    reason: Annotated[str, typer.Option(help="Kept in the alias's history.")] = "promoted by hand",
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Point an alias at a version, after checking that the version is intact."""
    move = Place.load(config, overrides(sets)).registry().promote(alias, version, reason=reason, by=_user())
    emit(move, f"{move.alias} → {move.version} (before: {move.previous or 'nothing'})", as_json=as_json)


@models.command("rollback")
def rollback(
    alias: Annotated[str, typer.Argument(help="The alias to move back.")] = "champion",
    reason: Annotated[str, typer.Option(help="Kept in the alias's history.")] = "rolled back by hand",
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Undo the last promotion of an alias."""
    move = Place.load(config, overrides(sets)).registry().rollback(alias, reason=reason, by=_user())
    emit(move, f"{move.alias} → {move.version} (before: {move.previous or 'nothing'})", as_json=as_json)
