"""Tables of leaf paths: the definition of Shapley values, XGBoost's own, and shap's, on trees of every kind."""

from __future__ import annotations

import json
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import shap
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.model.protocol import Matrix, Vector
from tenure.model.tree_paths import read_paths

COLUMNS = 4
TYPES = ["q", "q", "c", "q"]
Tree = dict[str, Any]


def rows_of(seed: int, rows: int = 300) -> tuple[Matrix, xgb.DMatrix]:
    """Two numbers, a category of five codes, a number of few values; gaps everywhere."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    matrix[:, 2], matrix[:, 3] = random.integers(0, 5, rows), random.integers(0, 3, rows)
    label = np.nan_to_num(matrix[:, 0]) * (matrix[:, 2] == 1) + matrix[:, 3] + random.normal(size=rows) > 1
    matrix[random.random(matrix.shape) < 0.15] = np.nan
    return matrix, data_of(matrix, label)


def data_of(matrix: Matrix, label: Any = None) -> xgb.DMatrix:
    return xgb.DMatrix(matrix, label, feature_types=TYPES, enable_categorical=True)


def grown(data: xgb.DMatrix, depth: int, rounds: int = 3, **special: Any) -> xgb.Booster:
    parameters = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.3, "nthread": 1, "max_cat_to_onehot": 12}
    return xgb.train(parameters | special, data, rounds)


def expectation(tree: Tree, row: Vector, known: tuple[int, ...], node: int = 0) -> float:
    """Mean of the leaves that a row may reach when only some of its columns are known."""
    if tree["left_children"][node] < 0:
        return float(tree["split_conditions"][node])
    children = tree["left_children"][node], tree["right_children"][node]
    column = tree["split_indices"][node]
    if column in known:
        return expectation(tree, row, known, children[goes_right(tree, row[column], node)])
    weights = [tree["sum_hessian"][child] for child in children]
    parts = [expectation(tree, row, known, child) for child in children]
    return float(np.dot(weights, parts) / tree["sum_hessian"][node])


def goes_right(tree: Tree, value: float, node: int) -> bool:
    if math.isnan(value):
        return not tree["default_left"][node]
    if tree["split_type"][node]:
        place = tree["categories_nodes"].index(node)
        start, size = tree["categories_segments"][place], tree["categories_sizes"][place]
        return int(value) in tree["categories"][start : start + size]
    return bool(np.float32(value) >= np.float32(tree["split_conditions"][node]))


def by_definition(booster: xgb.Booster, row: Vector) -> Vector:
    """Shapley values as a sum over all coalitions of columns."""
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    values = np.zeros(COLUMNS)
    for column in range(COLUMNS):
        others = [other for other in range(COLUMNS) if other != column]
        for size in range(COLUMNS):
            share = math.factorial(size) * math.factorial(COLUMNS - size - 1) / math.factorial(COLUMNS)
            for coalition in combinations(others, size):
                gained = [expectation(t, row, (*coalition, column)) - expectation(t, row, coalition) for t in trees]
                values[column] += share * sum(gained)
    return values


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_values_are_those_of_the_definition(seed: int, depth: int) -> None:
    matrix, data = rows_of(seed)
    booster = grown(data, depth)
    paths = read_paths(booster)
    assert paths is not None
    found = paths.contributions(matrix[:4])
    for row, values in zip(matrix, found.values, strict=False):
        np.testing.assert_allclose(values, by_definition(booster, row), atol=2e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 3))
def test_values_are_the_boosters_own_and_add_up(seed: int, depth: int, parallel: int) -> None:
    matrix, data = rows_of(seed)
    booster = grown(data, depth, num_parallel_tree=parallel, subsample=0.8)
    paths = read_paths(booster)
    assert paths is not None
    found, own = paths.contributions(matrix), booster.predict(data, pred_contribs=True)
    np.testing.assert_allclose(found.values, own[:, :-1], atol=1e-5)
    np.testing.assert_allclose(found.margin, booster.predict(data, output_margin=True), atol=1e-5)


def test_values_are_those_of_shap() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(500, 6)).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    booster = xgb.train(
        {"objective": "binary:logistic", "max_depth": 6, "num_parallel_tree": 4, "subsample": 0.8, "nthread": 1},
        xgb.DMatrix(matrix, np.nan_to_num(matrix[:, 0] * matrix[:, 1]) > 0),
        10,
    )
    paths = read_paths(booster)
    assert paths is not None
    np.testing.assert_allclose(
        paths.contributions(matrix).values, shap.TreeExplainer(booster).shap_values(matrix), atol=1e-4
    )


def test_a_row_is_explained_the_same_alone_and_among_many() -> None:
    matrix, data = rows_of(5)
    paths = read_paths(grown(data, 4))
    assert paths is not None
    together = paths.contributions(matrix).values
    alone = np.vstack([paths.contributions(matrix[place : place + 1]).values for place in range(20)])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-12)
    assert paths.contributions(matrix[:0]).values.shape == (0, COLUMNS)


@pytest.mark.parametrize("special", [{"max_depth": 0, "max_leaves": 64, "grow_policy": "lossguide"}, {"gamma": 1.0}])
def test_other_ways_to_grow_are_read_or_left_to_the_booster(special: dict[str, Any]) -> None:
    matrix, data = rows_of(6)
    booster = grown(data, 5, **special)
    paths = read_paths(booster)
    if paths is not None:
        own = booster.predict(data, pred_contribs=True)[:, :-1]
        np.testing.assert_allclose(paths.contributions(matrix).values, own, atol=1e-5)


def test_a_tree_without_splits_says_nothing() -> None:
    matrix, data = rows_of(7)
    paths = read_paths(grown(data, 2, gamma=1e9))
    assert paths is None or not paths.contributions(matrix).values.any()


def test_ways_over_too_many_columns_are_left_to_the_booster() -> None:
    random = np.random.default_rng(8)
    matrix = random.normal(size=(4000, 30)).astype(np.float32)
    data = xgb.DMatrix(matrix, matrix.sum(axis=1) > 0)
    booster = xgb.train({"max_depth": 16, "min_child_weight": 0.1, "nthread": 1, "colsample_bynode": 0.2}, data, 1)
    assert read_paths(booster) is None


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(0, 8))
def test_one_row_is_explained_like_many_to_the_last_digit(seed: int, depth: int, few: int) -> None:
    matrix, data = rows_of(seed)
    paths = read_paths(grown(data, depth))
    assert paths is not None
    many = paths.contributions(matrix)
    found = paths.contributions(matrix[:few])
    assert found.values.tolist() == many.values[:few].tolist()
    assert found.base.tolist() == many.base[:few].tolist()
    alone = [paths.contributions(matrix[row : row + 1]).values[0].tolist() for row in range(few)]
    assert alone == many.values[:few].tolist()


def test_trees_without_a_split_say_nothing_of_any_column() -> None:
    matrix, _ = rows_of(0)
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, data_of(matrix, np.zeros(len(matrix))), 2)
    paths = read_paths(booster)
    assert paths is not None
    for rows in (1, len(matrix)):
        found = paths.contributions(matrix[:rows])
        assert not found.values.any()
        assert found.margin == pytest.approx(booster.inplace_predict(matrix[:rows], predict_type="margin"))
