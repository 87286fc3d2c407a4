"""Gradient-boosted trees (Chen and Guestrin 2016), through XGBoost.

Enters: encoded examples. Leaves: an `XGBoostModel`, one UBJ file on disk. Invariant: the number of rounds and the depth
of the trees are chosen by the log loss of customers that a tree never saw, and the file's bytes follow from the
examples, the choice and the seed, however many threads worked.

Missing values take the branch that lowers the loss most. Up to ten categories are split on directly; a column with more
becomes a churn rate (`tenure.model.target_mean`), kept inside the UBJ file as an attribute.

Early stopping
--------------
One booster per fold grows in step with the others, and after each round all of them predict their held-out customers.
Boosting stops when the mean log loss has not fallen for `patience` rounds. One curve over all rows is far steadier than
one holdout's, its minimum needs only one number to be chosen, and the predictions at the minimum calibrate the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xgboost as xgb

from tenure.core.progress import Progress, part, silent
from tenure.model.booster import exact_contributions, finished, quantised, read_booster, recalled, save_booster
from tenure.model.cross_fit import best_rounds, held_out_rows, judged
from tenure.model.flat_trees import FlatTrees, flatten
from tenure.model.fold import draw_customers
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
from tenure.model.space import Span
from tenure.model.target_mean import FEW, TargetMeans, learning_rows
from tenure.model.tree_average import average
from tenure.model.tree_paths import TreePaths, read_paths

__all__ = ["XGBoostFamily", "XGBoostModel", "XGBoostSettings"]

_Pair = tuple[xgb.DMatrix, xgb.DMatrix, Flags, float]  # training rows, held-out rows, which those are, prior shift
_FEW_ROWS = 64  # of more, a booster of some size is faster itself, and the copy is not even made
_MEANS = "target_means"
_ROUNDS = "rounds_at_depth_"


@dataclass(frozen=True)
class XGBoostSettings:
    """How trees are grown; the defaults held up on every data set that was tried.

    Parameters
    ----------
    depths : tuple of int
        Depths to choose from; their mean is a choice too.
    learning_rate, colsample_bytree : float, optional
        What a tree's leaves are multiplied with, and the share of columns it sees. Without them a deep tree, which
        learns more at once, takes shorter steps and sees less: 0.3 divided by the depth, at most 0.1, and 3 divided by
        the depth, at most 0.8.
    min_child_weight, subsample, reg_lambda, max_bin
        As XGBoost means them.
    parallel_trees : int
        Trees that a round of the final model averages. The rounds are chosen with one tree; more of them change the
        mean accuracy little, and how much it depends on the seed a lot (a fifth of the spread).
    patience : int
        Rounds without a lower loss before boosting stops.
    most_rounds : int
        Rounds at most.
    depth_rows : int
        Of more rows, the depth is chosen on about as many, drawn as whole customers.
    """

    depths: tuple[int, ...] = (3, 6)
    learning_rate: float | None = None
    colsample_bytree: float | None = None
    min_child_weight: float = 0.3
    subsample: float = 0.8
    reg_lambda: float = 2.0
    max_bin: int = 256
    parallel_trees: int = 4
    patience: int = 30
    most_rounds: int = 3000
    depth_rows: int = 200_000


@dataclass(frozen=True, eq=False)
class XGBoostModel:
    """Trained trees.

    Parameters
    ----------
    booster : xgboost.Booster
        The trees.
    means : TargetMeans
        Rates of the columns with many categories.
    """

    booster: xgb.Booster
    means: TargetMeans

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        if not len(matrix):
            return np.empty(0)
        encoded = self.means.apply(matrix)
        if len(matrix) <= _FEW_ROWS and self._flat is not None and self._flat.is_faster(len(matrix)):
            return self._flat.margins(encoded)
        margin = self.booster.inplace_predict(encoded, predict_type="margin", validate_features=False)
        return np.asarray(margin, dtype=np.float64)

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def row_margin(self, row: Matrix) -> float:
        """Log odds of one row, float32 (columns,), without the booster's own preparations for many."""
        if self._flat is None:
            return float(self.predict_margin(row[None])[0])
        return self._flat.margin(self.means.apply_row(row))

    @cached_property
    def _flat(self) -> FlatTrees | None:
        return flatten(self.booster)

    def contributions(self, matrix: Matrix) -> Contributions:
        """Exact Shapley values over the paths of the trees; a churn rate in place of a category stays its column's."""
        encoded = self.means.apply(matrix)
        if self._paths is not None:
            return self._paths.contributions(encoded)
        return exact_contributions(self.booster, encoded)

    @cached_property
    def _paths(self) -> TreePaths | None:
        return read_paths(self.booster)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.ubj`."""
        return save_booster(self.booster, folder)


@dataclass(frozen=True)
class XGBoostFamily:
    """Gradient-boosted trees.

    Parameters
    ----------
    settings : XGBoostSettings
        How trees are grown.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix = np.asfortranarray(np.arange(200, dtype=np.float32)[:, None])
    >>> rows = Examples(matrix, np.arange(200) > 150, np.arange(200), (Column("age"),))
    >>> model = XGBoostFamily().fit(rows, {"rounds": 20, "max_depth": 3}, seed=0, threads=1)
    >>> model.predict_proba(matrix[[0, 199]]).round(1).tolist()
    [0.0, 0.9]
    """

    name: ClassVar[str] = "xgboost"
    explanation: ClassVar[Explanation] = "exact Shapley values (tree paths)"
    space: ClassVar[Mapping[str, Span]] = {
        "max_depth": Span(1, 10, is_whole=True),
        "learning_rate": Span(0.01, 0.3, is_log=True),
        "min_child_weight": Span(0.5, 100.0, is_log=True),
        "subsample": Span(0.4, 1.0),
        "colsample_bytree": Span(0.2, 1.0),
        "reg_lambda": Span(0.1, 100.0, is_log=True),
    }
    settings: XGBoostSettings = XGBoostSettings()

    def tuned(self, parameters: Mapping[str, float]) -> Self:
        """The family with some of its parameters set."""
        given: dict[str, Any] = dict(parameters)
        if "max_depth" in given:
            given["depths"] = (int(given.pop("max_depth")),)
        return replace(self, settings=replace(self.settings, **given))

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Choose depth and rounds by the log loss of held-out customers, and give those predictions."""
        depths, start = self.settings.depths, 0.0
        if len(depths) > 1 and len(fold) > self.settings.depth_rows:
            drawn = draw_customers(examples.group, examples.label, self.settings.depth_rows, seed=seed)
            sample = self._compare(examples.take(drawn), fold[drawn], depths, seed, threads, part(progress, 0.0, 0.4))
            depths, start = tuple(_rounds(sample.choice)), 0.4
        return self._compare(examples, fold, depths, seed, threads, part(progress, start, 1.0 - start))

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> Model:
        """Grow the chosen number of trees on all examples."""
        means, training = self._learning(examples, seed, threads)
        rounds, grown = _rounds(choice), 0
        together = max(1, self.settings.parallel_trees // len(rounds))
        boosters = []
        for depth, most in rounds.items():
            booster = xgb.Booster(self._parameters(depth, seed, threads) | {"num_parallel_tree": together}, [training])
            for number in range(most):
                booster.update(training, number)
                grown += 1
                progress("fit", grown / sum(rounds.values()))
            boosters.append(booster)
        booster = average(boosters) if len(boosters) > 1 else boosters[0]
        return _model(finished(booster, _MEANS, means))

    def load(self, folder: Path) -> Model:
        """Read `model.ubj`."""
        return _model(read_booster(folder))

    def _compare(
        self,
        examples: Examples,
        fold: Folds,
        depths: Sequence[int],
        seed: int,
        threads: int | None,
        progress: Progress,
    ) -> CrossFit:
        pairs = list(self._pairs(examples, fold, seed, threads))
        rounds, margins = {}, []
        for place, depth in enumerate(depths):
            told = part(progress, place / len(depths), 1 / len(depths))
            rounds[depth], boosters = self._race(pairs, self._parameters(depth, seed, threads), told)
            margin = np.empty(len(fold))
            for booster, (_, held_out, rows, shift) in zip(boosters, pairs, strict=True):
                margin[rows] = booster.predict(held_out, output_margin=True, iteration_range=(0, rounds[depth]))
                margin[rows] += shift
            margins.append(margin)
        found = [
            judged(examples.label, margin, {"rounds": rounds[depth], "max_depth": depth})
            for depth, margin in zip(depths, margins, strict=True)
        ]
        if len(depths) > 1:
            both = {f"{_ROUNDS}{depth}": most for depth, most in rounds.items()}
            found.append(judged(examples.label, np.mean(margins, axis=0), both))
        return min(found, key=lambda result: result.log_loss)

    def _parameters(self, depth: int, seed: int, threads: int | None) -> dict[str, Any]:
        given = asdict(self.settings)
        for name in ("depths", "parallel_trees", "patience", "most_rounds", "depth_rows"):
            del given[name]
        given["learning_rate"] = self.settings.learning_rate or min(0.1, 0.3 / depth)
        given["colsample_bytree"] = self.settings.colsample_bytree or min(0.8, 3.0 / depth)
        fixed = {"objective": "binary:logistic", "tree_method": "hist", "max_cat_to_onehot": FEW + 2}
        return given | fixed | {"max_depth": depth, "seed": seed, "nthread": threads or 0}

    def _pairs(self, examples: Examples, fold: Folds, seed: int, threads: int | None) -> Iterator[_Pair]:
        for held_out in held_out_rows(fold):
            training, rest = examples.take(~held_out), examples.take(held_out)
            means, learning = self._learning(training, seed, threads)
            later = means.encoded(rest, means.apply(rest.matrix))
            asked = quantised(later, self.settings.max_bin, threads, learning)
            yield learning, asked, held_out, training.prior_shift

    def _learning(self, examples: Examples, seed: int, threads: int | None) -> tuple[TargetMeans, xgb.DMatrix]:
        means, learning = learning_rows(examples, seed=seed)
        return means, quantised(learning, self.settings.max_bin, threads)

    def _race(
        self, pairs: list[_Pair], parameters: dict[str, Any], progress: Progress
    ) -> tuple[int, list[xgb.Booster]]:
        boosters = [xgb.Booster(parameters, [training, held_out]) for training, held_out, *_ in pairs]

        def advance() -> float:
            loss = 0.0
            for booster, (training, held_out, _, shift) in zip(boosters, pairs, strict=True):
                booster.update(training, booster.num_boosted_rounds())
                loss += _summed_loss(booster, held_out, shift)
            return loss

        return best_rounds(advance, self.settings.most_rounds, self.settings.patience, progress), boosters


def _rounds(choice: Choice) -> dict[int, int]:
    """Rounds for each depth that a choice names."""
    if "max_depth" in choice:
        return {int(choice["max_depth"]): int(choice["rounds"])}
    return {int(name.removeprefix(_ROUNDS)): int(most) for name, most in choice.items()}


def _summed_loss(booster: xgb.Booster, held_out: xgb.DMatrix, shift: float) -> float:
    """Log loss of the held-out rows, in nats, after prior correction."""
    margin = booster.predict(held_out, output_margin=True).astype(np.float64) + shift
    return float(np.logaddexp(0.0, np.where(held_out.get_label() > 0, -margin, margin)).sum())


def _model(booster: xgb.Booster) -> XGBoostModel:
    return XGBoostModel(booster, recalled(booster, _MEANS, TargetMeans))
