"""A booster's trees written flat say what the booster says, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.model import flat_trees
from tenure.model.flat_trees import FlatTrees, flatten
from tenure.model.protocol import Matrix


def grown(seed: int, *, depth: int = 4, rounds: int = 20, **parameters: Any) -> tuple[xgb.Booster, Matrix]:
    """A booster over two columns of categories and four numbers with gaps, and rows to ask it about."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(600, 6)).astype(np.float32)
    matrix[:, 0], matrix[:, 1] = random.integers(0, 8, 600), random.integers(0, 3, 600)
    label = (matrix[:, 0] == 3) * 2 + matrix[:, 2] * matrix[:, 3] + random.normal(size=600) > random.normal()
    matrix[random.random(matrix.shape) < 0.15] = np.nan
    types = ["c", "c", "q", "q", "q", "q"]
    rows = xgb.QuantileDMatrix(matrix, label, feature_types=types, enable_categorical=True)
    given = {"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 12, "seed": seed, "max_depth": depth}
    return xgb.train(given | parameters, rows, rounds), matrix


def margins(booster: xgb.Booster, matrix: Matrix) -> list[float]:
    found: list[float] = booster.inplace_predict(matrix, predict_type="margin").tolist()
    return found


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**16), depth=st.integers(1, 7), together=st.integers(1, 3), subsample=st.sampled_from([0.5, 1])
)
def test_every_row_gets_the_boosters_own_margin(seed: int, depth: int, together: int, subsample: float) -> None:
    booster, matrix = grown(seed, depth=depth, num_parallel_tree=together, subsample=subsample)
    flat = flatten(booster)
    assert flat is not None
    own = margins(booster, matrix)
    assert [flat.margin(row) for row in matrix] == own
    assert flat.margins(matrix).tolist() == own


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), rows=st.lists(st.integers(0, 599), max_size=70), depth=st.integers(0, 5))
def test_some_rows_get_what_each_of_them_gets_alone(seed: int, rows: list[int], depth: int) -> None:
    booster, matrix = grown(seed % 4, depth=depth or 1, rounds=20 if depth else 1)
    flat = flatten(booster)
    assert flat is not None
    asked = np.asfortranarray(matrix[rows].reshape(-1, 6))
    found = flat.margins(asked)
    assert found.dtype == np.float64
    assert found.tolist() == [flat.margin(row) for row in asked]


def test_infinite_values_go_where_the_booster_sends_them() -> None:
    booster, matrix = grown(6)
    flat = flatten(booster)
    assert flat is not None
    rows = matrix[:40].copy()
    rows[::2, 2], rows[::3, 4] = np.inf, -np.inf
    assert flat.margins(rows).tolist() == booster.inplace_predict(rows, predict_type="margin").tolist()


def test_missing_values_take_the_branch_that_the_booster_learned() -> None:
    booster, matrix = grown(0)
    flat = flatten(booster)
    assert flat is not None
    empty = np.full((1, 6), np.nan, dtype=np.float32)
    assert flat.margin(empty[0]) == margins(booster, empty)[0]
    assert len({flat.margin(row) for row in matrix}) > 100


def test_values_on_a_threshold_go_right() -> None:
    booster, _ = grown(1)
    flat = flatten(booster)
    assert flat is not None
    edges = flat.threshold[~np.isnan(flat.threshold)]
    rows = np.random.default_rng(0).choice(edges, (200, 6)).astype(np.float32)
    rows[:, :2] = np.abs(rows[:, :2]).round() % 3
    assert [flat.margin(row) for row in rows] == margins(booster, rows)


def test_a_category_that_no_tree_asks_about_is_another_one() -> None:
    booster, matrix = grown(2)
    flat = flatten(booster)
    assert flat is not None
    rows = matrix[:5].copy()
    rows[:, 0], rows[:, 1] = 7, 2
    assert [flat.margin(row) for row in rows] == margins(booster, rows)


def test_splits_on_several_categories_are_left_to_the_booster() -> None:
    booster, _ = grown(3, max_cat_to_onehot=1)
    assert flatten(booster) is None


def test_another_objective_is_left_to_the_booster() -> None:
    booster, _ = grown(4, objective="reg:squarederror")
    assert flatten(booster) is None


def test_a_copy_that_says_something_else_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    booster, _ = grown(5)
    right = flat_trees._base

    def wrong(document: Any) -> np.float32:
        return np.float32(np.nextafter(right(document), np.float32(1)))

    monkeypatch.setattr(flat_trees, "_base", wrong)
    assert flatten(booster) is None


def test_a_single_leaf_is_a_tree() -> None:
    matrix = np.zeros((50, 1), dtype=np.float32)
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(matrix, np.arange(50) < 20), 3)
    flat = flatten(booster)
    assert isinstance(flat, FlatTrees)
    assert flat.depth == 0
    own = margins(booster, matrix)
    assert flat.margin(matrix[0]) == own[0]
    assert flat.margins(matrix).tolist() == own
