"""Customers dealt into folds.

Enters: the customer and the label of each row. Leaves: a fold number per row. Invariant: a customer is in one fold with
all their rows, and customers who were ever lost are spread evenly over the folds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tenure.model.protocol import Examples, Flags

__all__ = ["at_most", "customer_folds", "deal_customers", "draw_customers"]


def customer_folds(group: npt.NDArray[np.int64], label: Flags, *, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Give every row a fold from 0 to `folds - 1`.

    Examples
    --------
    >>> group = np.array([0, 0, 1, 2, 3])
    >>> label = np.array([False, True, True, False, False])
    >>> fold = customer_folds(group, label, folds=2, seed=0)
    >>> bool(fold[0] == fold[1]), bool(fold[0] != fold[2]), bool(fold[3] != fold[4])
    (True, True, True)
    """
    dealt = deal_customers(group, label, seed=seed)
    return dealt[group] % folds


def draw_customers(group: npt.NDArray[np.int64], label: Flags, most_rows: int, *, seed: int) -> Flags:
    """Mark about `most_rows` rows at most, drawn as whole customers; all rows where there are no more.

    Examples
    --------
    >>> group, label = np.arange(100) // 2, np.arange(100) % 5 == 0
    >>> int(draw_customers(group, label, 40, seed=0).sum()), bool(draw_customers(group, label, 100, seed=0).all())
    (34, True)
    """
    every = max(1, -(-len(group) // most_rows))
    return np.asarray(deal_customers(group, label, seed=seed)[group] % every == 0)


def at_most(examples: Examples, most_rows: int, *, seed: int) -> Examples:
    """The examples as they are, or the drawn ones where there are more than `most_rows`.

    Examples
    --------
    >>> from tenure.model.protocol import Column
    >>> rows = Examples(np.zeros((100, 1), np.float32), np.arange(100) < 20, np.arange(100), (Column("x"),))
    >>> at_most(rows, 100, seed=0) is rows, int(at_most(rows, 50, seed=0).label.sum())
    (True, 10)
    """
    if len(examples.label) <= most_rows:
        return examples
    return examples.take(draw_customers(examples.group, examples.label, most_rows, seed=seed))


def deal_customers(group: npt.NDArray[np.int64], label: Flags, *, seed: int) -> npt.NDArray[np.int64]:
    """Shuffle customers into one row, those who were ever lost first; gives each customer's place.

    Every `k`-th place then holds a fair share of either kind.

    Examples
    --------
    >>> deal_customers(np.array([0, 1, 1]), np.array([False, False, True]), seed=0).tolist()
    [1, 0]
    """
    customers = int(group.max()) + 1 if len(group) else 0
    lost = np.bincount(group, label, minlength=customers) > 0
    shuffled = np.random.default_rng(seed).permutation(customers)
    order = shuffled[np.argsort(~lost[shuffled], kind="stable")]
    places = np.empty(customers, dtype=np.int64)
    places[order] = np.arange(customers)
    return places
