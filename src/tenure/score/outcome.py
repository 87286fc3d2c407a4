"""What follows from a probability, in the words in which it is told.

Enters: probabilities and what customers are worth. Leaves: for each its decision, profit and band. Invariant: the
digits are those of `tenure score`, whoever asks: all of them come from `tenure.value.decision.decide`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from tenure.core.settings import ValueSettings
from tenure.model.protocol import Vector
from tenure.score.scored import has_range
from tenure.score.table import StoredScore
from tenure.value.decision import BANDS, NO_BAND, decide

__all__ = ["Outcome", "decided_again", "outcomes"]


class Outcome(NamedTuple):
    """What follows from one customer's probability; as in `StoredScore`."""

    decision: Literal["contact", "no_contact"]
    expected_profit: float | None
    expected_profit_low: float | None
    expected_profit_high: float | None
    band: str | None


def outcomes(probability: Vector, worth: Vector, value: ValueSettings) -> list[Outcome]:
    """Decide for each of several customers.

    Parameters
    ----------
    probability : float64 array (rows,)
        Calibrated churn probabilities.
    worth : float64 array (rows,)
        What each customer is worth; NaN: not known.
    value : ValueSettings
        Save rate and costs.

    Raises
    ------
    InputError
        A probability or a known worth makes no sense.

    Examples
    --------
    >>> found = outcomes(np.array([0.5, 0.1]), np.array([600.0, np.nan]), ValueSettings(save_rate=0.3))
    >>> found[0].decision, found[0].expected_profit, found[0].band, found[1].decision, found[1].band
    ('contact', 80.0, 'high', 'no_contact', None)
    """
    decided = decide(probability, worth, value)
    profit = decided.profit
    ends = (profit.low, profit.high) if has_range(value) else (np.full(len(worth), np.nan),) * 2
    amounts = zip(*([_known(one) for one in column.tolist()] for column in (profit.expected, *ends)), strict=True)
    return [
        Outcome("contact" if contact else "no_contact", expected, low, high, None if band == NO_BAND else BANDS[band])
        for contact, (expected, low, high), band in zip(
            decided.contact.tolist(), amounts, decided.band.tolist(), strict=True
        )
    ]


def decided_again(stored: Sequence[StoredScore], value: ValueSettings) -> list[StoredScore]:
    """Scores of a batch with the decisions of today, where every customer is worth the same amount.

    Where customers are worth what a column of theirs says they stay as they are: what it said is not kept with the
    scores. So does a probability that is none.

    Parameters
    ----------
    stored : sequence of StoredScore
        As the batch left them.
    value : ValueSettings
        The settings of today.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> score = StoredScore("c1", 0.2, "contact", 26.0, None, None, "high", "v1", EPOCH, EPOCH)
    >>> decided_again([score], ValueSettings(clv=600.0, save_rate=0.3)) == [score]
    True
    >>> [dearer] = decided_again([score], ValueSettings(clv=600.0, save_rate=0.3, contact_cost=50.0))
    >>> dearer.decision, dearer.expected_profit, dearer.band
    ('no_contact', -14.0, 'medium')
    """
    if isinstance(value.clv, str):
        return list(stored)
    places = [place for place, score in enumerate(stored) if 0.0 <= score.probability <= 1.0]
    found = list(stored)
    if places:
        probability = np.array([stored[place].probability for place in places], dtype=np.float64)
        for place, outcome in zip(places, outcomes(probability, np.full(len(places), value.clv), value), strict=True):
            found[place] = replace(stored[place], **outcome._asdict())
    return found


def _known(amount: float) -> float | None:
    return None if math.isnan(amount) else amount
