"""Exact Shapley values of boosted trees, looked up leaf by leaf.

Enters: an XGBoost booster. Leaves: `TreePaths`, which explains rows, or None for a booster that is too large or too odd
to be written so. Invariant: the values are those of path-dependent TreeSHAP (Lundberg et al., "From local explanations
to global understanding with explainable AI for trees", 2020), to the precision of float32; a copy that disagrees with
the booster about the probe rows is thrown away.

How a look-up can be exact
--------------------------
A leaf is reached where a row meets one condition for each column on the way to it: all splits on a column together say
"from here to there" or "one of these codes", and whether missing will do. Of a leaf with the value `v`, column `j` gets

    v * (m[j] - z[j]) * integral over t from 0 to 1 of the product over k != j of ((1 - t) * z[k] + t * m[k])

where `m[k]` is 1 if the row meets the condition on column `k`, else 0, and `z[k]` is the share of training rows that
went on where the leaf's way splits on `k`. The row enters through the `m` alone. A way has few columns, so for every
leaf all patterns of `m` are worked out beforehand (as Yang, "Fast TreeSHAP", 2021, does); the integrand is a
polynomial, which Gauss and Legendre's nodes integrate exactly. A row then costs one comparison per condition, one
look-up per leaf and column, and a sum, where TreeSHAP's work grows with the square of the depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from scipy.sparse import csr_array

from tenure.model.booster import exact_contributions
from tenure.model.protocol import Contributions, Flags, Matrix, Vector
from tenure.model.tree_nodes import Conditions, Ways, read_conditions

__all__ = ["MOST_CELLS", "TreePaths", "read_paths"]

MOST_CELLS = 1 << 25  # of the tables: 128 MB
_MOST_COLUMNS = 12  # on the way to a leaf: 4,096 patterns
_PROBES = 8
_FEW = 3  # rows that are looked up one by one
_LEAF_ROWS = 1 << 21  # worked on at once: as many bytes, and four times as many in between
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Leaves:
    """Leaves whose ways lead over equally many columns.

    `condition` (columns on the way, leaves) numbers their conditions, `table` (leaves * patterns, columns on the way)
    holds what each column gets under each pattern, and `share[j]` (columns, leaves) adds up by column.
    """

    condition: _Places
    table: npt.NDArray[np.float32]
    share: tuple[Any, ...]

    def add(self, met: npt.NDArray[np.uint8], values: Vector) -> None:
        """Add what the leaves say of rows; `met` is (conditions, rows), `values` (columns, rows)."""
        columns, leaves = self.condition.shape
        pattern = np.zeros((leaves, met.shape[1]), dtype=np.int32)
        for place, numbers in enumerate(self.condition):
            pattern += met.take(numbers, axis=0).astype(np.int32) << place
        pattern += (np.arange(leaves, dtype=np.int32) << columns)[:, None]
        found = self.table.take(pattern, axis=0)
        for place, share in enumerate(self.share):
            values += share @ found[:, :, place]

    def look_up(self, met: npt.NDArray[np.uint8], found: npt.NDArray[np.float32]) -> None:
        """Find what the leaves say of one row; `met` is (conditions,), `found` (leaves, columns on the way)."""
        pattern = np.arange(len(found))
        for numbers in self.condition[::-1]:
            pattern += pattern
            pattern += met.take(numbers)
        self.table.take(pattern, axis=0, out=found, mode="clip")


@dataclass(frozen=True, eq=False)
class TreePaths:
    """All leaves of a booster with what each column gets from them.

    Parameters
    ----------
    conditions : Conditions
        The different conditions on all ways.
    leaves : tuple
        By the number of columns on their way.
    columns : int
        Of the matrix.
    base : float
        Margin of the usual row.

    Examples
    --------
    >>> matrix = np.arange(200, dtype=np.float32)[:, None]
    >>> rows = xgb.DMatrix(matrix, label=np.arange(200) > 150)
    >>> booster = xgb.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, rows, 3)
    >>> found, own = read_paths(booster).contributions(matrix), booster.predict(rows, pred_contribs=True)
    >>> bool(np.allclose(found.values, own[:, :-1], atol=1e-5) and np.allclose(found.base, own[:, -1]))
    True
    """

    conditions: Conditions
    leaves: tuple[_Leaves, ...]
    columns: int
    base: float = 0.0

    def contributions(self, matrix: Matrix) -> Contributions:
        """Explain rows as the booster's matrix has them, categories as codes."""
        if self.leaves and len(matrix) <= _FEW:
            values = np.array([self._explain(row) for row in matrix]).reshape(matrix.shape)
            return Contributions(values, np.full(len(matrix), self.base))
        values = np.zeros((self.columns, len(matrix)))
        most = max((part.condition.shape[1] for part in self.leaves), default=1)
        step = max(1, _LEAF_ROWS // most)
        for start in range(0, len(matrix), step):
            part = slice(start, start + step)
            met = self.conditions.met(matrix[part])
            for leaves in self.leaves:
                leaves.add(met, values[:, part])
        return Contributions(np.ascontiguousarray(values.T), np.full(len(matrix), self.base))

    def _explain(self, row: Matrix) -> Vector:
        """The same for one row, to the last digit, with all that is found added up at once."""
        met = self.conditions.met(row[None])[:, 0]
        found, start = np.empty(self._sums.shape[1], dtype=np.float32), 0
        for leaves in self.leaves:
            end = start + leaves.condition.size
            leaves.look_up(met, found[start:end].reshape(leaves.condition.shape[::-1]))
            start = end
        sums: Vector = (self._sums @ found).reshape(-1, self.columns).sum(axis=0, dtype=np.float64)
        return sums

    @cached_property
    def _sums(self) -> Any:
        """Adds up what leaves say, by the number of columns on their way, the place on it, and the column."""
        row, found, start, slot = [], [], 0, 0
        for leaves in self.leaves:
            length = len(leaves.condition)
            for place, share in enumerate(leaves.share):
                ones = share.tocoo()
                row.append(slot * self.columns + ones.row)
                found.append(start + ones.col * length + place)
                slot += 1
            start += leaves.condition.size
        ones = np.ones(start, np.float32)
        return csr_array((ones, (np.concatenate(row), np.concatenate(found))), (slot * self.columns, start))

    @classmethod
    def of(cls, booster: xgb.Booster) -> Self | None:
        """Work out the tables, but for the base; None where they would be too large or a tree has something unknown."""
        ways = read_conditions(booster)
        if ways is None:
            return None
        sizes = np.bincount(ways.length)
        if len(sizes) > _MOST_COLUMNS + 1 or sum(n * size << n for n, size in enumerate(sizes.tolist())) > MOST_CELLS:
            return None
        groups = []
        for length in (np.flatnonzero(sizes[1:]) + 1).tolist():
            own = ways.length == length
            column = ways.conditions.column[ways.condition[own, :length]]
            groups.append(_tabulate(ways, own, column, booster.num_features()))
        return cls(ways.conditions, tuple(groups), booster.num_features())


def _tabulate(ways: Ways, own: Flags, column: _Places, columns: int) -> _Leaves:
    leaves, length = column.shape
    value, share = ways.value[own], ways.share[own, :length]
    table = np.empty((leaves, 1 << length, length), dtype=np.float32)  # a look-up finds its numbers side by side
    for place in range(length):
        others = value[:, None] * _others(np.delete(share, place, axis=1))
        split = others.reshape(leaves, -1, 1, 1 << place)  # the bits above the own one, and those below
        gained = np.stack([-share[:, place], 1 - share[:, place]], axis=1)[:, None, :, None]
        table[:, :, place] = (split * gained).reshape(leaves, -1)
    adds = tuple(
        csr_array((np.ones(leaves, np.float32), (column[:, place], np.arange(leaves))), (columns, leaves))
        for place in range(length)
    )
    return _Leaves(np.ascontiguousarray(ways.condition[own, :length].T), table.reshape(-1, length), adds)


def _others(share: Vector) -> Vector:
    """The integral over the columns on a way but one, under every pattern of theirs, (leaves, patterns).

    Bit `k` of a pattern says whether the condition on the column `k` of these is met.
    """
    leaves, length = share.shape
    nodes, weights = np.polynomial.legendre.leggauss(length // 2 + 1)  # exact up to the degree `length`
    whole = np.zeros((leaves, 1 << length))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        product = np.full((leaves, 1), weight)
        for failed in ((1 - node) * share).T:
            product = np.concatenate([product * failed[:, None], product * (failed + node)[:, None]], axis=1)
        whole += product
    return whole


def read_paths(booster: xgb.Booster) -> TreePaths | None:
    """Tables that explain a booster's rows, or None where it is better asked itself.

    Parameters
    ----------
    booster : xgboost.Booster
        Trained, of trees.
    """
    paths = TreePaths.of(booster)
    if paths is None:
        return None
    probes = paths.conditions.probes(_PROBES)
    own = exact_contributions(booster, probes)
    agrees = np.allclose(paths.contributions(probes).values, own.values, rtol=1e-3, atol=1e-5)
    return replace(paths, base=float(own.base[0])) if agrees else None
