"""A weighted ensemble: several families, their log odds averaged.

Enters: encoded examples. Leaves: an `EnsembleModel`: the members' models in folders of their own and `ensemble.json`
with the weights. Invariant: the weights are not negative and add up to 1, so the ensemble's log odds lie between those
of its members, and its contributions are the same weighted sum of theirs: Shapley values add up as their models do.

Weights are given, or learned where calibration is learned: on the calibration block where there is one, else on the
cross-fitted predictions of the training rows. What is learned is a logistic regression on the members' log odds in
which no coefficient may be negative (stacking as by Breiman 1996); its coefficients, made to add up to 1, are the
weights. How much to trust the sum as a whole is left to calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from tenure.core.progress import Progress, silent
from tenure.model.cross_fit import judged
from tenure.model.document import read_file, refused, write_file
from tenure.model.members import Members, read_members, save_members
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Family,
    Flags,
    Folds,
    Matrix,
    Model,
    Vector,
    sigmoid,
)

__all__ = ["EnsembleFamily", "EnsembleModel", "learn_weights"]

FILE = "ensemble.json"


@dataclass(frozen=True)
class _Record:
    """What `ensemble.json` holds."""

    members: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class EnsembleModel:
    """Trained members and how much each counts.

    Parameters
    ----------
    names : tuple of str
        Families of the members.
    models : tuple of Model
        Their models.
    weights : tuple of float
        Not negative; they add up to 1.
    """

    names: tuple[str, ...]
    models: tuple[Model, ...]
    weights: tuple[float, ...]

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        margin = np.zeros(len(matrix))
        for weight, model in zip(self.weights, self.models, strict=True):
            margin += weight * model.predict_margin(matrix)
        return margin

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """The members' contributions, weighted as their log odds are."""
        found = [model.contributions(matrix) for model in self.models]
        values = sum(weight * one.values for weight, one in zip(self.weights, found, strict=True))
        base = sum(weight * one.base for weight, one in zip(self.weights, found, strict=True))
        return Contributions(np.asarray(values), np.asarray(base))

    def reweighed(self, matrix: Matrix, label: Flags) -> Self:
        """The same members with weights learned on rows that none of them was trained on."""
        margins = np.stack([model.predict_margin(matrix) for model in self.models])
        return replace(self, weights=learn_weights(margins, label))

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `ensemble.json`, and each member into a folder."""
        write_file(folder, FILE, _Record(self.names, self.weights))
        return (FILE, *save_members(folder, dict(zip(self.names, self.models, strict=True))))


@dataclass(frozen=True)
class EnsembleFamily:
    """A weighted ensemble.

    Parameters
    ----------
    find : callable
        Gives the family that a name means; it refuses families that cannot be members.
    members : tuple of str
        Names of the members.
    weights : tuple of float or None
        One per member, as `settings.ensemble_weights` gives them; None learns them.
    """

    name: ClassVar[str] = "ensemble"
    explanation: ClassVar[Explanation] = "weighted sum of the members' Shapley values"
    find: Callable[[str], Family]
    members: tuple[str, ...] = ("xgboost", "logistic")
    weights: tuple[float, ...] | None = (0.7, 0.3)

    @property
    def learns_weights(self) -> bool:
        """Whether weights are learned: `EnsembleModel.reweighed` is then called where there is a calibration block."""
        return self.weights is None

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Cross-fit the members, and learn the weights if they are to be learned."""
        margins, choice = self._members.cross_fit(examples, fold, seed=seed, threads=threads, progress=progress)
        weights = self.weights or learn_weights(margins, examples.label, examples.weight)
        choice |= {f"weight.{name}": weight for name, weight in zip(self.members, weights, strict=True)}
        return judged(examples.label, np.einsum("m,mr->r", np.array(weights), margins), choice)

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> EnsembleModel:
        """Train the members on all examples."""
        models = self._members.fit(examples, choice, seed=seed, threads=threads, progress=progress)
        return EnsembleModel(self.members, models, tuple(choice[f"weight.{name}"] for name in self.members))

    def load(self, folder: Path) -> EnsembleModel:
        """Read `ensemble.json` and the members that it names."""
        record = read_file(folder, FILE, _Record)
        fits = len(record.weights) == len(record.members) and all(weight >= 0 for weight in record.weights)
        if not fits or abs(sum(record.weights) - 1) > 1e-9:
            raise refused(f"{FILE}: the weights {record.weights} do not fit the members {record.members}.")
        models = read_members(folder, [self.find(name) for name in record.members])
        return EnsembleModel(record.members, models, record.weights)

    @property
    def _members(self) -> Members:
        return Members(tuple(self.find(name) for name in self.members))


def learn_weights(margins: Vector, label: Flags, weight: Vector | None = None) -> tuple[float, ...]:
    """Weights with which the members' log odds predict best; a member that only does harm gets 0.

    Parameters
    ----------
    margins : float64 array (members, rows)
        Of rows that the members were not trained on.
    label : bool array (rows,)
        Whether the customer was lost; both kinds occur.
    weight : float64 array (rows,), optional
        How much each row counts.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> truth = random.normal(size=4000)
    >>> label = random.random(4000) < sigmoid(truth)
    >>> margins = np.stack([truth, random.normal(size=4000), -truth])
    >>> [round(weight, 1) for weight in learn_weights(margins, label)]
    [1.0, 0.0, 0.0]
    """
    members = len(margins)
    scale = np.maximum(margins.std(axis=1), 1e-12)
    active, weights = np.arange(members), np.zeros(members)
    while len(active):  # the smallest negative coefficient leaves, then all are learned again: at most `members` rounds
        design = (margins[active] / scale[active, None]).T
        found = LogisticRegression(C=100.0, tol=1e-6, max_iter=500).fit(design, label, sample_weight=weight).coef_[0]
        if (found > 0).all():
            weights[active] = found / scale[active]
            break
        active = np.delete(active, int(np.argmin(found)))
    total = weights.sum()
    shares = weights / total if total > 0 else np.full(members, 1 / members)
    return tuple(shares.tolist())
