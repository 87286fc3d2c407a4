"""Intervals from drawing customers again.

Enters: a statistic that can be computed from how often each customer counts. Leaves: its 95 % interval.
Invariant: whole customers are drawn, with replacement, as many as there are. All rows of a customer move together, so
ten cutoffs of one customer never pass for ten independent observations, and the same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure.core.errors import HistoryError
from tenure.model.protocol import Vector

__all__ = ["REPEATS", "customer_codes", "interval", "resample"]

REPEATS = 500
Samples = npt.NDArray[np.float64]


def customer_codes(customer_id: pa.Array | npt.ArrayLike) -> tuple[npt.NDArray[np.int64], int]:
    """Number the customers 0, 1, … in the order of their first row.

    Returns
    -------
    codes : int64 array (rows,)
        The customer of each row.
    customers : int
        How many there are.

    Examples
    --------
    >>> codes, customers = customer_codes(np.array(["b", "a", "b"], dtype=object))
    >>> codes.tolist(), customers
    ([0, 1, 0], 2)
    """
    column = customer_id if isinstance(customer_id, pa.Array | pa.ChunkedArray) else pa.array(np.asarray(customer_id))
    if pa.types.is_dictionary(column.type):  # it stays as it is when encoded, and its missing values have no code
        column = column.cast(column.type.value_type)
    encoded = column.dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)


def resample(statistic: Callable[[Vector], Vector], customers: int, *, seed: int, repeats: int = REPEATS) -> Samples:
    """Compute a statistic on `repeats` draws of customers.

    Parameters
    ----------
    statistic : callable
        Takes how often each customer was drawn, float64 (customers,), and gives a vector of numbers.
    customers : int
        How many there are.
    seed : int
        Seed of the draws.
    repeats : int
        How many draws.

    Returns
    -------
    float64 array (repeats, numbers)

    Raises
    ------
    HistoryError
        There are fewer than two customers.

    Examples
    --------
    >>> resample(lambda drawn: np.array([drawn.sum()]), 7, seed=0, repeats=2).tolist()
    [[7.0], [7.0]]
    """
    if customers < 2:
        raise HistoryError(
            f"An interval needs at least two customers and there is {customers or 'none'}.",
            hint="Judge on a block with more customers.",
            customers=customers,
        )
    random = np.random.default_rng(seed)
    draws = (random.integers(customers, size=customers) for _ in range(repeats))
    return np.stack([statistic(np.bincount(draw, minlength=customers).astype(np.float64)) for draw in draws])


def interval(samples: Samples) -> tuple[Vector, Vector]:
    """Percentile interval, 2.5 % to 97.5 %, of each column; draws in which a number is not defined (NaN) do not count.

    Examples
    --------
    >>> low, high = interval(np.arange(1001.0)[:, None])
    >>> low.tolist(), high.tolist()
    ([25.0], [975.0])
    """
    low, high = np.full((2, samples.shape[1]), np.nan)
    defined = ~np.isnan(samples)
    for column in np.flatnonzero(defined.any(axis=0)):
        low[column], high[column] = np.quantile(samples[defined[:, column], column], (0.025, 0.975))
    return low, high
