"""What a row has to meet on its way to each leaf of a booster.

Enters: an XGBoost booster. Leaves: `Ways`: for every leaf its value and, for each column on the way, the condition and
the share of training rows that went on; and the `Conditions` themselves, each kept once. Invariant: a row lies in a
leaf exactly if it meets every condition on the leaf's way.

Several splits on one column become one condition: the intervals are cut, the sets of codes are cut, missing must be let
through by all of them, and the shares are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from tenure.model.booster import document_of
from tenure.model.protocol import Flags, Matrix, Vector

__all__ = ["Conditions", "Ways", "read_conditions"]

_MOST_CODES = 63
_ALL_CODES = (1 << _MOST_CODES) - 1
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a column of a row may have to be, each condition once.

    Parameters
    ----------
    column : int array (conditions,)
        Of the matrix.
    low, high : float32 arrays (conditions,)
        The value is at least the one and below the other.
    codes : int64 array (conditions,)
        Bit `k` is set where the code `k` will do; all bits for a number.
    missing : bool array (conditions,)
        Whether a missing value will do.
    columns : int
        Of the matrix.
    """

    column: _Places
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int64]
    missing: Flags
    columns: int

    def met(self, matrix: Matrix) -> npt.NDArray[np.uint8]:
        """Which conditions each row meets: 0 or 1, (conditions, rows)."""
        values = np.ascontiguousarray(matrix.T).take(self.column, axis=0)
        found = (values >= self.low[:, None]) & (values < self.high[:, None])
        coded = np.flatnonzero(self.codes != _ALL_CODES)
        if len(coded):
            code = np.clip(np.nan_to_num(values[coded]), 0, _MOST_CODES - 1).astype(np.int64)
            found[coded] = (self.codes[coded, None] >> code) & 1
        return np.where(np.isnan(values), self.missing[:, None], found).view(np.uint8)

    def probes(self, rows: int) -> Matrix:
        """Rows that lie about the borders of the conditions, with gaps; the same ones every time."""
        random = np.random.default_rng(0)
        matrix = np.full((rows, self.columns), np.nan, dtype=np.float32)
        for column in np.unique(self.column):
            own = self.column == column
            if (self.codes[own] != _ALL_CODES).any():
                used = [code for code in range(_MOST_CODES) if ((self.codes[own] >> code) & 1).any()]
                borders = np.array([code for code in used if code < 12], dtype=np.float32)
            else:
                borders = np.concatenate([self.low[own], self.high[own]])
                borders = borders[np.isfinite(borders)]
            matrix[:, column] = random.choice(borders, rows)
        matrix[random.random(matrix.shape) < 0.1] = np.nan
        return matrix


