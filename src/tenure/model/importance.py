"""How much a model relies on each feature.

Enters: what predicts, and rows of the test block. Leaves: an `Importance` per feature, the greatest first.
Invariant: the same rows and seed give the same numbers, and the model is only asked, never changed.

The importance of a feature is the ROC AUC that is lost when its column is shuffled among the rows (Breiman, "Random
Forests", Machine Learning 45, 2001). It holds for every family. Two features that say the same stand in for each other,
so both look unimportant; and a feature that a model relies on need not be a cause of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from tenure.model.protocol import Flags, Matrix, Vector

__all__ = ["Importance", "importances"]

MOST_ROWS = 20_000
REPEATS = 3


@dataclass(frozen=True)
class Importance:
    """A feature and the ROC AUC that shuffling it costs, on average over the repeats."""

    feature: str
    auc_lost: float


def importances(
    score: Callable[[Matrix], Vector], matrix: Matrix, label: Flags, names: Sequence[str], *, seed: int = 0
) -> tuple[Importance, ...]:
    """Shuffle one column after the other and see what that costs.

    Parameters
    ----------
    score : callable
        Gives each row of an encoded matrix a score; higher is more likely lost.
    matrix : float32 array (rows, columns)
        Encoded rows of the test block; at most 20,000 of them are used.
    label : bool array (rows,)
        Whether the customer was lost.
    names : sequence of str
        The columns' features.
    seed : int
        Of the shuffling.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> matrix = random.normal(size=(400, 2)).astype(np.float32)
    >>> label = matrix[:, 0] + 0.5 * random.normal(size=400) > 0
    >>> found = importances(lambda rows: rows[:, 0].astype(float), matrix, label, ["told", "unused"])
    >>> [(one.feature, one.auc_lost > 0.2) for one in found]
    [('told', True), ('unused', False)]
    """
    random = np.random.default_rng(seed)
    if len(label) > MOST_ROWS:
        chosen = np.sort(random.choice(len(label), MOST_ROWS, replace=False))
        matrix, label = matrix[chosen], label[chosen]
    whole = float(roc_auc_score(label, score(matrix)))
    shuffled = np.array(matrix, order="F")
    found = []
    for column, name in enumerate(names):
        lost = []
        for _ in range(REPEATS):
            shuffled[:, column] = random.permutation(matrix[:, column])
            lost.append(whole - float(roc_auc_score(label, score(shuffled))))
        shuffled[:, column] = matrix[:, column]
        found.append(Importance(name, float(np.mean(lost))))
    return tuple(sorted(found, key=lambda one: (-one.auc_lost, one.feature)))
