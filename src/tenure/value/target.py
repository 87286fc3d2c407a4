"""Whom to contact when not everybody can be.

Enters: incremental profits and how many contacts there are. Leaves: the chosen customers. Invariant: nobody is chosen
at a loss, and the choice is the same whatever order the customers come in: equal profits are taken by customer id.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenure.core.errors import InputError
from tenure.model.protocol import Flags, Vector

__all__ = ["choose", "choose_by_batch"]


def choose(profit: Vector, customer_id: npt.NDArray[np.object_], capacity: int | None = None) -> Flags:
    """Mark the customers with the highest incremental profits.

    Parameters
    ----------
    profit : float64 array (rows,)
        Expected incremental profit; NaN, where a customer's value is not known, is never chosen.
    customer_id : object array (rows,)
        Ids as text; they break ties in the order of their code points.
    capacity : int, optional
        How many contacts there are; without it everybody whose contact does not lose money is chosen.

    Returns
    -------
    bool array (rows,)
        True for at most `capacity` customers.

    Raises
    ------
    InputError
        The capacity is negative.

    Examples
    --------
    >>> ids = np.array(["d", "c", "b", "a"], dtype=object)
    >>> choose(np.array([5.0, 7.0, 5.0, -1.0]), ids, capacity=2).tolist()
    [False, True, True, False]
    """
    if capacity is not None and capacity < 0:
        raise InputError(f"A capacity of {capacity} contacts makes no sense.", hint="Give 0 or more, or omit it.")
    paying = np.flatnonzero(profit >= 0)
    order = paying[np.lexsort((customer_id[paying], -profit[paying]))]
    chosen = np.zeros(len(profit), dtype=np.bool_)
    chosen[order[:capacity]] = True
    return chosen


def choose_by_batch(
    profit: Vector,
    customer_id: npt.NDArray[np.object_],
    cutoff: npt.NDArray[np.datetime64],
    capacity: int | None = None,
) -> Flags:
    """Mark the highest incremental profits of every batch: rows that share a cutoff, each with the whole capacity.

    Parameters
    ----------
    profit, customer_id, capacity
        As for `choose`.
    cutoff : datetime64 array (rows,)
        NaT in a table without time, which is one batch.

    Raises
    ------
    InputError
        The capacity is negative.

    Examples
    --------
    >>> ids = np.array(["a", "b", "a", "b"], dtype=object)
    >>> cutoff = np.array(["2026-01-01", "2026-01-01", "2026-02-01", "2026-02-01"], dtype="datetime64[us]")
    >>> choose_by_batch(np.array([5.0, 7.0, 9.0, 1.0]), ids, cutoff, capacity=1).tolist()
    [False, True, True, False]
    """
    chosen = np.zeros(len(profit), dtype=np.bool_)
    for time in np.unique(cutoff):
        batch = (cutoff == time) | (np.isnat(cutoff) & np.isnat(time))
        chosen[batch] = choose(profit[batch], customer_id[batch], capacity)
    return chosen
