"""Shapley values of any model, from its margins at mixtures of rows.

Enters: a function from rows to margins, rows to explain, a few usual rows. Leaves: `Contributions`. Invariant: the base
is the mean margin of the usual rows and the values add up to the rest exactly, however few orders are drawn; a row's
values depend on that row and not on its neighbours.

The Shapley value of a column is what it adds to the margin when its value replaces a usual one, averaged over all
orders in which the columns can be replaced (Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions",
2017). There are too many orders, so for each usual row one is drawn and walked forwards and backwards (Mitchell et al.,
"Sampling Permutations for Shapley Value Estimation", 2022): walking back cancels most of what the order has to do with
it. What is left is an approximation, and it says so in `Family.explanation`.

A model costs `2 * usual rows * columns` predictions for each row it explains. Trees and coefficients need none of this:
they have exact values of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tenure.model.protocol import Contributions, Flags, Matrix, Vector

__all__ = ["BACKGROUND_ROWS", "draw_background", "sample_contributions"]

BACKGROUND_ROWS = 32
_MIXED_CELLS = 1 << 22  # of one request to the model: 16 MB


def draw_background(predict_margin: Callable[[Matrix], Vector], matrix: Matrix, rows: int = BACKGROUND_ROWS) -> Matrix:
    """Choose usual rows that stand for all of them.

    Rows are sorted by their margin and cut into equal parts, and each part sends its middle row. So the mean margin
    of a few rows comes close to that of all, and rows of every kind are among them.

    Parameters
    ----------
    predict_margin : callable
        Gives each row a margin.
    matrix : float32 array (rows, columns)
        Training rows; at least one.
    rows : int
        How many to choose at most.

    Examples
    --------
    >>> matrix = np.arange(100, dtype=np.float32)[:, None]
    >>> draw_background(lambda some: some[:, 0].astype(float), matrix, rows=4)[:, 0].tolist()
    [12.0, 37.0, 62.0, 87.0]
    """
    order = np.argsort(predict_margin(matrix), kind="stable")
    wanted = min(rows, len(order))
    middles = ((np.arange(wanted) + 0.5) * len(order) / wanted - 0.5).astype(np.int64)
    return np.asarray(matrix[order[middles]], dtype=np.float32)


def sample_contributions(
    predict_margin: Callable[[Matrix], Vector], matrix: Matrix, background: Matrix, seed: int = 0
) -> Contributions:
    """Estimate what each column adds to the margin of each row.

    Parameters
    ----------
    predict_margin : callable
        Gives each row a margin; it must give a row the same one in any company.
    matrix : float32 array (rows, columns)
        What to explain.
    background : float32 array (usual rows, columns)
        From `draw_background`; at least one row.
    seed : int
        Of the orders: one for each usual row, the same for every row that is explained.

    Examples
    --------
    >>> def margin(rows):
    ...     return rows[:, 0] * 2.0 + rows[:, 1] * rows[:, 2]
    >>> usual = np.zeros((4, 3), np.float32)
    >>> found = sample_contributions(margin, np.array([[1, 2, 3]], np.float32), usual)
    >>> found.values.tolist(), found.base.tolist()
    ([[2.0, 3.0, 3.0]], [0.0])
    """
    rows, columns = matrix.shape
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(columns), (len(background), 1)), axis=1)
    base = float(predict_margin(background).mean())
    values = np.zeros((rows, columns))
    step = max(1, _MIXED_CELLS // ((columns + 1) * columns))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        for usual, order in zip(background, orders, strict=True):
            for walked in (order, order[::-1]):
                values[part] += _walk(predict_margin, matrix[part], usual, walked)
    return Contributions(values / (2 * len(background)), np.full(rows, base))


def _walk(
    predict_margin: Callable[[Matrix], Vector], rows: Matrix, usual: Matrix, order: npt.NDArray[np.int64]
) -> Vector:
    """What each column adds where the columns are replaced in one order, float64 (rows, columns)."""
    columns = rows.shape[1]
    place = np.empty(columns, dtype=np.int64)
    place[order] = np.arange(columns)
    replaced: Flags = place < np.arange(columns + 1)[:, None]  # after so many steps, which columns are the row's own
    mixed = np.where(replaced, rows[:, None, :], usual).reshape(-1, columns)
    margins = predict_margin(mixed).reshape(len(rows), columns + 1)
    return np.asarray(np.diff(margins, axis=1)[:, place], dtype=np.float64)
