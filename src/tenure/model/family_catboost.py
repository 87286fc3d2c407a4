"""Gradient-boosted symmetric trees through CatBoost (Prokhorenkova et al. 2018); extra `catboost`.

Enters: encoded examples. Leaves: a `CatBoostModel`, one JSON file in CatBoost's own format. Invariant: the number of
rounds is chosen by the log loss of customers that a tree never saw, and the same examples, choice and seed give the
same model, however many threads worked.

Categories are left to CatBoost, however many values they have: it replaces them by churn rates of the rows that come
before a row in a random order, so that no row is encoded with its own label. A missing category is a category.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from tenure.core.extras import require
from tenure.core.progress import Progress, silent
from tenure.model.cross_fit import held_out_rows, judged
from tenure.model.document import parse
from tenure.model.protocol import (
    Choice,
    Column,
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

__all__ = ["CatBoostFamily", "CatBoostModel", "CatBoostSettings"]

FILE = "model.json"


@dataclass(frozen=True)
class CatBoostSettings:
    """How trees are grown; the names are CatBoost's.

    Parameters
    ----------
    learning_rate, depth
        As CatBoost means them.
    patience : int
        Rounds without a lower loss before boosting stops.
    most_rounds : int
        Rounds at most.
    """

    learning_rate: float = 0.05
    depth: int = 6
    patience: int = 50
    most_rounds: int = 1000


@dataclass(frozen=True, eq=False)
class CatBoostModel:
    """Trained trees.

    Parameters
    ----------
    booster : catboost.CatBoost
        The trees, as they were read from `document`.
    document : bytes
        What `model.json` holds.
    """

    booster: Any
    document: bytes

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        if not len(matrix):
            return np.empty(0)
        rows = _table(matrix, self.booster.get_cat_feature_indices())
        return np.asarray(self.booster.predict(rows, prediction_type="RawFormulaVal"), dtype=np.float64)

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """Exact Shapley values over the paths of the trees."""
        categories = self.booster.get_cat_feature_indices()

        def ask(matrix: Matrix) -> Any:
            rows = require("catboost").Pool(_table(matrix, categories), cat_features=categories)
            return self.booster.get_feature_importance(rows, type="ShapValues")

        return Contributions.asked(ask, matrix)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.json`."""
        (folder / FILE).write_bytes(self.document)
        return (FILE,)


@dataclass(frozen=True)
class CatBoostFamily:
    """Gradient-boosted symmetric trees through CatBoost.

    Parameters
    ----------
    settings : CatBoostSettings
        How trees are grown.
    """

    name: ClassVar[str] = "catboost"
    explanation: ClassVar[Explanation] = "exact Shapley values (tree paths)"
    settings: CatBoostSettings = CatBoostSettings()

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Choose the rounds by the log loss of held-out customers, and give those predictions."""
        folds, paths = held_out_rows(fold), []
        for held_out in folds:
            paths.append(self._path(examples, held_out, seed, threads))
            progress("cross-fit", len(paths) / len(folds))
        shortest = min(len(path.losses) for path in paths)
        best = int(np.argmin(sum(path.losses[:shortest] for path in paths))) + 1
        margin = np.empty(len(fold))
        for held_out, path in zip(folds, paths, strict=True):
            margin[held_out] = path.margin(best)
        return judged(examples.label, margin, {"rounds": best})

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CatBoostModel:
        """Grow the chosen number of trees on all examples."""
        rows = _pool(examples.balanced(seed))
        booster = require("catboost").CatBoost(self._parameters(int(choice["rounds"]), seed, threads))
        booster.fit(rows)
        progress("fit", 1.0)
        with tempfile.TemporaryDirectory(prefix="tenure-") as name:
            booster.save_model(str(Path(name) / FILE), format="json", pool=rows)
            (Path(name) / FILE).write_bytes(_without_circumstances((Path(name) / FILE).read_bytes()))
            return self.load(Path(name))

    def load(self, folder: Path) -> CatBoostModel:
        """Read `model.json`."""
        booster = require("catboost").CatBoost()
        booster.load_model(str(folder / FILE), format="json")
        return CatBoostModel(booster, (folder / FILE).read_bytes())

    def _path(self, examples: Examples, held_out: Flags, seed: int, threads: int | None) -> _Path:
        """The model of one fold after each round, on the fold's rows.

        The baselines are what CatBoost adds to a row's margin before it computes the loss: nothing to those that it
        learns from, the prior correction to those that it is judged by.
        """
        training, rest = examples.take(~held_out), examples.take(held_out)
        shift = training.prior_shift
        parameters = self._parameters(self.settings.most_rounds, seed, threads) | {"od_wait": self.settings.patience}
        booster = require("catboost").CatBoost(parameters)
        booster.fit(_pool(training.balanced(seed), 0.0), eval_set=_pool(rest, shift))
        losses = np.array(booster.get_evals_result()["validation"]["Logloss"]) * len(rest.label)
        return _Path(booster, _table(rest.matrix, _categories(rest.columns)), losses, shift)

    def _parameters(self, rounds: int, seed: int, threads: int | None) -> dict[str, Any]:
        return {
            "loss_function": "Logloss",
            "iterations": rounds,
            "learning_rate": self.settings.learning_rate,
            "depth": self.settings.depth,
            "max_ctr_complexity": 1,  # no rates of combined categories: whose part would they be in an explanation?
            "random_seed": seed,
            "thread_count": threads or -1,
            "use_best_model": False,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }


@dataclass(frozen=True, eq=False)
class _Path:
    """The summed losses of held-out rows after each round, in nats, and their margins after any."""

    booster: Any
    rows: pd.DataFrame
    losses: Vector
    shift: float

    def margin(self, rounds: int) -> Vector:
        found = self.booster.predict(self.rows, prediction_type="RawFormulaVal", ntree_end=rounds)
        return np.asarray(found, dtype=np.float64) + self.shift


def _categories(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.is_category]


def _pool(examples: Examples, baseline: float | None = None) -> Any:
    categories = _categories(examples.columns)
    return require("catboost").Pool(
        _table(examples.matrix, categories),
        examples.label.astype(np.int64),
        cat_features=categories,
        weight=examples.weight,
        baseline=None if baseline is None else np.full(len(examples.label), baseline),
    )


def _table(matrix: Matrix, categories: Sequence[int]) -> pd.DataFrame:
    """The matrix as CatBoost takes it: codes are whole numbers, and -1 is missing."""
    columns: dict[str, npt.NDArray[Any]] = {str(place): matrix[:, place] for place in range(matrix.shape[1])}
    for place in categories:
        codes = matrix[:, place]
        columns[str(place)] = np.where(np.isnan(codes), -1, codes).astype(np.int32)
    return pd.DataFrame(columns)


def _without_circumstances(data: bytes) -> bytes:
    """The model without when, where and on how many threads it was made."""
    document = parse(data, FILE) | {"model_info": {}}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
