"""Evening out churners and stayers before anything is learned, and undoing what that does to probabilities.

Enters: `[model] imbalance` and rows to learn from. Leaves: a `Rebalance` for `Examples.rebalance`, and the shift of log
odds that leads from the rebalanced rows back to the real ones. Invariant: a rebalancing is a description until a family
calls `Examples.balanced` on rows that are split no further, so nothing drawn or blended ever lies on both sides of a
split.

What it does to probabilities
-----------------------------
Bayes: where churners count `k` times as much as before against stayers, the odds of churn of every kind of row are `k`
times what they were. So a model that learned from such rows speaks of another population, and its margin is moved back
by `-log k` (King and Zeng 2001; Dal Pozzolo et al. 2015 for undersampling). That is exact for weights and for rows left
out at random. Blended rows (SMOTE) also change where churners lie, so for them the shift is right on average only. What
remains is the business of calibration, which comes after it, always: `tenure.model.calibrate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from tenure.core.extras import is_installed, require
from tenure.core.settings import ModelSettings
from tenure.model.protocol import Examples, Flags, Matrix, Rebalance, Vector
from tenure.model.smote import blend

__all__ = ["IMBALANCE", "ClassWeights", "Smote", "Undersample", "find_rebalance", "imbalance_words"]

IMBALANCE = ("none", "weights", "undersample", "smote")
"""The methods that `[model] imbalance` may name."""


@dataclass(frozen=True)
class ClassWeights:
    """Let a churner count as much as several stayers.

    The weights are scaled to a mean of 1, so that a family's penalties keep their meaning.

    Parameters
    ----------
    churner : float or {"balanced"}
        Weight of a churner where a stayer has 1; balanced: as many as there are stayers per churner.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix, label = np.zeros((4, 1), np.float32), np.array([True, False, False, False])
    >>> rows = Examples(matrix, label, np.arange(4), (Column("x"),), rebalance=ClassWeights())
    >>> rows.balanced(seed=0).weight.round(3).tolist(), round(rows.prior_shift, 3)
    ([2.0, 0.667, 0.667, 0.667], -1.099)
    """

    churner: float | Literal["balanced"] = "balanced"

    def prior_shift(self, label: Flags) -> float:
        """Minus the logarithm of a churner's weight; 0 where there is one kind of row only."""
        return -math.log(self._churner(label))

    def apply(self, examples: Examples, seed: int) -> Examples:  # noqa: ARG002 - nothing is drawn
        """Weigh every row; weights that rows bring are kept as factors."""
        weight = np.where(examples.label, self._churner(examples.label), 1.0)
        weight /= weight.mean() if len(weight) else 1.0
        return replace(examples, weight=weight if examples.weight is None else weight * examples.weight)

    def _churner(self, label: Flags) -> float:
        lost = int(label.sum())
        if not 0 < lost < len(label):
            return 1.0
        return (len(label) - lost) / lost if self.churner == "balanced" else float(self.churner)


@dataclass(frozen=True)
class Undersample:
    """Leave out rows of the larger class at random.

    Parameters
    ----------
    ratio : float
        Rows of the smaller class per row of the larger one afterwards; nothing is left out where it is exceeded
        already.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix, label = np.zeros((10, 1), np.float32), np.arange(10) < 2
    >>> rows = Examples(matrix, label, np.arange(10), (Column("x"),), rebalance=Undersample(0.5))
    >>> balanced = rows.balanced(seed=0)
    >>> balanced.label.sum(), len(balanced.label), round(rows.prior_shift, 3) == round(math.log(4 / 8), 3)
    (np.int64(2), 6, True)
    """

    ratio: float = 1.0

    def prior_shift(self, label: Flags) -> float:
        """Logarithm of the share of stayers kept, or minus that of the churners where those are more."""
        sizes = _Sizes.of(label)
        return math.copysign(math.log(sizes.kept(self.ratio) / sizes.larger), sizes.sign) if sizes.smaller else 0.0

    def apply(self, examples: Examples, seed: int) -> Examples:
        """Draw from the larger class without putting back; rows stay in their order."""
        sizes = _Sizes.of(examples.label)
        kept = sizes.kept(self.ratio)
        if not sizes.smaller or kept == sizes.larger:
            return examples
        larger = np.flatnonzero(examples.label != sizes.smaller_is_lost)
        chosen = examples.label == sizes.smaller_is_lost
        chosen[np.random.default_rng(seed).choice(larger, kept, replace=False)] = True
        return examples.take(chosen)