@dataclass(frozen=True, eq=False)
class Ways:
    """The way to every leaf.

    Parameters
    ----------
    conditions : Conditions
        All there are.
    condition : int array (leaves, most columns on a way)
        Numbers of the conditions, one per column on the way; those beyond `length` mean nothing.
    share : float64 array (leaves, most columns on a way)
        Of the training rows, how many went on where the way splits on this column.
    length : int array (leaves,)
        Columns on the way.
    value : float64 array (leaves,)
        What the leaf adds to the margin.
    """

    conditions: Conditions
    condition: _Places
    share: Vector
    length: _Places
    value: Vector


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes of all trees under one numbering; -1 is no node."""

    left: _Places
    parent: _Places
    column: _Places
    threshold: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int64]
    by_code: Flags
    missing_left: Flags
    weight: Vector


_STEP = np.dtype([("column", "i4"), ("low", "f4"), ("high", "f4"), ("missing", "i4"), ("codes", "i8")])
_Steps = npt.NDArray[Any]


def read_conditions(booster: xgb.Booster) -> Ways | None:
    """Read the ways to all leaves; None where a tree holds something that conditions cannot say.

    Examples
    --------
    >>> rows = xgb.DMatrix(np.arange(4, dtype=np.float32)[:, None], label=[0, 0, 1, 1])
    >>> booster = xgb.train({"max_depth": 1, "nthread": 1, "min_child_weight": 0}, rows, 1)
    >>> ways = read_conditions(booster)
    >>> ways.length.tolist(), ways.share[:, 0].tolist(), ways.conditions.met(np.array([[0], [3]], np.float32)).sum(0)
    ([1, 1], [0.5, 0.5], array([1, 1]...))
    """
    trees = document_of(booster)["learner"]["gradient_booster"].get("model", {}).get("trees", [])
    if not trees or not all(_understood(tree) for tree in trees):
        return None
    nodes = _flat(trees)
    leaves = np.flatnonzero(nodes.left < 0)
    steps, share, taken = _climb(nodes, leaves)
    _merge(steps, share, taken)
    order = np.argsort(~taken, axis=1, kind="stable")
    steps, share = np.take_along_axis(steps, order, axis=1), np.take_along_axis(share, order, axis=1)
    different, number = np.unique(steps.ravel().view(f"V{_STEP.itemsize}"), return_inverse=True)
    kept = different.view(_STEP)
    conditions = Conditions(kept["column"].astype(np.intp), kept["low"], kept["high"], kept["codes"],
                            kept["missing"].astype(np.bool_), booster.num_features())  # fmt: skip
    value = nodes.threshold[leaves].astype(np.float64)
    return Ways(conditions, number.reshape(steps.shape), share, taken.sum(axis=1), value)


def _understood(tree: dict[str, Any]) -> bool:
    plain = tree["tree_param"]["num_deleted"] == "0" and tree["tree_param"]["size_leaf_vector"] in {"0", "1"}
    return plain and min(tree["sum_hessian"]) > 0 and max(tree["categories"], default=0) < _MOST_CODES


def _flat(trees: Sequence[dict[str, Any]]) -> _Nodes:
    sizes = [len(tree["left_children"]) for tree in trees]
    start = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)

    def joined(name: str, kind: Any) -> Any:
        return np.concatenate([np.asarray(tree[name], dtype=kind) for tree in trees])

    left = joined("left_children", np.intp)
    parent = joined("parents", np.intp)
    return _Nodes(
        left=np.where(left < 0, -1, left + start),
        parent=np.where(parent == np.iinfo(np.int32).max, -1, parent + start),
        column=joined("split_indices", np.intp),
        threshold=joined("split_conditions", np.float32),
        codes=np.concatenate([_right_codes(tree) for tree in trees]),
        by_code=joined("split_type", np.bool_),
        missing_left=joined("default_left", np.bool_),
        weight=joined("sum_hessian", np.float64),
    )


def _right_codes(tree: dict[str, Any]) -> npt.NDArray[np.int64]:
    """For each node that splits on a category, the codes that go right as bits."""
    found = np.zeros(len(tree["left_children"]), dtype=np.int64)
    places = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    for node, start, size in places:
        for code in tree["categories"][start : start + size]:
            found[node] |= 1 << int(code)
    return found


def _climb(nodes: _Nodes, leaves: _Places) -> tuple[_Steps, Vector, Flags]:
    """Every step from each leaf up to its root: the condition, the share that went on, and whether there is a step."""
    found: list[tuple[_Steps, Vector, Flags]] = []
    node = leaves
    while (taken := nodes.parent[node] >= 0).any():
        above = np.where(taken, nodes.parent[node], 0)
        went_left = nodes.left[above] == node
        by_code, border = nodes.by_code[above], nodes.threshold[above]
        right = nodes.codes[above]
        step = np.zeros(len(leaves), dtype=_STEP)
        step["column"] = nodes.column[above]
        step["low"] = np.where(by_code | went_left, -np.inf, border)
        step["high"] = np.where(by_code | ~went_left, np.inf, border)
        step["codes"] = np.where(by_code, np.where(went_left, _ALL_CODES & ~right, right), _ALL_CODES)
        step["missing"] = nodes.missing_left[above] == went_left
        found.append((step, nodes.weight[node] / nodes.weight[above], taken))
        node = np.where(taken, above, node)
    if not found:
        return np.zeros((len(leaves), 0), dtype=_STEP), np.ones((len(leaves), 0)), np.zeros((len(leaves), 0), np.bool_)
    steps, shares, taken_steps = zip(*found, strict=True)
    return np.stack(steps, axis=1), np.stack(shares, axis=1), np.stack(taken_steps, axis=1)


def _merge(steps: _Steps, share: Vector, taken: Flags) -> None:
    """Join the steps of a way that split on the same column into the first of them."""
    for place in range(1, steps.shape[1]):
        for first in range(place):
            same = taken[:, first] & taken[:, place] & (steps["column"][:, first] == steps["column"][:, place])
            into, step = steps[same, first], steps[same, place]
            into["low"] = np.maximum(into["low"], step["low"])
            into["high"] = np.minimum(into["high"], step["high"])
            into["codes"] &= step["codes"]
            into["missing"] &= step["missing"]
            steps[same, first] = into
            share[same, first] *= share[same, place]
            taken[same, place] = False
