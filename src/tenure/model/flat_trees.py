"""All trees of a booster as flat arrays, so that a few rows walk down all of them at once.

Enters: an XGBoost booster. Leaves: `FlatTrees`, which gives the margins of rows, or None for a booster that cannot be
written so. Invariant: a margin is the booster's own, bit for bit; a copy that says anything else about the probe rows
is thrown away.

A booster is made for many rows. It takes some 400 µs to get ready and to have its threads meet, before and after it
looks at the first tree. Here a step takes all trees one level down with a few array operations: of 336 trees with six
levels that is 30 µs for one row and 8 for each further one, so that up to `FEW` steps of rows through trees the copy is
faster, and no other core is asked for.

How a step can be so short. Nodes of all trees share one numbering, in which a right child follows its left sibling, so
"go right" is "add one". A leaf is its own left child and compares with NaN, so it stays where it is. Each missing value
becomes minus infinity for the nodes that send it left and infinity for the others. A split on a category is a
comparison too: of "is it this category?" with one half. Margins are added in the order of the trees, in float32, as
the booster adds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from tenure.model.booster import booster_of, document_of
from tenure.model.protocol import Flags, Matrix, Vector

__all__ = ["FEW", "FlatTrees", "flatten"]

PROBES = 64
FEW = 1 << 17
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class FlatTrees:
    """Trees, node by node.

    Parameters
    ----------
    trees, depth : int
        How many, and how deep the deepest is. The roots are the nodes 0 to `trees - 1`.
    left : int array (nodes,)
        The left child; a leaf's own number.
    value : int array (nodes,)
        Which of the values that `margin` lays out is compared.
    threshold : float32 array (nodes,)
        What it is compared with; at least that much goes right. NaN in a leaf.
    leaf : float32 array (nodes,)
        What a leaf adds.
    column, code : arrays (tests,)
        Which column is compared with which category.
    base : float32
        Margin before the first tree.

    Examples
    --------
    >>> import xgboost as xgb
    >>> matrix = np.arange(200, dtype=np.float32)[:, None]
    >>> rows = xgb.QuantileDMatrix(matrix, np.arange(200) > 150)
    >>> booster = xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, rows, 5)
    >>> trees = flatten(booster)
    >>> own = booster.inplace_predict(matrix[3:5], predict_type="margin").tolist()
    >>> trees.margin(matrix[3]) == own[0], trees.margins(matrix[3:5]).tolist() == own
    (True, True)
    """

    trees: int
    depth: int
    left: _Places
    value: _Places
    threshold: Matrix
    leaf: Matrix
    column: _Places
    code: Matrix
    base: np.float32

    def margin(self, row: Matrix) -> float:
        """Log odds of one row, float32 (columns,)."""
        values, node = self._laid_out(row), np.arange(self.trees)
        for _ in range(self.depth):
            node = self.left.take(node) + (values.take(self.value.take(node)) >= self.threshold.take(node))
        added = np.empty(self.trees + 1, dtype=np.float32)
        added[0] = self.base
        self.leaf.take(node, out=added[1:], mode="clip")
        return float(np.add.accumulate(added)[-1])  # one after the other: `sum` would add in pairs

    def margins(self, matrix: Matrix) -> Vector:
        """Log odds of each row of a float32 matrix (rows, columns), float64 (rows,)."""
        if len(matrix) == 1:
            return np.array([self.margin(matrix[0])])
        values, roots = self._laid_out(matrix), slice(self.trees)
        first = np.arange(len(values))[:, None] * values.shape[1]  # where the values of each row begin
        node = self.left[roots] + (values.take(self.value[roots], axis=1) >= self.threshold[roots])
        for _ in range(self.depth - 1):
            compared = self.value.take(node)
            compared += first
            goes_right = values.take(compared) >= self.threshold.take(node)
            node = self.left.take(node)
            node += goes_right
        added = np.empty((len(values), self.trees + 1), dtype=np.float32)
        added[:, 0], added[:, 1:] = self.base, self.leaf.take(node)
        return np.add.accumulate(added, axis=1)[:, -1].astype(np.float64)  # as in `margin`

    def is_faster(self, rows: int) -> bool:
        """Whether so few rows are asked about that the booster would take longer."""
        return rows * self.trees * self.depth <= FEW

    def _laid_out(self, rows: Matrix) -> Matrix:
        """What nodes compare: of one row (columns,), or of several (rows, columns)."""
        missing = np.isnan(rows)
        low, high = rows.copy(), rows.copy()
        low[missing], high[missing] = -np.inf, np.inf
        if not len(self.column):
            return np.concatenate([low, high], axis=-1)
        same = rows[..., self.column] == self.code
        return np.concatenate([low, high, same, same | missing[..., self.column]], axis=-1, dtype=np.float32)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self | None:
        """Read a booster's JSON document; None where a split names several categories, or the objective is another."""
        learner = document["learner"]
        trees = learner["gradient_booster"]["model"]["trees"]
        columns = int(learner["learner_model_param"]["num_feature"])
        if learner["objective"]["name"] != "binary:logistic" or any(set(t["categories_sizes"]) - {1} for t in trees):
            return None
        nodes = _Nodes.of(trees)
        column, code, place = _tests(nodes)
        number = np.where(nodes.is_test, 2 * columns + place, nodes.column)
        value = number + np.where(nodes.goes_left, 0, np.where(nodes.is_test, len(column), columns))
        threshold = np.where(nodes.is_leaf, np.nan, np.where(nodes.is_test, 0.5, nodes.split)).astype(np.float32)
        order, left = _numbering(nodes)
        return cls(
            trees=len(trees),
            depth=_depth(left, len(trees)),
            left=left,
            value=np.where(nodes.is_leaf, 0, value)[order],
            threshold=threshold[order],
            leaf=np.where(nodes.is_leaf, nodes.split, 0).astype(np.float32)[order],
            column=column,
            code=code,
            base=_base(document),
        )


