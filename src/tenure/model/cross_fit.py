"""What cross-fitting is in every family: who is held out, when boosting stops, how a choice is judged.

Enters: the fold of each row, a step of training that tells its loss, held-out margins. Leaves: the rows of each fold,
the number of steps that was best, a `CrossFit`. Invariant: whatever the family, a choice is judged by the mean log loss
of all held-out rows together, in nats.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tenure.core.progress import Progress
from tenure.model.measure import row_log_loss
from tenure.model.protocol import Choice, CrossFit, Flags, Folds, Vector, sigmoid

__all__ = ["best_rounds", "held_out_rows", "judged"]


def held_out_rows(fold: Folds) -> list[Flags]:
    """The rows of each fold, bool (rows,): those that its training leaves out.

    Examples
    --------
    >>> [rows.tolist() for rows in held_out_rows(np.array([0, 1, 0]))]
    [[True, False, True], [False, True, False]]
    """
    return [fold == number for number in range(int(fold.max()) + 1)]


def best_rounds(advance: Callable[[], float], most: int, patience: int, progress: Progress) -> int:
    """Go on round by round until the loss has not fallen for `patience` rounds; give the round in which it was lowest.

    Parameters
    ----------
    advance : callable
        Does one round more, of every fold, and gives the log loss of all held-out rows.
    most, patience : int
        Rounds at most, and rounds without a lower loss before it stops.
    progress : Progress
        Is told how it goes; nobody knows how many rounds are left.

    Examples
    --------
    >>> from tenure.core.progress import silent
    >>> losses = iter([0.7, 0.5, 0.6, 0.6, 0.4])
    >>> best_rounds(lambda: next(losses), most=5, patience=2, progress=silent)
    2
    """
    best_loss, best = np.inf, 1
    for number in range(1, most + 1):
        loss = advance()
        if loss < best_loss:
            best_loss, best = loss, number
        elif number - best >= patience:
            break
        progress("cross-fit", 1 - 0.99**number)
    progress("cross-fit", 1.0)
    return best


def judged(label: Flags, margin: Vector, choice: Choice) -> CrossFit:
    """What a choice is worth.

    Parameters
    ----------
    label : bool array (rows,)
        Whether the customer was lost.
    margin : float64 array (rows,)
        Log odds of each row, by a model that never saw its customer, after prior correction.
    choice : mapping of str to float
        What those models were trained with.

    Examples
    --------
    >>> round(judged(np.array([True, False]), np.zeros(2), {"rounds": 1}).log_loss, 3)
    0.693
    """
    probability = sigmoid(margin)
    return CrossFit(probability, choice, float(row_log_loss(label, probability).mean()))
