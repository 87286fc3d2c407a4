"""What the killed process does: give a trained version a name, write it, register it and point an alias at it."""

from __future__ import annotations

import sys
from pathlib import Path

import sqlalchemy as sa

from tenure.core.database import open_database
from tenure.model.registry import Registry
from tests.fault.score_child import Deeds
from tests.model.versions import CLOCK, draft, write

FAMILY = "logistic"


def unchecked(folder: Path, manifest_sha256: str) -> None:
    """Let everything pass: how a version is checked before it is promoted has tests of its own."""


def open_registry(workspace: Path) -> Registry:
    engine = open_database(f"sqlite:///{workspace}/tenure.db")
    return Registry(engine, workspace / "versions", CLOCK, unchecked)


def release(registry: Registry) -> str:
    """The whole of it, after training."""
    name = registry.reserve()
    registry.register(name, write(registry.folder / name, FAMILY))
    registry.promote("champion", name, reason="trained", by="test")
    return name


def run(workspace: Path, die_at: int | None = None) -> None:
    """Release a version in a process of its own; at the end write down every deed."""
    draft(FAMILY)
    deeds = Deeds(workspace, die_at)
    registry = open_registry(workspace)
    sys.addaudithook(deeds.audit)
    sa.event.listen(registry.engine, "before_cursor_execute", deeds.statement)
    sa.event.listen(registry.engine, "commit", lambda _connection: deeds.note("COMMIT"))
    release(registry)
    (workspace / "deeds.txt").write_text("\n".join(" ".join(deed.split()) for deed in deeds.done))
