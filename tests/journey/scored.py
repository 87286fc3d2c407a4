"""A service that has been scored, and where its results are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenure.cli.output import document_of
from tenure.score.run import read_summary


@dataclass(frozen=True)
class Scored:
    """Settings of a service, and its summary as `tenure score --json` prints it."""

    config: Path
    summary: dict[str, Any]

    @classmethod
    def of(cls, service: Path) -> Scored:
        """Find the one result of a service."""
        (folder,) = (path for path in (service / ".tenure/scores").iterdir() if path.is_dir() and path.name[0] == "2")
        summary = read_summary(folder)
        contact_list = {"contact_list": str(summary.contact_list)}
        return cls(service / "tenure.toml", document_of(summary) | contact_list)
