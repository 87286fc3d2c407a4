"""Whom to contact when not everybody can be.

Enters: incremental profits and how many contacts there are. Leaves: the chosen customers. Invariant: nobody is chosen
at a loss, and the choice is the same whatever order the customers come in: equal profits are taken by customer id.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenure.core.errors import InputError
from tenure.model.protocol import Flags, Vector

__all__ = ["choose"]


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
