"""Random forest (Breiman 2001), grown by XGBoost.

Enters: encoded examples. Leaves: a `ForestModel`, one UBJ file on disk. Invariant: every tree is grown from its own
rows and columns alone, a leaf holds the churn rate of its rows, and the forest's rate is the mean over its trees.

XGBoost grows exactly that when one round grows many trees on squared errors without shrinkage: the best split of a
label by squared error is the best one by Gini impurity, and a leaf's best value is its churn rate. So a forest has the
same safe format, the same understanding of missing values and categories, and the same exact explanations as boosted
trees.

A tree sees 63 % of the rows, drawn without replacement (as many different ones as a bootstrap would hold), and at each
split the square root of the columns. How many rows a leaf needs is chosen by the log loss of customers held out.

The log odds are `slope * rate + intercept` with two numbers learned on held-out rates. The straight line is what keeps
the explanations exact: what the trees add to the rate is then what they add to the log odds, times the slope. Where the
line should bend, calibration bends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from sklearn.linear_model import LogisticRegression

from tenure.core.progress import Progress, silent
from tenure.model.document import build, canonical, parse, plain
from tenure.model.fold import draw_customers
from tenure.model.measure import row_log_loss
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Flags,
    Matrix,
    Vector,
    sigmoid,
)
from tenure.model.target_mean import FEW, TargetMeans, learn_target_means

__all__ = ["ForestFamily", "ForestModel", "ForestSettings"]

FILE = "model.ubj"
_RECORD = "forest"


@dataclass(frozen=True)
class ForestSettings:
    """How trees are grown; the defaults held up on every data set that was tried.

    Parameters
    ----------
    trees : int
        Trees of the forest.
    trees_to_choose : int
        Trees of the forests that are compared.
    leaf_rows : tuple of int
        Least rows of a leaf, to choose from.
    leaf_share : float
        A leaf has at least this share of the rows too, so that a forest of a large table stays of a bearable size.
    row_share : float
        Share of the rows that a tree sees.
    max_bin : int
        As XGBoost means it.
    most_rows : int
        Rows to learn from; of more, whole customers are drawn.
    """

    trees: int = 300
    trees_to_choose: int = 100
    leaf_rows: tuple[int, ...] = (4, 12, 36)
    leaf_share: float = 2e-4
    row_share: float = 0.632
    max_bin: int = 128
    most_rows: int = 500_000


@dataclass(frozen=True)
class _Record:
    """What the UBJ file keeps beside the trees."""

    slope: float
    intercept: float
    means: TargetMeans


@dataclass(frozen=True, eq=False)
class ForestModel:
    """Trained trees.

    Parameters
    ----------
    booster : xgboost.Booster
        The trees; it predicts the mean churn rate of a row's leaves.
    slope, intercept : float
        What makes log odds of the rate.
    means : TargetMeans
        Rates of the columns with many categories.
    """

    booster: xgb.Booster
    slope: float
    intercept: float
    means: TargetMeans

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        return self.slope * _rates(self.booster, self.means.apply(matrix)) + self.intercept

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """Exact Shapley values over the paths of the trees, times the slope."""
        if not len(matrix):
            return Contributions(np.empty(matrix.shape), np.empty(0))
        rows = xgb.DMatrix(self.means.apply(matrix), feature_types=self.booster.feature_types, enable_categorical=True)
        found = self.booster.predict(rows, pred_contribs=True, validate_features=False).astype(np.float64)
        return Contributions(self.slope * found[:, :-1], self.slope * found[:, -1] + self.intercept)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.ubj`."""
        self.booster.save_model(folder / FILE)
        return (FILE,)


