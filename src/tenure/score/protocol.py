"""What scoring needs of a trained version, whatever family stands behind it."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from tenure.model.protocol import Vector

__all__ = ["Predictor"]


class Predictor(Protocol):
    """A version that is ready to predict. It is immutable and gives a row the same probability in any company."""

    @property
    def name(self) -> str:
        """The version's name, for example `v3`."""

    @property
    def fingerprint(self) -> str:
        """Changes with anything that could change a probability, for example the hash of the manifest."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that `predict` takes, in its order."""

    def predict(self, features: pa.Table) -> Vector:
        """Calibrated churn probability of each row, float64 in [0, 1]."""
