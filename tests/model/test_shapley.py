"""Sampled Shapley values: additive by construction, exact where two columns meet, near the truth elsewhere."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenure.model.protocol import Matrix, Vector
from tenure.model.shapley import draw_background, sample_contributions


def crooked(rows: Matrix) -> Vector:
    """A margin with products, kinks and a missing value that means something."""
    known = np.nan_to_num(rows.astype(np.float64), nan=3.0)
    return np.asarray(known[:, 0] * known[:, 1] + np.abs(known[:, 2]) + (known[:, 0] > known[:, 2]), dtype=np.float64)


def every_order(row: Matrix, background: Matrix) -> Vector:
    """The definition: the mean over all orders and all usual rows."""
    columns = len(row)
    values, orders = np.zeros(columns), list(permutations(range(columns)))
    for usual in background:
        for order in orders:
            mixed = usual.copy()
            for column in order:
                before = crooked(mixed[None])[0]
                mixed[column] = row[column]
                values[column] += crooked(mixed[None])[0] - before
    return values / (len(orders) * len(background))


@given(st.integers(0, 1000))
def test_values_and_base_add_up_to_the_margin(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix, background = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=(4, 3)).astype(np.float32)
    matrix[0, 1] = background[2, 0] = np.nan
    found = sample_contributions(crooked, matrix, background, seed)
    np.testing.assert_allclose(found.margin, crooked(matrix), atol=1e-9)
    np.testing.assert_allclose(found.base, crooked(background).mean())


def test_many_usual_rows_come_near_the_definition() -> None:
    random = np.random.default_rng(1)
    background = np.repeat(random.normal(size=(3, 3)).astype(np.float32), 60, axis=0)
    row = np.array([1.5, -2.0, 0.5], np.float32)
    found = sample_contributions(crooked, row[None], background, seed=2).values[0]
    np.testing.assert_allclose(found, every_order(row, background[::60]), atol=0.1)


def test_a_row_is_explained_the_same_alone_and_among_many() -> None:
    random = np.random.default_rng(3)
    matrix, background = random.normal(size=(50, 3)).astype(np.float32), random.normal(size=(6, 3)).astype(np.float32)
    together = sample_contributions(crooked, matrix, background, seed=4).values
    alone = np.vstack([sample_contributions(crooked, matrix[i : i + 1], background, seed=4).values for i in range(50)])
    assert (together == alone).all()


def test_no_rows_have_no_values() -> None:
    found = sample_contributions(crooked, np.empty((0, 3), np.float32), np.zeros((2, 3), np.float32))
    assert found.values.shape == (0, 3)
    assert found.base.shape == (0,)


def test_the_background_has_the_mean_margin_of_all_rows() -> None:
    matrix = np.random.default_rng(5).normal(size=(5000, 3)).astype(np.float32)
    chosen = draw_background(crooked, matrix)
    assert chosen.shape == (32, 3)
    assert abs(crooked(chosen).mean() - crooked(matrix).mean()) < 0.1
    assert draw_background(crooked, matrix[:5]).shape == (5, 3)