@dataclass(frozen=True)
class Smote:
    """Add blends of neighbouring rows to the smaller class (Chawla et al. 2002).

    Parameters
    ----------
    ratio : float
        Rows of the smaller class per row of the larger one afterwards; nothing is added where it is exceeded already.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> matrix, label = np.arange(12, dtype=np.float32)[:, None], np.arange(12) < 3
    >>> rows = Examples(matrix, label, np.arange(12), (Column("x"),), rebalance=Smote())
    >>> balanced = rows.balanced(seed=0)
    >>> int(balanced.label.sum()), bool(balanced.matrix[12:].max() <= 2), round(rows.prior_shift, 3)
    (9, True, -1.099)
    """

    ratio: float = 1.0

    def prior_shift(self, label: Flags) -> float:
        """Minus the logarithm of how many times as many churners there are, plus where stayers are the fewer."""
        sizes = _Sizes.of(label)
        if not sizes.smaller:
            return 0.0
        return math.copysign(math.log((sizes.smaller + sizes.added(self.ratio)) / sizes.smaller), sizes.sign)

    def apply(self, examples: Examples, seed: int) -> Examples:
        """Append the blends, each as a customer of its own with the mean weight of its class.

        Raises
        ------
        InputError
            There are so many rows that the blends would not fit into memory.
        """
        sizes = _Sizes.of(examples.label)
        added = sizes.added(self.ratio)
        if not added:
            return examples
        smaller = examples.label == sizes.smaller_is_lost
        blends = blend(examples.matrix, smaller, examples.columns, added, seed)
        return replace(
            examples,
            matrix=_stacked(examples.matrix, blends),
            label=np.append(examples.label, np.full(added, sizes.smaller_is_lost)),
            group=np.append(examples.group, examples.group.max() + 1 + np.arange(added, dtype=np.int64)),
            weight=_with_mean(examples.weight, smaller, added),
        )


def find_rebalance(settings: ModelSettings) -> Rebalance | None:
    """The rebalancing that the settings ask for; None for none.

    Raises
    ------
    MissingExtraError
        SMOTE is asked for and imbalanced-learn is not installed.

    Examples
    --------
    >>> find_rebalance(ModelSettings(imbalance="undersample", minority_ratio=0.5))
    Undersample(ratio=0.5)
    """
    method, weight = settings.imbalance, settings.churner_weight
    ratio = 1.0 if settings.minority_ratio is None else settings.minority_ratio
    if method == "weights":
        return ClassWeights("balanced" if weight is None else weight)
    if method == "undersample":
        return Undersample(ratio)
    if method == "smote":
        if not is_installed("imblearn"):
            require("imblearn")
        return Smote(ratio)
    return None


def imbalance_words(rebalance: Rebalance | None, label: Flags) -> str:
    """What was done to the training rows, as a sentence; empty where nothing was.

    Examples
    --------
    >>> imbalance_words(Undersample(), np.arange(10) < 2)
    '6 of 8 rows of stayers were left out of learning; probabilities are corrected for it (log odds -1.386).'
    """
    sizes, kind = _Sizes.of(label), "churners"
    if rebalance is None:
        return ""
    if isinstance(rebalance, Undersample):
        kind = "stayers" if sizes.smaller_is_lost else "churners"
        gone = sizes.larger - sizes.kept(rebalance.ratio)
        done = f"{gone:,} of {sizes.larger:,} rows of {kind} were left out of learning"
    elif isinstance(rebalance, Smote):
        kind = "churners" if sizes.smaller_is_lost else "stayers"
        done = f"{sizes.added(rebalance.ratio):,} blended rows were added to {sizes.smaller:,} of {kind} in learning"
    else:
        done = f"In learning, a churner counted as much as {math.exp(-rebalance.prior_shift(label)):.3g} stayers"
    return f"{done}; probabilities are corrected for it (log odds {rebalance.prior_shift(label):+.3f})."


@dataclass(frozen=True)
class _Sizes:
    """How many rows the two classes have; where one is empty there is nothing to even out."""

    smaller: int
    larger: int
    smaller_is_lost: bool

    @classmethod
    def of(cls, label: Flags) -> Self:
        lost = int(label.sum())
        kept = len(label) - lost
        return cls(min(lost, kept), max(lost, kept), lost <= kept)

    @property
    def sign(self) -> int:
        """Of the shift: downwards where churners gained weight."""
        return -1 if self.smaller_is_lost else 1

    def kept(self, ratio: float) -> int:
        """Rows of the larger class that are enough for the ratio."""
        return min(self.larger, round(self.smaller / ratio))

    def added(self, ratio: float) -> int:
        """Rows that the smaller class lacks for the ratio."""
        return max(0, round(self.larger * ratio) - self.smaller) if self.smaller else 0


def _stacked(matrix: Matrix, blends: Matrix) -> Matrix:
    stacked = np.empty((len(matrix) + len(blends), matrix.shape[1]), dtype=np.float32, order="F")
    stacked[: len(matrix)], stacked[len(matrix) :] = matrix, blends
    return stacked


def _with_mean(weight: Vector | None, smaller: npt.NDArray[np.bool_], added: int) -> Vector | None:
    return None if weight is None else np.append(weight, np.full(added, weight[smaller].mean()))
