"""The registry's tables, and their rows as values.

Enters: rows of the project's database. Leaves: `Version` and `Move`. Invariant: instants are kept as ISO 8601 text in
UTC with microseconds, so text order is time order; a row that is ready has the hash of its manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from tenure.core.database import metadata, utc_now_column
from tenure.core.errors import StateError

__all__ = [
    "Move",
    "Version",
    "alias_rows",
    "instant_text",
    "move_rows",
    "read_move",
    "read_version",
    "transaction",
    "version_rows",
]

version_rows = sa.Table(
    "versions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("state", sa.String(16), nullable=False),
    utc_now_column("reserved_at"),
    sa.Column("created_at", sa.String(32)),
    sa.Column("family", sa.String(100)),
    sa.Column("manifest_sha256", sa.String(64)),
    sa.Column("metrics", sa.Text),
    sa.CheckConstraint(
        "state = 'reserved' OR (state = 'ready' AND manifest_sha256 IS NOT NULL)", name="ready_is_whole"
    ),
    sqlite_autoincrement=True,  # otherwise SQLite gives a number out again after its row was deleted
)
alias_rows = sa.Table(
    "aliases",
    metadata,
    sa.Column("alias", sa.String(63), primary_key=True),
    sa.Column("version", sa.ForeignKey("versions.number"), nullable=False),
)
move_rows = sa.Table(
    "alias_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("alias", sa.String(63), nullable=False),
    sa.Column("version", sa.ForeignKey("versions.number"), nullable=False),
    sa.Column("previous", sa.ForeignKey("versions.number")),
    utc_now_column("at"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("is_rollback", sa.Boolean, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class Version:
    """A registered version.

    Parameters
    ----------
    name : str
        `v1`, `v2`, …
    folder : Path
        Where its files are.
    manifest_sha256 : str
        What the manifest must hash to; pass it to `load_version`.
    family : str
        Model family.
    created_at : datetime
        UTC.
    metrics : mapping of str to mapping
        Test metrics, each with `value`, `low` and `high`.
    aliases : tuple of str
        Aliases that point at it now.
    """

    name: str
    folder: Path
    manifest_sha256: str
    family: str
    created_at: datetime
    metrics: Mapping[str, Mapping[str, float]]
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """One entry of an alias's history: from which version to which, when (UTC), by whom and why."""

    alias: str
    version: str
    previous: str | None
    at: datetime
    reason: str
    by: str
    is_rollback: bool


def instant_text(instant: datetime) -> str:
    """An instant as the tables keep it.

    Examples
    --------
    >>> instant_text(datetime(2026, 1, 2, tzinfo=UTC))
    '2026-01-02T00:00:00.000000+00:00'
    """
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def read_version(row: sa.Row[Any], folder: Path, pointing: tuple[str, ...]) -> Version:
    """The version of a ready row; `folder` holds the version folders, `pointing` are its aliases."""
    return Version(
        name=f"v{row.number}",
        folder=folder / f"v{row.number}",
        manifest_sha256=row.manifest_sha256,
        family=row.family,
        created_at=datetime.fromisoformat(row.created_at),
        metrics=json.loads(row.metrics),
        aliases=pointing,
    )


def read_move(row: sa.Row[Any]) -> Move:
    """The move of a row of the history."""
    return Move(
        alias=row.alias,
        version=f"v{row.version}",
        previous=None if row.previous is None else f"v{row.previous}",
        at=datetime.fromisoformat(row.at),
        reason=row.reason,
        by=row.by,
        is_rollback=row.is_rollback,
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[sa.Connection]:
    """A transaction that commits where the block ends well.

    Raises
    ------
    StateError
        The database is busy, or the connection broke.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise StateError(f"The registry cannot be used now: {error.orig}.", hint="Try again in a moment.") from error
