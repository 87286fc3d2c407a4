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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from tenure.core.progress import Progress, silent

__all__ = ["Choice", "Column", "CrossFit", "Examples", "Family", "Flags", "Matrix", "Model", "Vector", "sigmoid"]

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Choice = Mapping[str, float]


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

    def take(self, rows: Flags) -> Self:
        """The rows that a mask marks; the matrix stays column-major."""
        matrix = np.empty((int(rows.sum()), self.matrix.shape[1]), dtype=np.float32, order="F")
        for index in range(self.matrix.shape[1]):  # column by column: no second copy of the matrix in between
            matrix[:, index] = self.matrix[rows, index]
        return replace(self, matrix=matrix, label=self.label[rows], group=self.group[rows])


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitting found: honest probabilities of the training rows, and the choice that gave the best ones.

    Parameters
    ----------
    probability : float64 array (rows,)
        Of each row, by the model of a fold whose training never saw the row's customer.
    choice : mapping of str to float
        For example `{"rounds": 143.0}` or `{"C": 0.1}`.
    log_loss : float
        Of `probability`, in nats per row.
    """

    probability: Vector
    choice: Choice
    log_loss: float


class Model(Protocol):
    """A trained model. It is immutable and may be called from several threads at once."""

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn of each row, before calibration."""

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn of each row, in [0, 1], before calibration."""

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the model into a folder and give the names of the files written."""


class Family(Protocol):
    """A way to learn, with its settings. Its registry name is the key it has in `FAMILIES`."""

    name: ClassVar[str]
    splits_on_categories: ClassVar[bool]
    """Whether codes are used as categories directly; otherwise the family expands them itself."""
    gives_coefficients: ClassVar[bool]
    """Whether the model has a coefficient per column that explains it."""

    def cross_fit(self, examples: Examples, fold: npt.NDArray[np.int64], *, seed: int, threads: int | None = None,
                  progress: Progress = silent) -> CrossFit:  # fmt: skip
        """Predict every row by a model that never saw its customer, and choose what has to be chosen."""

    def fit(self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None,
            progress: Progress = silent) -> Model:  # fmt: skip
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
