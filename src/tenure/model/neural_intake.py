"""What a neural network is fed: numbers as a row of filling bins, categories as codes.

Enters: a matrix as the encoder makes it. Leaves: `Intake`, learned once, and what it makes of any matrix: inputs in [0,
1] and whole-numbered codes. Invariant: every input is finite whatever the matrix holds, and a row's inputs depend on
that row alone.

Networks learn badly from money and counts as they are, with their long tails and the odd absurd value. So the known
training values of a column are cut into bins of about as many rows each, and a number fills the bins from the left: 1
in every bin below it, 0 in every bin above it, and its share of the bin it lies in (piecewise linear encoding:
Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", 2022). A missing number fills none,
and where training rows had gaps one more input says so. A missing category has a code of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tenure.model.protocol import Column, Examples, Matrix, Vector

__all__ = ["Intake", "NumberIntake", "learn_intake"]

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberIntake:
    """How one column of numbers is fed.

    Parameters
    ----------
    place : int
        Of the column in the matrix.
    edges : tuple of float
        Borders of the bins, rising; no bin where there are fewer than two.
    gaps : bool
        Whether an input says that the number is missing.
    """

    place: int
    edges: tuple[float, ...]
    gaps: bool

    @property
    def width(self) -> int:
        """How many inputs the column becomes."""
        return max(0, len(self.edges) - 1) + self.gaps


@dataclass(frozen=True)
class Intake:
    """How a matrix is fed to a network.

    Parameters
    ----------
    numbers : tuple of NumberIntake
        Columns of numbers.
    categories : tuple of (int, int)
        Place of each column of codes, and how many codes it has; missing is one code more.

    Examples
    --------
    >>> intake = Intake((NumberIntake(0, (0.0, 1.0, 3.0), gaps=True),), ((1, 2),))
    >>> rows = np.array([[2.0, 1.0], [np.nan, np.nan], [1e38, 0.0]], np.float32)
    >>> intake.inputs(rows).tolist()
    [[1.0, 0.5, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    >>> intake.codes(rows).tolist()
    [[1], [2], [0]]
    """

    numbers: tuple[NumberIntake, ...]
    categories: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """How many inputs the numbers become."""
        return sum(number.width for number in self.numbers)

    def inputs(self, matrix: Matrix) -> Vector:
        """The numbers, float64 (rows, width) in [0, 1]."""
        fed = np.empty((len(matrix), self.width))
        start = 0
        for number in self.numbers:
            _fill(fed[:, start : start + number.width], number, matrix[:, number.place].astype(np.float64))
            start += number.width
        return fed

    def codes(self, matrix: Matrix) -> Codes:
        """The categories, int64 (rows, category columns)."""
        codes = np.empty((len(matrix), len(self.categories)), dtype=np.int64)
        for column, (place, count) in enumerate(self.categories):
            values = matrix[:, place]
            codes[:, column] = np.where(np.isnan(values), count, values)
        return codes


def learn_intake(examples: Examples, bins: int) -> Intake:
    """Learn how columns are fed from the rows that a network will learn from.

    Parameters
    ----------
    examples : Examples
        Training rows; their labels have no part in it.
    bins : int
        At most so many bins per column.

    Examples
    --------
    >>> matrix = np.array([[1, 0], [2, 1], [3, np.nan], [4, 1]], np.float32)
    >>> columns = (Column("visits"), Column("plan", categories=2))
    >>> learn_intake(Examples(matrix, matrix[:, 0] > 2, np.arange(4), columns), bins=3)
    Intake(numbers=(NumberIntake(place=0, edges=(1.0, 2.0, 3.0, 4.0), gaps=False),), categories=((1, 2),))
    """
    numbers = [
        _number(examples.matrix[:, place], place, bins)
        for place, column in enumerate(examples.columns)
        if not column.is_category
    ]
    return Intake(tuple(numbers), _categories(examples.columns))


def _categories(columns: Sequence[Column]) -> tuple[tuple[int, int], ...]:
    return tuple((place, column.categories) for place, column in enumerate(columns) if column.is_category)


def _number(values: npt.NDArray[np.float32], place: int, bins: int) -> NumberIntake:
    missing = np.isnan(values)
    known = values[~missing].astype(np.float64)
    if not len(known):
        return NumberIntake(place, (), bool(missing.any()))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))
    return NumberIntake(place, tuple(edges.tolist()), bool(missing.any()))


def _fill(fed: Vector, number: NumberIntake, values: Vector) -> None:
    missing = np.isnan(values)
    edges = np.array(number.edges)
    for place in range(len(edges) - 1):
        share = (values - edges[place]) / (edges[place + 1] - edges[place])
        fed[:, place] = np.where(missing, 0.0, np.clip(share, 0.0, 1.0))
    if number.gaps:
        fed[:, -1] = missing
