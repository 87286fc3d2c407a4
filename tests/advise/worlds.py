"""Test blocks whose truth is known: candidates that are equal, better, worse, or only cut elsewhere."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tenure.advise.quality import Judged, Stakes
from tenure.core.settings import ValueSettings
from tenure.model.protocol import Vector, sigmoid

NEVER = np.datetime64("NaT")
VALUE = ValueSettings(clv=600, contact_cost=10, save_rate=0.3)


class World:
    """Customers with a true risk; a candidate sees it through noise."""

    def __init__(self, rows: int = 4000, seed: int = 0, value: ValueSettings = VALUE) -> None:
        self.random = np.random.default_rng(seed)
        self.risk = self.random.normal(-2.0, 1.5, rows)
        label = self.random.random(rows) < sigmoid(self.risk)
        ids = pa.array([f"c{number}" for number in range(rows)])
        self.stakes = Stakes(ids, np.full(rows, NEVER, "datetime64[us]"), label, np.full(rows, 600.0), value)

    @property
    def lost(self) -> int:
        return int(self.stakes.label.sum())

    def seen(self, noise: float) -> Vector:
        """Log odds as a model with this much noise sees them, shrunk as calibration would shrink them."""
        shrunk = 1.5**2 / (1.5**2 + noise**2)
        margin = self.risk + self.random.normal(0, noise, len(self.risk)) if noise else self.risk
        return -2.0 + shrunk * (margin + 2.0)

    def candidate(self, name: str, margin: Vector, *, shift: float = 0.0, plain: Vector | None = None) -> Judged:
        """What a model answers; `shift` is what rebalancing added to its own margins."""
        return Judged(name, sigmoid(margin), sigmoid(margin + shift), None if plain is None else sigmoid(plain))
