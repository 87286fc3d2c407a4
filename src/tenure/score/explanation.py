"""Contributions as a `shap.Explanation`, for all that shap can draw.

Enters: the parts of a version, rows of features. Leaves: a `shap.Explanation`. Invariant: its values and base values
are the model's raw margin taken apart, in log odds; `data` holds numbers, which give the colours, and `display_data`
the values as they stand in the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tenure.core.extras import require
from tenure.model.parts import Parts

__all__ = ["to_shap"]


def to_shap(parts: Parts, table: pa.Table) -> Any:
    """Explain rows as an object of the package shap.

    Parameters
    ----------
    parts : Parts
        Of a version.
    table : table
        Raw feature columns.

    Returns
    -------
    shap.Explanation
        `values` (rows, columns) and `base_values` (rows,) in log odds before calibration.

    Raises
    ------
    MissingExtraError
        The extra `shap` is not installed.
    NotFoundError, InputError
        As `Parts.predict`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from tenure.features.declare import FeatureSet
    >>> from tenure.model.calibrate import Calibration
    >>> from tenure.model.encode import Encoder
    >>> from tenure.model.protocol import Contributions
    >>> table = pa.table({"age": [20, 30, None]})
    >>> model = SimpleNamespace(contributions=lambda rows: Contributions(np.ones((len(rows), 1)), np.zeros(len(rows))))
    >>> parts = Parts("logistic", FeatureSet(), Encoder.fit(table), model, Calibration())
    >>> to_shap(parts, table).feature_names
    ['age']
    """
    names = [column.name for column in parts.encoder.columns]
    matrix = parts.encoder.transform(table)
    found = parts.model.contributions(matrix)
    shown = np.empty(matrix.shape, dtype=object)
    for place, name in enumerate(names):
        shown[:, place] = table.column(name).to_pylist()
    return require("shap").Explanation(
        values=found.values, base_values=found.base, data=matrix, display_data=shown, feature_names=names
    )
