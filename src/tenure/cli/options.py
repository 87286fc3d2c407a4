"""Options that several verbs share, and what they mean."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tenure.core.config import parse_override
from tenure.core.errors import ConfigError

__all__ = ["AsOf", "Config", "Force", "Json", "Set", "next_command", "overrides"]

Config = Annotated[Path, typer.Option("--config", "-c", help="The project's settings.", envvar="TENURE_CONFIG")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.key=value. Repeatable.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Cutoff, ISO 8601. Default: the end of the log.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is already there.")]


def overrides(texts: list[str] | None, **options: Any) -> dict[tuple[str, ...], Any]:
    """Settings that the command line overrides; named options stand for a key with `__` between its parts.

    Raises
    ------
    ConfigError
        A `--set` is not understood, or sets what a named option sets too.

    Examples
    --------
    >>> overrides(["value.clv=700"], model__seed=1, model__family=None)
    {('value', 'clv'): 700, ('model', 'seed'): 1}
    """
    found = dict(parse_override(text) for text in texts or ())
    for name, value in options.items():
        path = tuple(name.split("__"))
        if value is None:
            continue
        if path in found:
            raise ConfigError(f"{'.'.join(path)} is given twice.", hint="Keep one of the two options.")
        found[path] = value
    return found


def next_command(verb: str, config: Path) -> str:
    """What to run next on the same project, as rich markup.

    Examples
    --------
    >>> next_command("train", Path("tenure.toml")), next_command("train", Path("shop/tenure.toml"))
    ('[bold]tenure train[/]', '[bold]tenure train --config shop/tenure.toml[/]')
    """
    same = config == Path("tenure.toml")
    return f"[bold]tenure {verb}{'' if same else f' --config {escape(shlex.quote(str(config)))}'}[/]"
