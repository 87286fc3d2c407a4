"""What both families of XGBoost trees share: rows, files, explanations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from tenure.core.errors import ArtifactError
from tenure.model.booster import (
    booster_of,
    document_of,
    exact_contributions,
    finished,
    quantised,
    read_booster,
    recalled,
    save_booster,
)
from tenure.model.protocol import Examples
from tenure.model.target_mean import TargetMeans, learning_rows
from tenure.testing.family import family_examples

MEANS = TargetMeans((1,), ((0.25, 0.75),))


def learning() -> Examples:
    return learning_rows(family_examples(200), seed=0)[1]


def grown(examples: Examples) -> xgb.Booster:
    parameters = {"objective": "binary:logistic", "max_bin": 64, "nthread": 1}
    return xgb.train(parameters, quantised(examples, 64, 1), 5)


def test_codes_are_split_on_as_categories_and_rates_as_numbers() -> None:
    assert quantised(learning(), 64, 1).feature_types == ["q", "q", "c", "q"]


def test_rows_count_as_their_weights_say() -> None:
    examples = learning()
    weighed = quantised(replace(examples, weight=np.where(examples.label, 3.0, 1.0)), 64, 1)
    assert weighed.get_weight().tolist() == np.where(examples.label, 3.0, 1.0).tolist()


def test_a_finished_booster_is_what_a_reader_gets(tmp_path: Path) -> None:
    booster, matrix = finished(grown(learning()), "means", MEANS), learning().matrix
    assert save_booster(booster, tmp_path) == ("model.ubj",)
    read = read_booster(tmp_path)
    assert read.save_raw("ubj") == booster.save_raw("ubj")
    assert recalled(read, "means", TargetMeans) == MEANS
    assert read.inplace_predict(matrix).tolist() == booster.inplace_predict(matrix).tolist()


def test_a_booster_without_its_record_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"model\.ubj: means"):
        recalled(grown(learning()), "means", TargetMeans)


def test_a_document_makes_the_same_booster() -> None:
    booster, matrix = grown(learning()), learning().matrix
    again = booster_of(document_of(booster))
    assert document_of(again) == document_of(booster)
    assert again.inplace_predict(matrix).tolist() == booster.inplace_predict(matrix).tolist()


def test_contributions_add_up_and_nobody_has_none() -> None:
    booster, matrix = grown(learning()), learning().matrix
    margin = booster.inplace_predict(matrix, predict_type="margin")
    np.testing.assert_allclose(exact_contributions(booster, matrix).margin, margin, atol=1e-5)
    assert exact_contributions(booster, matrix[:0]).values.shape == (0, 4)
