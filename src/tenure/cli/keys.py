"""`tenure keys create|list|revoke`: who may ask the scoring service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from tenure.app.place import Place
from tenure.cli.options import Config, Json, Set, overrides
from tenure.cli.output import emit
from tenure.serve.keys import Key, create_key, list_keys, revoke_key
from tenure.serve.roles import Role

__all__ = ["keys"]

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of the scoring service.")
_CONFIG = Path("tenure.toml")


def _facts(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": sorted(key.roles),
        "rate": key.rate,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    role: Annotated[list[str], typer.Option(help="score, events or admin. Repeatable.")],
    rate: Annotated[float | None, typer.Option(help="Requests a second. Default: serve.rate.")] = None,
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    place = Place.load(config, overrides(sets))
    # What is no role is refused there, with the roles that there are.
    key, token = create_key(place.database(), name, cast(list[Role], role), rate, place.clock)
    said = f"{key.id} ({escape(key.name)}) has the roles {', '.join(sorted(key.roles))}. Its key is shown only now:"
    emit(_facts(key) | {"key": token}, f"{said}\n{token}", as_json=as_json)


@keys.command("list")
def list_all(config: Config = _CONFIG, sets: Set = None, as_json: Json = False) -> None:
    """List every key that was ever made, the oldest first; their secrets are kept nowhere."""
    place = Place.load(config, overrides(sets))
    found = list_keys(place.database())
    table = Table("id", "name", "roles", "requests a second", "created", "revoked")
    for key in found:
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
        rate = place.settings.serve.rate if key.rate is None else key.rate
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(key.id, escape(key.name), ", ".join(sorted(key.roles)), f"{rate:g}", created, revoked)
    none = "No key yet: the service answers whoever reaches it, and only this machine can."
    emit({"keys": [_facts(key) for key in found]}, table if found else none, as_json=as_json)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of `tenure keys list`.")],
    config: Config = _CONFIG,
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Take a key back. Running services refuse it within serve.refresh_seconds."""
    place = Place.load(config, overrides(sets))
    key = revoke_key(place.database(), key_id, place.clock)
    emit(
        _facts(key),
        f"{key.id} ({escape(key.name)}) is revoked since {key.revoked_at:%Y-%m-%d %H:%M} UTC.",
        as_json=as_json,
    )
