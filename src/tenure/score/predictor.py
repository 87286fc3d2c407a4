"""What scoring needs of a trained version, whatever family stands behind it.

Enters: a version that proved itself. Leaves: a `Predictor`. Invariant: its fingerprint changes with anything that could
change a probability, so scores that carry it can be told from any other version's, even one of the same name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from tenure.model.artifact import LoadedVersion
from tenure.model.protocol import Vector
from tenure.score.explain import Explainer

__all__ = ["Predictor"]


@dataclass(frozen=True)
class Predictor:
    """A version that is ready to predict.

    Parameters
    ----------
    name : str
        The version's name, for example `v3`.
    fingerprint : str
        Changes with anything that could change a probability.
    features : tuple of str
        Columns that `predict` needs.
    predict : callable
        Gives the calibrated churn probability of each row of a table, float64 in [0, 1]. It may be called from any
        thread and gives a row the same probability in any company.
    explainer : Explainer, optional
        Gives reasons; without it there are none.

    Examples
    --------
    >>> import numpy as np
    >>> half = Predictor("v1", "0f", ("visits",), lambda table: np.full(table.num_rows, 0.5))
    >>> half.predict(pa.table({"visits": [1, 2]})).tolist()
    [0.5, 0.5]
    """

    name: str
    fingerprint: str
    features: tuple[str, ...]
    predict: Callable[[pa.Table], Vector]
    explainer: Explainer | None = None

    @classmethod
    def of(cls, version: LoadedVersion) -> Self:
        """The predictor of a loaded version; it reads only the columns that the version's encoder kept."""
        return cls(
            version.name,
            hashlib.sha256(version.manifest.to_json()).hexdigest(),
            tuple(column.name for column in version.parts.encoder.columns),
            version.predict,
            Explainer(version.parts),
        )
