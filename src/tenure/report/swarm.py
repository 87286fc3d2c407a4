"""What features go with, customer by customer, as a report shows it.

Enters: effects of all features on some customers, and their values. Leaves: a `Swarm` per feature, the strongest first.
Invariant: the order follows from the mean size of the effects, and every customer who was looked at is in every swarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tenure.model.protocol import Column, Matrix, Vector

__all__ = ["Swarm", "swarms"]

MOST_FEATURES = 12


@dataclass(frozen=True)
class Swarm:
    """One feature over some customers of the test block.

    Parameters
    ----------
    feature : str
        Its name.
    size : float
        Mean absolute effect, in probability: 0.02 is two percentage points.
    effects : tuple of float
        One per customer, in probability.
    high : tuple of bool or None
        Whether the customer's value lies above the median of these customers; None where it is missing or text.
    """

    feature: str
    size: float
    effects: tuple[float, ...]
    high: tuple[bool | None, ...]


def swarms(effects: Vector, matrix: Matrix, columns: Sequence[Column], most: int = MOST_FEATURES) -> tuple[Swarm, ...]:
    """Choose the features with the largest effects.

    Parameters
    ----------
    effects : float64 array (rows, columns)
        From `tenure.score.explain.effects`; at least one row.
    matrix : float32 array (rows, columns)
        Encoded values of the same rows.
    columns : sequence of Column
        What the matrix holds.
    most : int
        Features at most.

    Examples
    --------
    >>> found = swarms(np.array([[0.1, 0.0], [-0.3, 0.0]]), np.eye(2, dtype=np.float32), (Column("a"), Column("b")))
    >>> [(one.feature, one.size, one.high) for one in found]
    [('a', 0.2, (True, False)), ('b', 0.0, (False, True))]
    """
    sizes = np.abs(effects).mean(axis=0)
    order = np.argsort(-sizes, kind="stable")[:most].tolist()
    return tuple(
        Swarm(
            columns[place].name,
            float(sizes[place]),
            tuple(effects[:, place].tolist()),
            _above(matrix[:, place].astype(np.float64), columns[place]),
        )
        for place in order
    )


def _above(values: Vector, column: Column) -> tuple[bool | None, ...]:
    known = values[~np.isnan(values)]
    if column.is_category or not len(known):
        return (None,) * len(values)
    middle = np.median(known)
    return tuple(None if np.isnan(value) else bool(value > middle) for value in values)
