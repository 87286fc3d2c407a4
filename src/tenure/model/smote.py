"""Blends of neighbouring rows, through imbalanced-learn, with gaps and categories as they occur.

Enters: a matrix with codes and gaps. Leaves: synthetic rows of the same columns. Invariant: a number of a blend lies
between two of its class and is whole where theirs are; a code, and whether a value is missing, is one that its
neighbours have; the given matrix stays as it was.

SMOTE needs distances, and so numbers without gaps on one scale. Numbers are standardised within their class; a missing
one takes the mean and tells that it is missing in a column of its own, which is voted on as categories are (SMOTE-NC).
A number, a gap or a code that no neighbour has cannot come out.

Blends that give themselves away. Between 3 and 4 visits lies 3.4, which no customer has; a tree finds every blend by
it, and then takes real churners for rarer than they are. So whole numbers are made whole again, and a number with two
values, a switch, is voted on.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import OneHotEncoder

from tenure.core.errors import InputError
from tenure.core.extras import require
from tenure.model.protocol import Column, Flags, Matrix, Vector

__all__ = ["NEIGHBOURS", "blend"]

NEIGHBOURS = 5
MOST_BYTES = 4 * 2**30


def blend(matrix: Matrix, rows: Flags, columns: tuple[Column, ...], count: int, seed: int) -> Matrix:
    """Make rows like the marked ones.

    With six marked rows or fewer, each has all the others for neighbours; a single one is repeated.

    Parameters
    ----------
    matrix : float32 array (rows, columns)
        Numbers, codes, NaN for missing.
    rows : bool array (rows,)
        The class to add to; at least one row.
    columns : tuple of Column
        What the matrix holds.
    count : int
        How many rows to make.
    seed : int
        Of the neighbours chosen and of how far a blend lies between two of them.

    Raises
    ------
    InputError
        The neighbours of all blends would not fit into four gigabytes.
    MissingExtraError
        imbalanced-learn is not installed.

    Examples
    --------
    >>> matrix = np.array([[1, 0], [3, 0], [100, 1]], np.float32)
    >>> columns = (Column("visits"), Column("plan", categories=2))
    >>> made = blend(matrix, np.array([True, True, False]), columns, count=4, seed=0)
    >>> made.shape, bool(((made[:, 0] >= 1) & (made[:, 0] <= 3)).all()), made[:, 1].tolist()
    ((4, 2), True, [0.0, 0.0, 0.0, 0.0])
    """
    own = matrix[rows]
    if len(own) == 1:
        return np.asarray(np.repeat(own, count, axis=0), dtype=np.float32)
    missing = np.isnan(own)
    voted = np.array([column.is_category or _is_switch(own[:, place]) for place, column in enumerate(columns)])
    gaps = missing.any(axis=0) & ~voted
    center, scale = _moments(own[:, ~voted])
    numbers = len(center)
    codes, meanings = _codes(own[:, voted])
    design = np.hstack([np.nan_to_num((own[:, ~voted] - center) / scale), codes, missing[:, gaps]])
    _check_memory(design, numbers, count)
    made = _sample(design, numbers, count, seed)
    found = np.empty((count, len(columns)), dtype=np.float32)
    found[:, ~voted] = _rounded(made[:, :numbers] * scale + center, own[:, ~voted])
    found[:, voted] = _decoded(made[:, numbers : numbers + len(meanings)], meanings)
    found[:, gaps] = np.where(made[:, numbers + len(meanings) :] > 0, np.nan, found[:, gaps])
    return found


def _is_switch(values: Matrix) -> bool:
    """Whether a number has no more than two values, so that nothing lies between them."""
    return len(np.unique(values[~np.isnan(values)])) <= 2


def _codes(values: Matrix) -> tuple[Vector, list[Vector]]:
    """Each voted column as places among its distinct values, and those values; missing is one of them."""
    found = [np.unique(values[:, place], return_inverse=True) for place in range(values.shape[1])]
    codes = np.column_stack([places for _, places in found]) if found else np.empty((len(values), 0))
    return codes.astype(np.float64), [distinct.astype(np.float64) for distinct, _ in found]


def _decoded(codes: Vector, meanings: list[Vector]) -> Vector:
    columns = [meaning[codes[:, place].astype(np.int64)] for place, meaning in enumerate(meanings)]
    return np.column_stack(columns) if columns else np.empty((len(codes), 0))


def _rounded(blends: Vector, like: Matrix) -> Vector:
    """Blends of whole numbers made whole: a tree would know a blend by its fraction, and learn nothing else."""
    whole = np.all(np.isnan(like) | (like == np.rint(like)), axis=0)
    return np.asarray(np.where(whole, np.rint(blends), blends), dtype=np.float64)


def _sample(design: Vector, numbers: int, count: int, seed: int) -> Vector:
    """The synthetic rows alone; one stranger stands for the other class, which plays no part."""
    rows = np.vstack([design, design[:1]])
    label = np.append(np.ones(len(design), dtype=np.int64), 0)
    chosen: dict[str, Any] = {
        "sampling_strategy": {1: len(design) + count},
        "k_neighbors": _DenseNeighbours(n_neighbors=min(NEIGHBOURS, len(design) - 1) + 1),
        "random_state": seed,
    }
    voted = list(range(numbers, design.shape[1]))
    library = require("imblearn.over_sampling")
    if not voted:
        sampler = library.SMOTE(**chosen)
    elif not numbers:
        sampler = library.SMOTEN(**chosen | {"k_neighbors": min(NEIGHBOURS, len(design) - 1)})
    else:
        sampler = library.SMOTENC(voted, categorical_encoder=_DenseEncoder(handle_unknown="ignore"), **chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # imbalanced-learn speaks to scikit-learn of earlier names
        made, _ = sampler.fit_resample(rows, label)
    return np.asarray(made[len(rows) :], dtype=np.float64)


class _DenseNeighbours(NearestNeighbors):  # type: ignore[misc]
    """Neighbours among dense rows: SMOTE-NC hands over sparse ones, between which distances take ten times as long."""

    def fit(self, X: Any, y: Any = None) -> Self:
        return super().fit(_dense(X), y)  # type: ignore[no-any-return]

    def kneighbors(self, X: Any = None, n_neighbors: Any = None, return_distance: bool = True) -> Any:
        return super().kneighbors(None if X is None else _dense(X), n_neighbors, return_distance)


class _DenseEncoder(OneHotEncoder):  # type: ignore[misc]
    """One-hot columns turned back into values at once; from sparse ones scikit-learn does it row by row."""

    def inverse_transform(self, X: Any) -> Any:
        dense, start, columns = _dense(X), 0, []
        for values in self.categories_:
            columns.append(values[dense[:, start : start + len(values)].argmax(axis=1)])
            start += len(values)
        return np.column_stack(columns)


def _dense(rows: Any) -> Any:
    return rows.toarray() if sparse.issparse(rows) else rows


def _moments(values: Matrix) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each column's known values."""
    known, exact = ~np.isnan(values), np.nan_to_num(values.astype(np.float64))
    counts = np.maximum(known.sum(axis=0), 1)
    center = exact.sum(axis=0) / counts
    spread = np.sqrt((np.where(known, exact - center, 0.0) ** 2).sum(axis=0) / counts)
    return center, np.where(spread > 0, spread, 1.0)


def _check_memory(design: Vector, numbers: int, count: int) -> None:
    width = numbers + sum(len(np.unique(design[:, place])) for place in range(numbers, design.shape[1]))
    needed = 8 * count * NEIGHBOURS * width
    if needed > MOST_BYTES:
        raise InputError(
            f"SMOTE would hold the neighbours of {count:,} blended rows in {needed / 2**30:.0f} GiB of memory.",
            hint='Lower [model] minority_ratio, or set imbalance = "weights" or "undersample".',
            blends=count,
        )
