"""What features go with in the test block, for the report.

Enters: a trained model with the rows that it is judged on. Leaves: swarms. Invariant: at most `MOST_ROWS` customers
are looked at, so the size of the report does not grow with the data.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tenure.model.protocol import sigmoid
from tenure.model.train import Trained
from tenure.report.swarm import Swarm, swarms
from tenure.score.explain import effects

__all__ = ["swarms_of"]

MOST_ROWS = 300


def swarms_of(trained: Trained, features: pa.Table) -> tuple[Swarm, ...]:
    """Explain rows at even distances.

    Parameters
    ----------
    trained : Trained
        What predicts.
    features : table
        Raw feature columns of the test block.

    Examples
    --------
    >>> from tenure.core.settings import ModelSettings
    >>> from tenure.model.frame import Frame
    >>> from tenure.model.split import split_table
    >>> from tenure.model.train import train
    >>> frame = Frame.of(np.arange(400), np.arange(400) % 20 < 6, pa.table({"visits": np.arange(400) % 20}))
    >>> trained = train(frame, split_table(frame), ModelSettings(family="logistic", fallback=None), threads=1)
    >>> [(one.feature, len(one.effects)) for one in swarms_of(trained, frame.features)]
    [('visits', 300)]
    """
    places = np.linspace(0, features.num_rows - 1, min(MOST_ROWS, features.num_rows)).round().astype(np.int64)
    matrix = trained.encoder.transform(features.take(places))
    found = trained.model.contributions(matrix)
    moved = effects(found, lambda margin: trained.calibration.apply(sigmoid(margin)))
    return swarms(moved, matrix, trained.encoder.layout)
