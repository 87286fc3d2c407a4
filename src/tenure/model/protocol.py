"""What every model family does, whatever library stands behind it.

Enters: `Examples`, a float32 matrix that the encoder made, with labels and the customer behind each row. Leaves: a
`Model` that turns such a matrix into margins and churn probabilities, and that can be written to and read from a
folder. Invariant: a family sees nothing but the examples it is given, and the same examples, choice and seed give the
same model on the same machine. What depends on data (scales, fill values, bins) is learned inside `fit`.

How a family is trained
-----------------------
`cross_fit` comes first: every customer belongs to one fold, each fold's rows are predicted by a model that never saw
its customers, and what has to be chosen (boosting rounds, regularisation) is chosen by the log loss of those
predictions. It returns both. `fit` then trains on the whole block with what was chosen. So nothing is given up to a
holdout, and calibration finds predictions of the training block that are honest.

Rows that are weighted or resampled
-----------------------------------
Examples may carry a `rebalance`: how churners and stayers are to be evened out before anything is learned. It is a
description, not a deed. A family splits first and calls `balanced` on the rows that it is about to learn from, never on
rows that it predicts; the rows that `balanced` gives refuse to be split again. So a copy or a blend of a row can never
lie on both sides of a split. A model that learned from balanced rows takes churn for more common than it is; the family
adds `prior_shift` of its training rows to held-out margins before it judges them, for otherwise the best number of
rounds would be the one that has not yet learned the wrong base rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from tenure.core.progress import Progress, silent

__all__ = [
    "Choice",
    "Column",
    "Contributions",
    "CrossFit",
    "Examples",
    "Explanation",
    "Family",
    "Flags",
    "Folds",
    "Matrix",
    "Model",
    "Rebalance",
    "RowModel",
    "Vector",
    "log_odds",
    "sigmoid",
]

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Folds = npt.NDArray[np.int64]
"""The fold of each row, 0 to `folds - 1`: whose training leaves it out."""
Choice = Mapping[str, float]
Explanation = Literal[
    "exact Shapley values (tree paths)",
    "exact Shapley values (coefficients)",
    "sampled Shapley values (background rows)",
    "weighted sum of the members' Shapley values",
    "Shapley values of the first member",
]
"""How a family's contributions are found: exactly, or by asking the model about mixtures of rows."""


@dataclass(frozen=True)
class Column:
    """One column of the matrix.

    Parameters
    ----------
    name : str
        The feature's name.
    categories : int
        0 for a number. Otherwise the number of codes, 0 to `categories - 1`; the last one stands for every value that
        is rare or was never seen. Missing is NaN in both cases.

    Examples
    --------
    >>> Column("plan", categories=3).is_category
    True
    """

    name: str
    categories: int = 0

    @property
    def is_category(self) -> bool:
        """Whether the column holds codes."""
        return self.categories > 0