@dataclass(frozen=True)
class ForestFamily:
    """Random forest.

    Parameters
    ----------
    settings : ForestSettings
        How trees are grown.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix = np.asfortranarray(np.arange(200, dtype=np.float32)[:, None])
    >>> rows = Examples(matrix, np.arange(200) > 150, np.arange(200), (Column("age"),))
    >>> model = ForestFamily().fit(rows, {"leaf_rows": 4, "slope": 6.0, "intercept": -3.0}, seed=0, threads=1)
    >>> model.predict_proba(matrix[[0, 199]]).round(1).tolist()
    [0.0, 1.0]
    """

    name: ClassVar[str] = "forest"
    splits_on_categories: ClassVar[bool] = True
    gives_coefficients: ClassVar[bool] = False
    explanation: ClassVar[Explanation] = "exact Shapley values (tree paths)"
    settings: ForestSettings = ForestSettings()

    def cross_fit(
        self,
        examples: Examples,
        fold: npt.NDArray[np.int64],
        *,
        seed: int,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> CrossFit:
        """Choose how large leaves are by the log loss of held-out customers, and give those predictions."""
        sizes = self._leaf_sizes(len(fold))
        rates, numbers = np.empty((len(sizes), len(fold))), range(int(fold.max()) + 1)
        for number in numbers:
            held_out = fold == number
            rest, training = examples.matrix[held_out], examples.take(~held_out)
            for place, size in enumerate(sizes):
                booster, means = self._grow(training, size, self.settings.trees_to_choose, seed, threads)
                rates[place, held_out] = _rates(booster, means.apply(rest))
                progress("cross-fit", (number + (place + 1) / len(sizes)) / len(numbers))
        progress("cross-fit", 1.0)
        found = [_judged(size, rate, examples) for size, rate in zip(sizes, rates, strict=True)]
        return min(found, key=lambda result: result.log_loss)

    def fit(
        self,
        examples: Examples,
        choice: Choice,
        *,
        seed: int,
        threads: int | None = None,
        progress: Progress = silent,
    ) -> ForestModel:
        """Grow the forest on all examples."""
        booster, means = self._grow(examples, choice["leaf_rows"], self.settings.trees, seed, threads)
        record = _Record(float(choice["slope"]), float(choice["intercept"]), means)
        booster.set_attr(**{_RECORD: canonical(plain(record)).decode()})
        fresh = xgb.Booster()  # the model as a reader of its file will see it: without training state
        fresh.load_model(booster.save_raw("ubj"))
        progress("fit", 1.0)
        return _model(fresh)

    def load(self, folder: Path) -> ForestModel:
        """Read `model.ubj`."""
        booster = xgb.Booster()
        booster.load_model(folder / FILE)
        return _model(booster)

    def _leaf_sizes(self, rows: int) -> list[float]:
        least = self.settings.leaf_share * min(rows, self.settings.most_rows)
        sizes = sorted({max(float(size), np.ceil(least)) for size in self.settings.leaf_rows})
        return [size for size in sizes if size <= max(rows / 20, sizes[0])]  # a leaf of half the rows tells nothing

    def _grow(
        self, examples: Examples, leaf_rows: float, trees: int, seed: int, threads: int | None
    ) -> tuple[xgb.Booster, TargetMeans]:
        if len(examples.label) > self.settings.most_rows:
            drawn = draw_customers(examples.group, examples.label, self.settings.most_rows, seed=seed)
            examples = examples.take(drawn)
        means, encoded = learn_target_means(examples, seed=seed)
        training = means.encoded(examples, encoded).balanced(seed)
        rows, overall = _rows(training, self.settings.max_bin, threads)
        booster = xgb.Booster(self._parameters(training, leaf_rows, trees, overall, seed, threads), [rows])
        booster.update(rows, 0)
        return booster, means

    def _parameters(
        self, training: Examples, leaf_rows: float, trees: int, overall: float, seed: int, threads: int | None
    ) -> dict[str, Any]:
        columns = training.matrix.shape[1]
        return {
            "objective": "reg:squarederror",
            "base_score": overall,
            "learning_rate": 1.0,
            "reg_lambda": 0.0,
            "max_depth": 0,  # no limit: leaves end by their rows
            "min_child_weight": leaf_rows,  # with squared errors a row weighs 1
            "num_parallel_tree": trees,
            "subsample": self.settings.row_share if len(training.label) > 20 else 1.0,
            "colsample_bynode": np.ceil(np.sqrt(columns)) / columns,
            "tree_method": "hist",
            "max_bin": self.settings.max_bin,
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }


def _judged(leaf_rows: float, rate: Vector, examples: Examples) -> CrossFit:
    slope, intercept = _line(rate, examples.label, examples.weight)
    probability = sigmoid(slope * rate + intercept)
    # Rates of rebalanced rows make log odds of rebalanced rows: what is trained is corrected later, so not here.
    choice = {"leaf_rows": leaf_rows, "slope": slope, "intercept": intercept - examples.prior_shift}
    return CrossFit(probability, choice, float(row_log_loss(examples.label, probability).mean()))


def _line(rate: Vector, label: Flags, weight: Vector | None) -> tuple[float, float]:
    """Slope and intercept with which rates give the log odds that fit best; the slope is never negative.

    The penalty is far too weak to be felt, unless the rates tell all churners from all stayers.
    """
    found = LogisticRegression(C=1e4, tol=1e-8, max_iter=1000).fit(rate[:, None], label, sample_weight=weight)
    slope, intercept = float(found.coef_[0, 0]), float(found.intercept_[0])
    if slope >= 0:
        return slope, intercept
    overall = float(np.average(label, weights=weight))
    return 0.0, float(np.log(overall) - np.log1p(-overall))


def _rates(booster: xgb.Booster, encoded: Matrix) -> Vector:
    if not len(encoded):
        return np.empty(0)
    return np.asarray(booster.inplace_predict(encoded, validate_features=False), dtype=np.float64)


def _rows(training: Examples, max_bin: int, threads: int | None) -> tuple[xgb.DMatrix, float]:
    """The rows as XGBoost takes them, with weights of mean 1, and their churn rate."""
    weight = None if training.weight is None else training.weight / training.weight.mean()
    types = ["c" if 0 < column.categories <= FEW + 1 else "q" for column in training.columns]
    rows = xgb.QuantileDMatrix(
        training.matrix,
        training.label,
        weight=weight,
        feature_types=types,
        enable_categorical=True,
        max_bin=max_bin,
        nthread=threads,
    )
    return rows, float(np.average(training.label, weights=weight))


def _model(booster: xgb.Booster) -> ForestModel:
    document = parse((booster.attr(_RECORD) or "").encode(), f"{FILE}: {_RECORD}")
    record: _Record = build(_Record, document, f"{FILE}: {_RECORD}")
    return ForestModel(booster, record.slope, record.intercept, record.means)
