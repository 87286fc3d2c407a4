"""The mean of boosters answers with the mean of their margins, and stays a booster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.model.flat_trees import flatten
from tenure.model.tree_average import average

RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.normal(size=(400, 4)).astype(np.float32)
MATRIX[:, 0] = RANDOM.integers(0, 5, 400)
MATRIX[RANDOM.random(MATRIX.shape) < 0.1] = np.nan
LABEL = np.nan_to_num(MATRIX[:, 1]) + (MATRIX[:, 0] == 2) + RANDOM.normal(size=400) > 0.5
ROWS = xgb.QuantileDMatrix(MATRIX, LABEL, feature_types=["c", "q", "q", "q"], enable_categorical=True)


def grown(depth: int, rounds: int, together: int = 1) -> xgb.Booster:
    given = {"objective": "binary:logistic", "max_depth": depth, "num_parallel_tree": together, "nthread": 1}
    return xgb.train(given | {"max_cat_to_onehot": 12}, ROWS, rounds)


def margin(booster: xgb.Booster) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.asarray(booster.inplace_predict(MATRIX, predict_type="margin"))


@settings(max_examples=15)
@given(parts=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=3))
def test_the_margin_is_the_mean_of_the_margins(parts: list[tuple[int, int, int]]) -> None:
    boosters = [grown(*part) for part in parts]
    mean = average(boosters)
    np.testing.assert_allclose(margin(mean), np.mean([margin(one) for one in boosters], axis=0), atol=2e-6)
    assert mean.num_boosted_rounds() == sum(rounds for _, rounds, _ in parts)


def test_the_mean_is_saved_explained_and_asked_like_any_booster(tmp_path: Path) -> None:
    mean = average([grown(2, 10), grown(5, 6, 2)])
    mean.save_model(tmp_path / "mean.ubj")
    read = xgb.Booster(model_file=tmp_path / "mean.ubj")
    assert margin(read).tolist() == margin(mean).tolist()
    explained = read.predict(ROWS, pred_contribs=True)
    np.testing.assert_allclose(explained.sum(axis=1), margin(mean), atol=1e-5)
    flat = flatten(read)
    assert flat is not None
    assert [flat.margin(row) for row in MATRIX] == margin(read).tolist()


def test_boosters_of_different_rows_have_no_mean() -> None:
    other = xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(MATRIX, ~LABEL), 3)
    with pytest.raises(ValueError, match="2 different beginnings"):
        average([grown(2, 3), other])
