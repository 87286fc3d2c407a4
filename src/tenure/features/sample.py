"""A sample of customers with everything that is known of them.

Enters: opened tables. Leaves: the same tables with fewer customers. Invariant: a customer is in or out with all rows of
all tables, chosen by a hash of the id and the seed, so the same seed gives the same customers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ibis.expr.types as ir

from tenure.features.snapshot import Tables

__all__ = ["hashed", "narrowed", "sample_customers"]


def hashed(customer_id: ir.StringColumn, seed: int) -> ir.IntegerColumn:
    """A number for each customer that has nothing to do with who they are.

    Examples
    --------
    >>> import ibis
    >>> import pyarrow as pa
    >>> ids = ibis.memtable(pa.table({"customer_id": ["a", "a", "b"]})).customer_id
    >>> hashed(ids, 0).nunique().to_pyarrow().as_py()
    2
    """
    return (customer_id + f"#{seed}").hash()


def narrowed(tables: Tables, choose: Callable[[ir.Table], ir.Table]) -> Tables:
    """Apply one choice of customers to every table.

    Parameters
    ----------
    tables : Tables
        From `tenure.features.snapshot.open_tables`.
    choose : callable
        Takes a table with `customer_id` and returns some of its rows.
    """
    return replace(
        tables,
        events={name: choose(table) for name, table in tables.events.items()},
        customers=None if tables.customers is None else choose(tables.customers),
        periods=None if tables.periods is None else choose(tables.periods),
    )


def sample_customers(tables: Tables, customers: int, most: int, seed: int) -> Tables:
    """Keep about `most` of so many customers.

    Parameters
    ----------
    tables : Tables
        From `tenure.features.snapshot.open_tables`.
    customers : int
        How many there are.
    most : int
        How many are enough; where there are no more, all are kept.
    seed : int
        Which of them.
    """
    one_in = customers // most
    if one_in < 2:
        return tables
    return narrowed(tables, lambda table: table.filter(hashed(table.customer_id, seed) % one_in == 0))