@dataclass(frozen=True, eq=False)
class _Nodes:
    """The nodes of all trees, one tree behind the other."""

    roots: _Places
    left: _Places
    right: _Places
    column: _Places
    split: Matrix
    goes_left: Flags
    category: Matrix
    """Category that goes right, NaN for a comparison."""

    @property
    def is_leaf(self) -> Flags:
        return self.left < 0

    @property
    def is_test(self) -> Flags:
        return ~np.isnan(self.category)

    @classmethod
    def of(cls, trees: Sequence[Mapping[str, Any]]) -> Self:
        sizes = [len(tree["left_children"]) for tree in trees]
        roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        shift = np.repeat(roots, sizes)
        category = np.full(len(shift), np.nan, dtype=np.float32)
        for root, tree in zip(roots, trees, strict=True):
            category[np.asarray(tree["categories_nodes"], dtype=np.intp) + root] = tree["categories"]

        def joined(name: str, kind: Any) -> Any:
            return np.concatenate([np.asarray(tree[name], dtype=kind) for tree in trees])

        left, right = joined("left_children", np.intp), joined("right_children", np.intp)
        return cls(
            roots=roots,
            left=np.where(left < 0, -1, left + shift),
            right=np.where(left < 0, -1, right + shift),
            column=joined("split_indices", np.intp),
            split=joined("split_conditions", np.float32),
            goes_left=joined("default_left", np.bool_),
            category=category,
        )


def flatten(booster: xgb.Booster) -> FlatTrees | None:
    """Write a booster's trees flat.

    Parameters
    ----------
    booster : xgboost.Booster
        Trees for two classes.

    Returns
    -------
    FlatTrees or None
        None where the flat form cannot say exactly what the booster says; ask the booster itself then.
    """
    flat = FlatTrees.of(document_of(booster))
    if flat is None:
        return None
    probes = _probes(flat, booster.num_features())
    expected = booster.inplace_predict(probes, predict_type="margin", validate_features=False)
    found = [flat.margin(row) for row in probes]
    return flat if found == expected.tolist() == flat.margins(probes).tolist() else None


def _probes(flat: FlatTrees, columns: int) -> Matrix:
    """Rows made of the thresholds themselves, where a wrong comparison shows, and of gaps."""
    random = np.random.default_rng(0)
    probes = np.full((PROBES, columns), np.nan, dtype=np.float32)
    for column in range(columns):
        found = flat.threshold[np.isin(flat.value, (column, column + columns)) & ~np.isnan(flat.threshold)]
        known = np.concatenate([found, flat.code[flat.column == column], np.zeros(1, dtype=np.float32)])
        probes[:, column] = random.choice(known, PROBES)
    probes[random.random(probes.shape) < 0.2] = np.nan
    return probes


def _tests(nodes: _Nodes) -> tuple[_Places, Matrix, _Places]:
    """The different questions after a category, and for each node which one it asks."""
    asked = np.flatnonzero(nodes.is_test)
    pairs = np.stack([nodes.column[asked], nodes.category[asked].astype(np.intp)], axis=1).reshape(-1, 2)
    different, which = np.unique(pairs, axis=0, return_inverse=True)
    place = np.zeros(len(nodes.left), dtype=np.intp)
    place[asked] = which.ravel()
    return different[:, 0], different[:, 1].astype(np.float32), place


def _numbering(nodes: _Nodes) -> tuple[_Places, _Places]:
    """Roots first, then pairs of siblings; gives which node has each number, and the number of its left child."""
    inner = np.flatnonzero(~nodes.is_leaf)
    siblings = np.stack([nodes.left[inner], nodes.right[inner]], axis=1).ravel()
    order = np.concatenate([nodes.roots, siblings])
    number = np.empty(len(order), dtype=np.intp)
    number[order] = np.arange(len(order))
    left = np.where(nodes.is_leaf, np.arange(len(order)), nodes.left)
    return order, number[left[order]]


def _depth(left: _Places, trees: int) -> int:
    depth, level = 0, np.arange(trees)
    while True:
        inner = level[left[level] != level]
        if not len(inner):
            return depth
        depth, level = depth + 1, np.concatenate([left[inner], left[inner] + 1])


def _base(document: Mapping[str, Any]) -> np.float32:
    """What the booster says with one tree that adds nothing, to the last bit of its own arithmetic."""
    learner = document["learner"]
    model = learner["gradient_booster"]["model"] | {
        "trees": [_stump(learner["gradient_booster"]["model"]["trees"][0])],
        "tree_info": [0],
        "iteration_indptr": [0, 1],
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
    }
    bare = {**document, "learner": learner | {"gradient_booster": learner["gradient_booster"] | {"model": model}}}
    booster = booster_of(bare)
    row = np.zeros((1, booster.num_features()), dtype=np.float32)
    return np.float32(booster.inplace_predict(row, predict_type="margin", validate_features=False)[0])


def _stump(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree's document, cut down to a leaf of nought."""
    short = {name: values[:1] if isinstance(values, list) else values for name, values in tree.items()}
    leaf = {"left_children": [-1], "right_children": [-1], "split_conditions": [0.0], "split_type": [0], "id": 0}
    none: dict[str, Any] = {name: [] for name in tree if name.startswith("categories")}
    return short | leaf | none | {"tree_param": tree["tree_param"] | {"num_nodes": "1"}}