class Rebalance(Protocol):
    """How churners and stayers are evened out before anything is learned. Immutable."""

    def prior_shift(self, label: Flags) -> float:
        """Log odds to add to a margin that was learned from the balanced rows, so that it speaks of the given ones."""

    def apply(self, examples: Examples, seed: int) -> Examples:
        """The rows to learn from: weighted, left out or added to."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from.

    Parameters
    ----------
    matrix : float32 array (rows, columns)
        Column-major, as the encoder makes it; NaN is missing, nothing is infinite.
    label : bool array (rows,)
        Whether the customer was lost.
    group : int64 array (rows,)
        The customer behind each row, 0 to `customers - 1`.
    columns : tuple of Column
        What the matrix holds.
    weight : float64 array (rows,), optional
        How much each row counts; without it all count the same. Every family honours it.
    rebalance : Rebalance, optional
        What `balanced` shall do.
    is_balanced : bool
        Whether these rows came from `balanced`: they are for learning from and cannot be split.

    Examples
    --------
    >>> rows = Examples(np.zeros((2, 1), np.float32), np.array([True, False]), np.array([0, 1]), (Column("x"),))
    >>> rows.take(np.array([True, False])).label
    array([ True])
    """

    matrix: Matrix
    label: Flags
    group: npt.NDArray[np.int64]
    columns: tuple[Column, ...]
    weight: Vector | None = None
    rebalance: Rebalance | None = None
    is_balanced: bool = False

    @property
    def prior_shift(self) -> float:
        """Log odds to add to a margin learned from `balanced`, so that it speaks of these rows; 0 without rebalance."""
        return 0.0 if self.rebalance is None else self.rebalance.prior_shift(self.label)

    def balanced(self, seed: int) -> Examples:
        """The rows to learn from, with `rebalance` done; call it last, on rows that are not split any further.

        Examples
        --------
        >>> rows = Examples(np.zeros((1, 1), np.float32), np.array([True]), np.array([0]), (Column("x"),))
        >>> rows.balanced(seed=0).take(np.array([True]))
        Traceback (most recent call last):
        RuntimeError: Balanced rows must not be split: a blend of two rows could lie on both sides. Split first.
        """
        drawn = self if self.rebalance is None else self.rebalance.apply(self, seed)
        return replace(drawn, rebalance=None, is_balanced=True)

    def take(self, rows: Flags) -> Self:
        """The rows that a mask marks; the matrix stays column-major."""
        if self.is_balanced:
            raise RuntimeError(
                "Balanced rows must not be split: a blend of two rows could lie on both sides. Split first."
            )
        matrix = np.empty((int(rows.sum()), self.matrix.shape[1]), dtype=np.float32, order="F")
        for index in range(self.matrix.shape[1]):  # column by column: no second copy of the matrix in between
            matrix[:, index] = self.matrix[rows, index]
        weight = None if self.weight is None else self.weight[rows]
        return replace(self, matrix=matrix, label=self.label[rows], group=self.group[rows], weight=weight)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitting found: honest probabilities of the training rows, and the choice that gave the best ones.

    Parameters
    ----------
    probability : float64 array (rows,)
        Of each row, by the model of a fold whose training never saw the row's customer; where that training was
        rebalanced, moved by its `prior_shift`.
    choice : mapping of str to float
        For example `{"rounds": 143.0}` or `{"C": 0.1}`.
    log_loss : float
        Of `probability`, in nats per row.
    """

    probability: Vector
    choice: Choice
    log_loss: float


@dataclass(frozen=True, eq=False)
class Contributions:
    """What every column adds to the margin of every row: Shapley values (Lundberg and Lee 2017), in log odds.

    Parameters
    ----------
    values : float64 array (rows, columns)
        In the order of `encoder.layout`. Positive speaks for leaving.
    base : float64 array (rows,)
        Margin of the usual row, before anything is known of this one. `base + values.sum(axis=1)` is the row's margin,
        to the precision of float32.

    Examples
    --------
    >>> Contributions(np.array([[0.5, -1.0]]), np.array([-2.0])).margin
    array([-2.5])
    """

    values: Vector
    base: Vector

    @classmethod
    def asked(cls, ask: Callable[[Matrix], npt.ArrayLike], matrix: Matrix) -> Self:
        """Of a library of trees: those put the base into a last column, and most refuse to be asked about no rows.

        Examples
        --------
        >>> Contributions.asked(lambda matrix: [[0.5, -1.0, -2.0]], np.zeros((1, 2), np.float32)).base
        array([-2.])
        """
        if not len(matrix):
            return cls(np.empty(matrix.shape), np.empty(0))
        found = np.asarray(ask(matrix), dtype=np.float64)
        return cls(found[:, :-1], found[:, -1])

    @property
    def margin(self) -> Vector:
        """Log odds of churn that the contributions add up to, float64 (rows,)."""
        return np.asarray(self.base + self.values.sum(axis=1), dtype=np.float64)


class Model(Protocol):
    """A trained model. It is immutable and may be called from several threads at once."""

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn of each row, before calibration."""

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn of each row, in [0, 1], before calibration."""

    def contributions(self, matrix: Matrix) -> Contributions:
        """What each column adds to each row's margin, before calibration."""

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the model into a folder and give the names of the files written."""


@runtime_checkable
class RowModel(Protocol):
    """A model with a faster way for one row; `Parts.predict_row` takes it where there is one."""

    def row_margin(self, row: Matrix) -> float:
        """Log odds of one row, float32 (columns,): what `predict_margin` gives for it, bit for bit."""


class Family(Protocol):
    """A way to learn, with its settings. Its registry name is the key it has in `FAMILIES`."""

    name: ClassVar[str]
    explanation: ClassVar[Explanation]
    """How its models find their contributions."""

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Predict every row by a model that never saw its customer, and choose what has to be chosen."""

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> Model:
        """Train on all rows with a choice that `cross_fit` made."""

    def load(self, folder: Path) -> Model:
        """Read a model that `Model.save` wrote."""


def sigmoid(margin: Vector) -> Vector:
    """Probability from log odds, without overflow.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def log_odds(probability: Vector, inside: float) -> Vector:
    """Log odds of probabilities; those nearer to 0 or 1 than `inside` are moved there, so that all are finite.

    Examples
    --------
    >>> log_odds(np.array([0.0, 0.5, 1.0]), 1e-9).round(2).tolist()
    [-20.72, 0.0, 20.72]
    """
    moved = np.clip(probability, inside, 1 - inside)
    return np.asarray(np.log(moved) - np.log1p(-moved), dtype=np.float64)
