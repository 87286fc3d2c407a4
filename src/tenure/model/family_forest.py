"""Random forest (Breiman 2001), grown by XGBoost.

Enters: encoded examples. Leaves: a `ForestModel`, one UBJ file on disk. Invariant: every tree is grown from its own
rows and columns alone, a leaf holds the churn rate of its rows, and the forest's rate is the mean over its trees.

XGBoost grows exactly that when one round grows many trees on squared errors without shrinkage: the best split of a
label by squared error is the best one by Gini impurity, and a leaf's best value is its churn rate. So a forest has the
same safe format, the same understanding of missing values and categories, and the same exact explanations as boosted
trees.

A tree sees 63 % of the rows, drawn without replacement (as many different ones as a bootstrap would hold), and at each
split the square root of the columns. How many rows a leaf needs is chosen by the log loss of customers held out.

The log odds are `slope * vote + intercept`, with two numbers learned on held-out votes, and the vote is the mean of
what a row's leaves hold: rates or log odds (`tenure.model.forest_leaves`), whichever has the lower log loss. The
straight line keeps the explanations exact: what the trees add to the vote, times the slope, is what they add to the log
odds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xgboost as xgb
from sklearn.linear_model import LogisticRegression

from tenure.core.progress import Progress, silent
from tenure.model.booster import exact_contributions, finished, quantised, read_booster, recalled, save_booster
from tenure.model.cross_fit import held_out_rows, judged
from tenure.model.fold import at_most
from tenure.model.forest_leaves import with_log_odds
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Flags,
    Folds,
    Matrix,
    Vector,
    sigmoid,
)
from tenure.model.target_mean import TargetMeans, learning_rows

__all__ = ["ForestFamily", "ForestModel", "ForestSettings"]

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
        Least rows of a leaf, to choose from; they are tried from large to small until the log loss no longer falls.
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
    leaf_rows: tuple[int, ...] = (100, 30, 10, 3)
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
        The trees; it predicts the mean of what a row's leaves hold.
    slope, intercept : float
        What makes log odds of the vote.
    means : TargetMeans
        Rates of the columns with many categories.
    """

    booster: xgb.Booster
    slope: float
    intercept: float
    means: TargetMeans

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        return self.slope * _votes(self.booster, self.means.apply(matrix)) + self.intercept

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """Exact Shapley values over the paths of the trees, times the slope."""
        found = exact_contributions(self.booster, self.means.apply(matrix))
        return Contributions(self.slope * found.values, self.slope * found.base + self.intercept)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.ubj`."""
        return save_booster(self.booster, folder)


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
    >>> model = ForestFamily().fit(
    ...     rows, {"leaf_rows": 4, "log_odds": 1, "slope": 1.0, "intercept": 0.0}, seed=0, threads=1
    ... )
    >>> model.predict_proba(matrix[[0, 199]]).round(1).tolist()
    [0.0, 1.0]
    """

    name: ClassVar[str] = "forest"
    explanation: ClassVar[Explanation] = "exact Shapley values (tree paths)"
    settings: ForestSettings = ForestSettings()

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Choose how large leaves are by the log loss of held-out customers, and give those predictions."""
        grounds = [_Ground.of(self.settings, examples, rows, seed, threads) for rows in held_out_rows(fold)]
        best, sizes = CrossFit(np.empty(0), {}, np.inf), self._leaf_sizes(len(fold))
        for place, size in enumerate(sizes):
            votes = np.empty((2, len(fold)))
            for number, ground in enumerate(grounds):
                votes[:, ground.held_out] = self._both_votes(ground, size, seed, threads)
                progress("cross-fit", (place + (number + 1) / len(grounds)) / len(sizes))
            found = [_on_line(vote, examples, leaf_rows=size, log_odds=float(kind)) for kind, vote in enumerate(votes)]
            better = min(found, key=lambda result: result.log_loss)
            if better.log_loss >= best.log_loss:
                break
            best = better
        progress("cross-fit", 1.0)
        return best

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> ForestModel:
        """Grow the forest on all examples."""
        nobody = np.zeros(len(examples.label), dtype=np.bool_)
        ground, trees = _Ground.of(self.settings, examples, nobody, seed, threads), self.settings.trees
        booster = self._grow(ground, choice["leaf_rows"], trees, seed, threads)
        if choice["log_odds"]:
            booster = with_log_odds(booster, ground.overall, trees)
        record = _Record(float(choice["slope"]), float(choice["intercept"]), ground.means)
        progress("fit", 1.0)
        return _model(finished(booster, _RECORD, record))

    def load(self, folder: Path) -> ForestModel:
        """Read `model.ubj`."""
        return _model(read_booster(folder))

    def _leaf_sizes(self, rows: int) -> list[float]:
        """From large to small: small leaves take long, and pay only where smaller was better so far."""
        least = self.settings.leaf_share * min(rows, self.settings.most_rows)
        sizes = sorted({max(float(size), np.ceil(least)) for size in self.settings.leaf_rows}, reverse=True)
        return [size for size in sizes if size <= max(rows / 20, sizes[-1])]  # a leaf of half the rows tells nothing

    def _both_votes(self, ground: _Ground, leaf_rows: float, seed: int, threads: int | None) -> Vector:
        """Of the held-out rows, by rates and by log odds, float64 (2, held-out rows)."""
        trees = self.settings.trees_to_choose
        booster = self._grow(ground, leaf_rows, trees, seed, threads)
        voting = with_log_odds(booster, ground.overall, trees)
        return np.stack([_votes(booster, ground.rest), _votes(voting, ground.rest)])

    def _grow(self, ground: _Ground, leaf_rows: float, trees: int, seed: int, threads: int | None) -> xgb.Booster:
        booster = xgb.Booster(self._parameters(ground, leaf_rows, trees, seed, threads), [ground.rows])
        booster.update(ground.rows, 0)
        return booster

    def _parameters(
        self, ground: _Ground, leaf_rows: float, trees: int, seed: int, threads: int | None
    ) -> dict[str, Any]:
        columns = ground.rows.num_col()
        return {
            "objective": "reg:squarederror",
            "base_score": ground.overall,
            "learning_rate": 1.0,
            "reg_lambda": 0.0,
            "max_depth": 0,  # no limit: leaves end by their rows
            "min_child_weight": leaf_rows,  # with squared errors a row weighs 1
            "num_parallel_tree": trees,
            "subsample": self.settings.row_share if ground.rows.num_row() > 20 else 1.0,
            "colsample_bynode": np.ceil(np.sqrt(columns)) / columns,
            "tree_method": "hist",
            "max_bin": self.settings.max_bin,
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }


@dataclass(frozen=True, eq=False)
class _Ground:
    """What forests grow from: quantised rows, their churn rate, what became of columns with many categories.

    Beside it, the rows that were held out, as those trees will take them.
    """

    rows: xgb.DMatrix
    overall: float
    means: TargetMeans
    held_out: Flags
    rest: Matrix

    @classmethod
    def of(
        cls, settings: ForestSettings, examples: Examples, held_out: Flags, seed: int, threads: int | None
    ) -> _Ground:
        means, training = learning_rows(at_most(examples.take(~held_out), settings.most_rows, seed=seed), seed=seed)
        rows, overall = _rows(training, settings.max_bin, threads)
        return cls(rows, overall, means, held_out, means.apply(examples.matrix[held_out]))


def _on_line(vote: Vector, examples: Examples, **choice: float) -> CrossFit:
    slope, intercept = _line(vote, examples.label, examples.weight)
    # Votes of rebalanced rows make log odds of rebalanced rows: what is trained is corrected later, so not here.
    choice |= {"slope": slope, "intercept": intercept - examples.prior_shift}
    return judged(examples.label, slope * vote + intercept, choice)


def _line(vote: Vector, label: Flags, weight: Vector | None) -> tuple[float, float]:
    """Slope and intercept with which votes give the log odds that fit best; the slope is never negative.

    The penalty is far too weak to be felt, unless the votes tell all churners from all stayers.
    """
    found = LogisticRegression(C=1e4, tol=1e-8, max_iter=1000).fit(vote[:, None], label, sample_weight=weight)
    slope, intercept = float(found.coef_[0, 0]), float(found.intercept_[0])
    if slope >= 0:
        return slope, intercept
    overall = float(np.average(label, weights=weight))
    return 0.0, float(np.log(overall) - np.log1p(-overall))


def _votes(booster: xgb.Booster, encoded: Matrix) -> Vector:
    if not len(encoded):
        return np.empty(0)
    return np.asarray(booster.inplace_predict(encoded, validate_features=False), dtype=np.float64)


def _rows(training: Examples, max_bin: int, threads: int | None) -> tuple[xgb.DMatrix, float]:
    """The rows as XGBoost takes them, with weights of mean 1, and their churn rate."""
    weight = None if training.weight is None else training.weight / training.weight.mean()
    rows = quantised(replace(training, weight=weight), max_bin, threads)
    return rows, float(np.average(training.label, weights=weight))


def _model(booster: xgb.Booster) -> ForestModel:
    record = recalled(booster, _RECORD, _Record)
    return ForestModel(booster, record.slope, record.intercept, record.means)
