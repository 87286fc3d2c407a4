"""`tenure init`: look at somebody's files and write a `tenure.toml` that already runs."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tenure.app.propose.proposal import Proposal, propose_events, propose_table
from tenure.cli.options import Force, Json, next_command
from tenure.cli.output import emit
from tenure.core.errors import InputError
from tenure.core.files import atomic_path
from tenure.core.settings import RuntimeSettings
from tenure.source.engine import open_engine

__all__ = ["init"]


def init(
    events: Annotated[list[str] | None, typer.Option(help="Event file or glob; repeat for several sources.")] = None,
    customers: Annotated[str | None, typer.Option(help="Customers table: attributes and since when.")] = None,
    table: Annotated[str | None, typer.Option(help="Plain customer table with a label, in place of events.")] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="File to write.")] = Path("tenure.toml"),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Look at files and write a commented tenure.toml that already runs.

    Raises
    ------
    InputError
        The file to write exists, or what was given cannot be proposed for.
    """
    _check(events, customers, table)
    if config.exists() and not force:
        raise InputError(f"{config} exists.", hint="Add --force to replace it, or name another with --config.")
    root = config.resolve().parent
    name = re.sub(r"\W+", "-", root.name).strip("-") or "project"
    with tempfile.TemporaryDirectory() as folder, open_engine(RuntimeSettings(), Path(folder)) as engine:
        if table is not None:
            proposal = propose_table(engine, table, root, name)
        else:
            proposal = propose_events(engine, events or [], customers, root, name)
    with atomic_path(config) as temporary:
        temporary.write_text(proposal.text, encoding="utf-8")
    emit({"config": config, "findings": proposal.findings}, _text(proposal, config), as_json=as_json)


def _check(events: list[str] | None, customers: str | None, table: str | None) -> None:
    if bool(events) == bool(table):
        raise InputError(
            "Give either event files or a plain table.",
            hint="tenure init --events log.parquet [--customers customers.csv], or tenure init --table table.csv.",
        )
    if table and customers:
        raise InputError("A plain table takes no --customers.", hint="Put the columns into the table.")


def _text(proposal: Proposal, config: Path) -> str:
    findings = "\n".join(f"  · {escape(finding)}" for finding in proposal.findings)
    return (
        f"[bold]{escape(str(config))}[/] written. What was found:\n{findings}\n"
        f"Next: look at it, then {next_command('check', config)} and {next_command('train', config)}"
    )
