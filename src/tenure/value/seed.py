"""The popular score of a campaign, and the threshold that a grid search finds for it.

Enters: labels, who is contacted, customer values. Leaves: a sum of money that is no profit, and a threshold. Invariant:
nothing in tenure is ranked or decided by it; it is shown beside incremental profit, contacting nobody and contacting
everybody, for those who know it from elsewhere.

The score is `tp * (clv * g - f) - fp * f - fn * clv`: a leaver who is contacted (`tp`) brings what is saved less the
contact, a stayer who is contacted (`fp`) costs the contact, and a leaver who is missed (`fn`) costs the whole value.

What is wrong with it. A missed leaver costs `clv`, but contacting would have saved `g * clv` only; the rest is lost
either way and is no consequence of the decision. So a miss is counted `1 / g` times too heavily, and the best threshold
is far too low: from `p * clv * (1 + g) >= f` on instead of `p * clv * g >= f`. It also leaves out the incentive.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.model.protocol import Flags, Vector
from tenure.value.profit import check_amounts

__all__ = ["GRID", "seed_threshold", "seed_value"]

GRID = tuple(np.round(np.arange(0.01, 1.0, 0.01), 2).tolist())
"""Thresholds that the search tries, unless others are given."""


def seed_value(label: Flags, contacted: Flags, clv: npt.ArrayLike, value: ValueSettings) -> float:
    """`tp * (clv * g - f) - fp * f - fn * clv`, at the middle of the save rate's range.

    Parameters
    ----------
    label, contacted : bool array (rows,)
        Who was lost, and who is contacted.
    clv : array_like
        One amount, or one per customer; whose value is not known (NaN) is not counted.
    value : ValueSettings
        Save rate and contact cost.

    Raises
    ------
    InputError
        A known value is negative or infinite.

    Examples
    --------
    >>> label, contacted = np.array([True, True, False, False]), np.array([True, False, True, False])
    >>> seed_value(label, contacted, 600, ValueSettings(contact_cost=10, save_rate=0.3))
    -440.0
    """
    return float(np.where(contacted, *_amounts(label, clv, value)).sum())


def seed_threshold(
    probability: Vector,
    label: Flags,
    clv: npt.ArrayLike,
    value: ValueSettings,
    grid: tuple[float, ...] = GRID,
) -> float:
    """The threshold of a grid at which `seed_value` is highest; the lowest one of several.

    Search it on the calibration block and judge it on the test block: a threshold that was searched on the rows that
    judge it flatters itself.

    Parameters
    ----------
    probability : float64 array (rows,)
        Calibrated churn probabilities.
    label : bool array (rows,)
        Who was lost.
    clv : array_like
        One amount, or one per customer.
    value : ValueSettings
        Save rate and contact cost.
    grid : tuple of float
        Thresholds to try.

    Raises
    ------
    InputError
        The grid is empty, or a known value is negative or infinite.

    Examples
    --------
    >>> probability = np.linspace(0, 1, 100_001)
    >>> label = np.arange(100_001) * 0.61803398875 % 1 < probability
    >>> seed_threshold(probability, label, 600, ValueSettings(contact_cost=60, save_rate=0.3))
    0.08
    """
    if not grid:
        raise InputError("The grid holds no threshold to try.", hint="Give at least one, or leave it out.")
    if_contacted, if_not = _amounts(label, clv, value)
    order = np.argsort(-probability, kind="stable")
    gained = np.append(0.0, np.cumsum((if_contacted - if_not)[order]))
    contacted = np.searchsorted(-probability[order], -np.asarray(grid), side="right")  # so many reach each threshold
    return float(grid[int(np.argmax(gained[contacted]))])


def _amounts(label: Flags, clv: npt.ArrayLike, value: ValueSettings) -> tuple[Vector, Vector]:
    """What each row counts if it is contacted, and if it is not."""
    given = np.broadcast_to(np.asarray(clv, dtype=np.float64), label.shape)
    known = ~np.isnan(given)
    worth = check_amounts("A customer value", np.where(known, given, 0.0))
    rate, cost = value.middle_save_rate, value.contact_cost
    if_contacted = np.where(known, np.where(label, worth * rate, 0.0) - cost, 0.0)
    if_not = np.where(known & label, -worth, 0.0)
    return if_contacted, if_not
