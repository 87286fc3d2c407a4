"""Logistic regression, through scikit-learn.

Enters: encoded examples. Leaves: a `LogisticModel`, coefficients in one JSON file. Invariant: what a column needs
before it is weighed (fill value, scale) is learned from the rows that the coefficients are learned from, and kept with
them, so predicting needs numpy alone.

A number `x` becomes `sign(x) * log(1 + |x|)`, because counts and money have long tails; it is standardised and held
within six standard deviations, so that one absurd row cannot get an absurd score. A missing number takes the median,
and a column with gaps has an indicator. A category has a coefficient per value; one with many values becomes a churn
rate (`tenure.model.target_mean`). The penalty is chosen by the log loss of customers that were held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from tenure.core.progress import Progress, silent
from tenure.model.cross_fit import held_out_rows, judged
from tenure.model.document import read_file, write_file
from tenure.model.fold import at_most
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Flags,
    Folds,
    Matrix,
    Model,
    Vector,
    sigmoid,
)
from tenure.model.target_mean import TargetMeans, learning_rows

__all__ = ["LogisticFamily", "LogisticModel", "LogisticSettings", "Term"]

FILE = "model.json"
LIMIT = 6.0
Design = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LogisticSettings:
    """How coefficients are learned; the defaults held up on every data set that was tried.

    Parameters
    ----------
    strengths : tuple of float
        Inverse penalties (scikit-learn's C) to choose from, ascending.
    most_rows : int
        Rows to learn from; of more, whole customers are drawn. A few hundred coefficients gain nothing from the rest.
    """

    strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    most_rows: int = 250_000


@dataclass(frozen=True)
class Term:
    """What one column of the matrix adds to the margin.

    Parameters
    ----------
    name : str
        The feature's name.
    fill : float
        Value in place of a missing number, after the logarithm.
    center, scale : float
        Mean and standard deviation, after the logarithm and filling.
    weights : tuple of float
        One coefficient per standard deviation for a number; one per code for a category.
    missing : float
        Added where the value is missing.
    is_category : bool
        Whether the column holds codes.
    usual : float
        What the column adds on average over the training rows.
    """

    name: str
    fill: float
    center: float
    scale: float
    weights: tuple[float, ...]
    missing: float
    is_category: bool
    usual: float = 0.0


@dataclass(frozen=True)
class LogisticModel:
    """Coefficients.

    Parameters
    ----------
    intercept : float
        Margin of a row whose terms are all zero.
    terms : tuple of Term
        One per column of the matrix, in its order.
    means : TargetMeans
        Rates of the columns with many categories.
    """

    intercept: float
    terms: tuple[Term, ...]
    means: TargetMeans

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        encoded = self.means.apply(matrix)
        margin = np.full(len(matrix), self.intercept)
        for place, term in enumerate(self.terms):
            margin += _added(term, encoded[:, place])
        return margin

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """How far what each column adds lies from what it usually adds: Shapley values, exact where terms add up."""
        encoded = self.means.apply(matrix)
        values = np.empty(matrix.shape)
        for place, term in enumerate(self.terms):
            values[:, place] = _added(term, encoded[:, place]) - term.usual
        return Contributions(values, np.full(len(matrix), self.intercept + sum(term.usual for term in self.terms)))

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.json`."""
        write_file(folder, FILE, self)
        return (FILE,)


@dataclass(frozen=True)
class LogisticFamily:
    """Logistic regression.

    Parameters
    ----------
    settings : LogisticSettings
        How coefficients are learned.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix = np.asfortranarray(np.arange(200, dtype=np.float32)[:, None])
    >>> rows = Examples(matrix, np.arange(200) > 150, np.arange(200), (Column("age"),))
    >>> model = LogisticFamily().fit(rows, {"C": 1.0}, seed=0)
    >>> model.predict_proba(matrix[[0, 199]]).round(1).tolist()
    [0.0, 0.8]
    """

    name: ClassVar[str] = "logistic"
    explanation: ClassVar[Explanation] = "exact Shapley values (coefficients)"
    settings: LogisticSettings = LogisticSettings()

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Choose the penalty by the log loss of held-out customers, and give those predictions."""
        strengths, folds = self.settings.strengths, held_out_rows(fold)
        margins = np.empty((len(strengths), len(fold)))
        for number, held_out in enumerate(folds):
            rest = examples.matrix[held_out]
            training = examples.take(~held_out)
            models = self._path(training, strengths, seed, threads)
            margins[:, held_out] = np.stack([model.predict_margin(rest) for model in models]) + training.prior_shift
            progress("cross-fit", (number + 1) / len(folds))
        found = [judged(examples.label, margin, {"C": C}) for C, margin in zip(strengths, margins, strict=True)]
        return min(found, key=lambda result: result.log_loss)

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> Model:
        """Learn coefficients from all examples with the chosen penalty."""
        model = self._path(examples, (choice["C"],), seed, threads)[0]
        progress("fit", 1.0)
        return model

    def load(self, folder: Path) -> Model:
        """Read `model.json`."""
        return read_file(folder, FILE, LogisticModel)

    def _path(
        self, examples: Examples, strengths: Sequence[float], seed: int, threads: int | None
    ) -> list[LogisticModel]:
        """A model per strength; each starts where the one before it, with the stronger penalty, arrived."""
        means, training = learning_rows(at_most(examples, self.settings.most_rows, seed=seed), seed=seed)
        matrix = training.matrix
        terms = [_study(training, matrix[:, place], place) for place in range(matrix.shape[1])]
        design = np.hstack([_columns(term, matrix[:, place]) for place, term in enumerate(terms)])
        usual = np.average(design, axis=0, weights=training.weight)
        solver = LogisticRegression(solver="newton-cholesky", max_iter=200, warm_start=True)
        models = []
        with threadpool_limits(threads, user_api="blas"):
            for strength in strengths:
                solver.set_params(C=strength).fit(design, training.label, sample_weight=training.weight)
                weighed = _weighed(terms, solver.coef_[0], usual)
                models.append(LogisticModel(float(solver.intercept_[0]), weighed, means))
        return models


def _study(examples: Examples, values: Values, place: int) -> Term:
    """The term of a column before its weights are known: placeholders, as many as it will have."""
    column, missing = examples.columns[place], np.isnan(values)
    gap = 1.0 if missing.any() else 0.0
    if column.is_category:
        return Term(column.name, 0.0, 0.0, 1.0, (1.0,) * column.categories, gap, is_category=True)
    numbers = _flattened(values)
    fill = float(np.median(numbers[~missing])) if not missing.all() else 0.0
    filled = np.where(missing, fill, numbers)
    return Term(column.name, fill, float(filled.mean()), float(filled.std()) or 1.0, (1.0,), gap, is_category=False)


def _columns(term: Term, values: Values) -> Design:
    """The columns that a term is learned from: one per weight, and one for missing values where there are any."""
    missing = np.isnan(values)
    if term.is_category:
        columns = np.eye(len(term.weights) + 1)[_codes(term, values, missing)]
    else:
        columns = np.stack([_standard(term, values, missing), missing], axis=1)
    return columns if term.missing else columns[:, :-1]


def _added(term: Term, values: Values) -> Vector:
    """What a column adds to the margin of each row."""
    missing = np.isnan(values)
    if term.is_category:
        return np.append(term.weights, term.missing)[_codes(term, values, missing)]
    added = term.weights[0] * _standard(term, values, missing)
    added[missing] += term.missing
    return added


def _codes(term: Term, values: Values, missing: Flags) -> npt.NDArray[np.int64]:
    return np.where(missing, len(term.weights), values).astype(np.int64)


def _standard(term: Term, values: Values, missing: Flags) -> Vector:
    filled = np.where(missing, term.fill, _flattened(values))
    return np.clip((filled - term.center) / term.scale, -LIMIT, LIMIT)


def _flattened(values: Values) -> Vector:
    exact = values.astype(np.float64)
    return np.asarray(np.sign(exact) * np.log1p(np.abs(exact)), dtype=np.float64)


def _weighed(terms: Sequence[Term], coefficients: Vector, usual: Vector) -> tuple[Term, ...]:
    """The terms with their weights, and with what the mean of their columns makes of them."""
    found, start = [], 0
    for term in terms:
        size = len(term.weights) + bool(term.missing)
        weights, means = coefficients[start : start + size], usual[start : start + size]
        start += size
        missing = float(weights[-1]) if term.missing else 0.0
        found.append(replace(term, weights=tuple(weights[: len(term.weights)].tolist()), missing=missing,
                             usual=float(weights @ means)))  # fmt: skip
    return tuple(found)
