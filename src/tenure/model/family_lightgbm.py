"""Gradient-boosted trees through LightGBM (Ke et al. 2017); extra `lightgbm`.

Enters: encoded examples. Leaves: a `LightGBMModel`, one file in LightGBM's own text format. Invariant: the number of
rounds and the leaves of a tree are chosen by the log loss of customers that a tree never saw, and the file's bytes
follow from the examples, the choice and the seed, however many threads worked.

Trees grow leaf by leaf rather than level by level. Missing values and up to ten categories are understood directly; a
column with more becomes a churn rate (`tenure.model.target_mean`). One booster per fold grows in step with the others,
and all stop where their common loss no longer falls, as in `tenure.model.family_xgboost`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tenure.core.extras import require
from tenure.core.progress import Progress, part, silent
from tenure.model.cross_fit import best_rounds, held_out_rows, judged
from tenure.model.document import read_file, write_file
from tenure.model.measure import row_log_loss
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

__all__ = ["LightGBMFamily", "LightGBMModel", "LightGBMSettings"]

FILE, MEANS = "model.txt", "means.json"


@dataclass(frozen=True)
class LightGBMSettings:
    """How trees are grown; the names are LightGBM's.

    Parameters
    ----------
    leaves : tuple of int
        Leaves of a tree, to choose from.
    learning_rate, min_child_samples, bagging_fraction, feature_fraction, lambda_l2
        As LightGBM means them.
    patience : int
        Rounds without a lower loss before boosting stops.
    most_rounds : int
        Rounds at most.
    """

    leaves: tuple[int, ...] = (6, 24)
    learning_rate: float = 0.05
    min_child_samples: int = 20
    bagging_fraction: float = 0.8
    feature_fraction: float = 0.5
    lambda_l2: float = 5.0
    patience: int = 40
    most_rounds: int = 3000


@dataclass(frozen=True, eq=False)
class LightGBMModel:
    """Trained trees.

    Parameters
    ----------
    booster : lightgbm.Booster
        The trees, as they were read from `document`.
    document : str
        What `model.txt` holds.
    means : TargetMeans
        Rates of the columns with many categories.
    """

    booster: Any
    document: str
    means: TargetMeans

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        if not len(matrix):
            return np.empty(0)
        return np.asarray(self.booster.predict(self._encoded(matrix), raw_score=True), dtype=np.float64)

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """Exact Shapley values over the paths of the trees."""
        return Contributions.asked(lambda rows: self.booster.predict(self._encoded(rows), pred_contrib=True), matrix)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.txt` and `means.json`."""
        (folder / FILE).write_text(self.document, encoding="utf-8", newline="\n")
        write_file(folder, MEANS, self.means)
        return (FILE, MEANS)

    def _encoded(self, matrix: Matrix) -> Matrix:
        return np.ascontiguousarray(self.means.apply(matrix))


@dataclass(frozen=True)
class LightGBMFamily:
    """Gradient-boosted trees through LightGBM.

    Parameters
    ----------
    settings : LightGBMSettings
        How trees are grown.
    """

    name: ClassVar[str] = "lightgbm"
    explanation: ClassVar[Explanation] = "exact Shapley values (tree paths)"
    settings: LightGBMSettings = LightGBMSettings()

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Choose leaves and rounds by the log loss of held-out customers, and give those predictions."""
        found = []
        for place, leaves in enumerate(self.settings.leaves):
            parameters, parts = self._parameters(leaves, seed, threads), len(self.settings.leaves)
            races = [_Race.start(parameters, examples, held_out, seed) for held_out in held_out_rows(fold)]
            rounds = self._run(races, part(progress, place / parts, 1 / parts))
            margin = np.empty(len(fold))
            for race in races:
                margin[race.held_out] = race.margin(rounds)
            found.append(judged(examples.label, margin, {"rounds": rounds, "leaves": leaves}))
        return min(found, key=lambda result: result.log_loss)

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> LightGBMModel:
        """Grow the chosen number of trees on all examples."""
        parameters = self._parameters(int(choice["leaves"]), seed, threads)
        booster, means = _booster(parameters, examples, seed)
        rounds = int(choice["rounds"])
        for number in range(rounds):
            booster.update()
            progress("fit", (number + 1) / rounds)
        return _read(_without_circumstances(booster.model_to_string()), means)

    def load(self, folder: Path) -> LightGBMModel:
        """Read `model.txt` and `means.json`."""
        return _read((folder / FILE).read_text(encoding="utf-8"), read_file(folder, MEANS, TargetMeans))

    def _run(self, races: list[_Race], progress: Progress) -> int:
        def advance() -> float:
            return sum(race.advance() for race in races)

        return best_rounds(advance, self.settings.most_rounds, self.settings.patience, progress)

    def _parameters(self, leaves: int, seed: int, threads: int | None) -> dict[str, Any]:
        given = asdict(self.settings)
        names = ("learning_rate", "min_child_samples", "bagging_fraction", "feature_fraction", "lambda_l2")
        return {name: given[name] for name in names} | {
            "objective": "binary",
            "num_leaves": leaves,
            "bagging_freq": 1,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": threads or 0,
            "seed": seed,
            "verbosity": -1,
        }


@dataclass
class _Race:
    """A booster of one fold, and the margins of its held-out rows after so many rounds."""

    booster: Any
    rest: Matrix
    label: Flags
    held_out: Flags
    shift: float
    margins: Vector
    rounds: int = 0

    @classmethod
    def start(cls, parameters: dict[str, Any], examples: Examples, held_out: Flags, seed: int) -> _Race:
        training = examples.take(~held_out)
        booster, means = _booster(parameters, training, seed)
        rest = np.ascontiguousarray(means.apply(examples.matrix[held_out]))
        shift = training.prior_shift
        return cls(booster, rest, examples.label[held_out], held_out, shift, np.full(len(rest), shift))

    def advance(self) -> float:
        """Grow one tree more; give the log loss of the held-out rows, in nats."""
        self.booster.update()
        self.margins += self.booster.predict(self.rest, raw_score=True, start_iteration=self.rounds, num_iteration=1)
        self.rounds += 1
        return float(row_log_loss(self.label, sigmoid(self.margins)).sum())

    def margin(self, rounds: int) -> Vector:
        found = self.booster.predict(self.rest, raw_score=True, num_iteration=rounds)
        return np.asarray(found, dtype=np.float64) + self.shift


def _booster(parameters: dict[str, Any], examples: Examples, seed: int) -> tuple[Any, TargetMeans]:
    lightgbm = require("lightgbm")
    means, training = learning_rows(examples, seed=seed)
    categories = [place for place, column in enumerate(training.columns) if column.is_category]
    rows = lightgbm.Dataset(
        training.matrix,
        training.label.astype(np.float64),
        weight=training.weight,
        categorical_feature=categories,
        free_raw_data=True,
    )
    return lightgbm.Booster(parameters, rows), means


def _read(document: str, means: TargetMeans) -> LightGBMModel:
    return LightGBMModel(require("lightgbm").Booster(model_str=document), document, means)


def _without_circumstances(document: str) -> str:
    """The trees without the parameters of their training, which nothing reads and which name the threads."""
    trees, _, _ = document.partition("\nparameters:\n")
    return f"{trees}\n"
