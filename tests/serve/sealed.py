"""A project with two sealed versions that nobody had to train for it: the champion v1 and v2.

What leaves: a `Place`, and a registry that lets an alias point at a folder that was touched. Invariant: the versions
are whole, and hold the golden rows of `tests/model/versions.py`.
"""

from __future__ import annotations

from pathlib import Path

from tenure.app.place import Place
from tenure.core.time import system_clock
from tenure.model.registry import Registry
from tenure.testing.shop import write_shop
from tests.model.versions import write

__all__ = ["promote", "unchecked", "write_site"]


def write_site(folder: Path) -> Place:
    """A shop with the champion v1 (logistic) and v2 (xgboost); there are no scores and no stream."""
    place = Place.load(write_shop(folder))
    registry = unchecked(place)
    for family in ("logistic", "xgboost"):
        name = registry.reserve()
        registry.register(name, write(registry.folder / name, family))
    promote(place, "v1")
    return place


def unchecked(place: Place) -> Registry:
    """A registry that lets an alias point at anything, as it stands after a folder was touched."""
    return Registry(place.database(), place.workspace / "versions", system_clock, check=lambda *_: None)


def promote(place: Place, version: str, alias: str = "champion") -> None:
    """Point an alias at a version, whatever has become of its folder."""
    unchecked(place).promote(alias, version, reason="a test", by="a test")
