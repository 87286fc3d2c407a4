"""A shop as it is served: two trained versions, scores for everybody at risk, and states of the stream.

What leaves: `Shop`, the project in a folder of a test's own. Invariant: v1 (xgboost, with a logistic fallback) is the
champion and v2 (logistic alone) the challenger; scores are v1's as of `AS_OF`, the end of the log, and worked out when
the tests began; the online store holds every customer as of the same instant, and the log of the stream is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenure.app.place import Place
from tenure.app.scoring import score
from tenure.app.stream import bootstrap, consume_all, open_stream
from tenure.app.stream_append import append_events
from tenure.app.training import train_version
from tenure.core.time import Clock, fixed_clock, system_clock
from tenure.testing.shop import write_shop

__all__ = ["AS_OF", "SCORED", "SILENT", "STRANGER", "Shop", "build_shop"]

AS_OF = datetime(2025, 10, 28, tzinfo=UTC)
SCORED = "c100"
"""A customer who orders until the end, so that there is a precomputed score."""
SILENT = "c003"
"""A customer who left months ago: known to the stream, without a precomputed score."""
STRANGER = "nobody"
"""A customer whom nobody has heard of."""


@dataclass(frozen=True)
class Shop:
    """The project, in a folder that the test may change.

    Parameters
    ----------
    config : Path
        Its `tenure.toml`.
    """

    config: Path

    @property
    def folder(self) -> Path:
        return self.config.parent

    def place(self, overrides: Mapping[tuple[str, ...], Any] | None = None, clock: Clock = system_clock) -> Place:
        """The project, with settings in place of some of its own: `{("serve", "cache"): "none"}`."""
        return Place.load(self.config, overrides, clock)

    def order(self, customer: str, time: str, amount: float = 20.0) -> None:
        """A customer orders: the log takes the event at its own time, and it is folded before this returns."""
        place = self.place(clock=fixed_clock(time))
        append_events(place, [{"type": "order", "customer_id": customer, "time": time, "amount": amount}])
        with open_stream(place) as (stream, _):
            consume_all(stream)


def build_shop(folder: Path) -> Shop:
    """Train, score and fill everything; a few seconds."""
    config = write_shop(folder)
    families = 'family = "xgboost"\nfallback = "logistic"'
    settings = config.read_text(encoding="utf-8").replace('family = "logistic"', families)
    config.write_text(settings, encoding="utf-8")
    shop = Shop(config)
    place = shop.place()
    train_version(place)
    train_version(shop.place({("model", "family"): "logistic"}))
    score(place, AS_OF)
    with open_stream(place) as (stream, features):
        bootstrap(place, stream, features, AS_OF)
    return shop
