"""Golden rows: rows that a version carries with the probabilities it gave when it was made.

Enters: raw feature rows with their probabilities. Leaves: at most 200 of them, and later the largest difference to what
the loaded version gives. Invariant: the choice depends on nothing but the rows, covers every decile of the probability
and, while there is room, a missing and a known value of every feature that has both.

The last column of the table is the expected probability, the columns before it are the features as the encoder takes
them. It is told apart by its place, so a feature may have any name.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tenure.model.protocol import Vector

__all__ = ["GOLDEN_ROWS", "TOLERANCE", "choose_golden", "golden_rows", "largest_difference", "split_golden"]

GOLDEN_ROWS = 200
_PER_DECILE = 10

# The machine that trained a version reproduces its golden rows bit for bit, and a test holds it to that. Another
# processor or another build of a library may sum floats in another order: boosted trees add some hundred float32 leaf
# values, each exact to 6e-8 of its size, which moves a probability by up to some 1e-7. A missing tree, a swapped
# category or another encoder moves it by 1e-3 and more. The line lies between, close to the harmless side.
TOLERANCE = 1e-6


def choose_golden(features: pa.Table, probability: Vector, limit: int = GOLDEN_ROWS) -> npt.NDArray[np.int64]:
    """Choose the rows that a version will carry, ascending.

    Parameters
    ----------
    features : table
        Raw feature columns.
    probability : float64 array (rows,)
        What the finished version says of each row.
    limit : int
        How many rows at most.

    Examples
    --------
    >>> table = pa.table({"x": [None, *range(999)]})
    >>> rows = choose_golden(table, np.linspace(0, 1, 1000))
    >>> len(rows), int(rows[0]), int(rows[-1])
    (200, 0, 999)
    """
    order = np.argsort(probability, kind="stable")
    deciles = np.concatenate([_spread(decile, _PER_DECILE) for decile in np.array_split(order, 10)])
    flat = np.concatenate([deciles, _uncovered(features, deciles), _spread(order, limit)])
    _, first = np.unique(flat, return_index=True)
    return np.sort(flat[np.sort(first)][:limit])


def _spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most `count` of `rows` at even distances, both ends among them."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def _uncovered(features: pa.Table, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For every column the first missing and the first known value, where the chosen rows have none of that kind."""
    found: list[int] = []
    for column in features.columns:
        missing = pc.is_null(column, nan_is_null=True).to_numpy()
        for kind in (True, False):
            rows = np.flatnonzero(missing == kind)
            if rows.size and not (missing[chosen] == kind).any():
                found.append(int(rows[0]))
    return np.array(found, dtype=np.int64)


def golden_rows(features: pa.Table, probability: Vector) -> pa.Table:
    """Put the features and the expected probabilities into one table.

    Examples
    --------
    >>> golden_rows(pa.table({"x": [1]}), np.array([0.25])).column_names
    ['x', 'expected_probability']
    """
    return features.append_column("expected_probability", pa.array(probability, pa.float64()))


def split_golden(golden: pa.Table) -> tuple[pa.Table, Vector]:
    """Take a golden table apart again: the features and the expected probabilities.

    Examples
    --------
    >>> features, expected = split_golden(golden_rows(pa.table({"x": [1]}), np.array([0.25])))
    >>> features.column_names, expected.tolist()
    (['x'], [0.25])
    """
    last = golden.num_columns - 1
    return golden.select(range(last)), golden.column(last).to_numpy().astype(np.float64)


def largest_difference(expected: Vector, found: Vector) -> float:
    """Largest absolute difference between two columns of probabilities; infinite where a number is missing.

    Examples
    --------
    >>> largest_difference(np.array([0.5, 0.25]), np.array([0.5, 0.75]))
    0.5
    >>> largest_difference(np.array([0.5]), np.array([np.nan]))
    inf
    """
    if expected.shape != found.shape or not expected.size:
        return float("inf")
    with np.errstate(invalid="ignore"):  # infinity minus infinity is no number, and counts as missing
        difference = float(np.max(np.abs(expected - found)))
    return difference if np.isfinite(difference) else float("inf")
