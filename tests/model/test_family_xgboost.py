"""Boosted trees stop in time, use gaps and categories, and keep what they need in one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from tenure.core.errors import ArtifactError
from tenure.model.family_xgboost import XGBoostFamily, XGBoostModel, XGBoostSettings
from tenure.model.fold import customer_folds
from tenure.model.measure import row_log_loss
from tenure.model.protocol import Column, Examples, sigmoid
from tenure.model.ranking import rank
from tenure.testing.family import family_examples

RANDOM = np.random.default_rng(4)
ROWS = 1500


def auc(examples: Examples, settings: XGBoostSettings | None = None) -> float:
    """ROC AUC on the second half after training on the first."""
    early = np.arange(len(examples.label)) < len(examples.label) // 2
    training, later = examples.take(early), examples.take(~early)
    family = XGBoostFamily(settings or XGBoostSettings())
    fold = customer_folds(training.group, training.label, folds=3, seed=0)
    crossed = family.cross_fit(training, fold, seed=0, threads=1)
    model = family.fit(training, crossed.choice, seed=0, threads=1)
    return rank(model.predict_proba(later.matrix), later.label).steps().roc_auc()


def of(values: np.ndarray, label: np.ndarray, column: Column) -> Examples:
    matrix = np.asfortranarray(values.astype(np.float32)[:, None])
    return Examples(matrix, label, np.arange(len(label)), (column,))


def test_the_rounds_are_those_of_the_lowest_mean_loss() -> None:
    examples = family_examples(900)
    fold = customer_folds(examples.group, examples.label, folds=3, seed=0)
    settings = XGBoostSettings(depths=(3,), patience=15)
    crossed = XGBoostFamily(settings).cross_fit(examples, fold, seed=0, threads=1)
    rounds = int(crossed.choice["rounds"])

    def loss_after(most: int) -> float:
        exactly = replace(settings, most_rounds=most, patience=10_000)
        return XGBoostFamily(exactly).cross_fit(examples, fold, seed=0, threads=1).log_loss

    assert 1 < rounds < settings.most_rounds
    assert crossed.log_loss == loss_after(rounds + 15)
    assert crossed.log_loss < loss_after(rounds - 1)
    assert crossed.log_loss == pytest.approx(row_log_loss(examples.label, crossed.probability).mean())


def test_the_depth_is_chosen_where_it_matters() -> None:
    matrix = np.asfortranarray(RANDOM.integers(0, 2, (3000, 5)).astype(np.float32))
    parity = matrix.sum(axis=1) % 2 == 1  # no split shallower than five says anything
    columns = tuple(Column(f"bit{i}") for i in range(5))
    examples = Examples(matrix, parity, np.arange(3000), columns)
    fold = customer_folds(examples.group, parity, folds=3, seed=0)
    crossed = XGBoostFamily(XGBoostSettings(colsample_bytree=1.0)).cross_fit(examples, fold, seed=0, threads=1)
    assert crossed.choice["max_depth"] == 6


def test_of_many_rows_the_depth_is_chosen_on_some_and_the_rounds_on_all() -> None:
    examples = family_examples(3000)
    fold = customer_folds(examples.group, examples.label, folds=3, seed=0)
    told: list[float] = []

    def progress(stage: str, done: float) -> None:
        assert stage == "cross-fit"
        told.append(done)

    family = XGBoostFamily(XGBoostSettings(depth_rows=600))
    crossed = family.cross_fit(examples, fold, seed=0, threads=1, progress=progress)
    depth = int(crossed.choice["max_depth"])
    alone = XGBoostFamily(XGBoostSettings(depths=(depth,))).cross_fit(examples, fold, seed=0, threads=1)
    assert dict(crossed.choice) == dict(alone.choice)
    assert (crossed.probability == alone.probability).all()
    assert told == sorted(told)
    assert told[-1] == 1


def test_missing_values_are_a_signal() -> None:
    missing = RANDOM.random(ROWS) < 0.3
    label = RANDOM.random(ROWS) < np.where(missing, 0.8, 0.2)
    assert auc(of(np.where(missing, np.nan, RANDOM.random(ROWS)), label, Column("seen"))) > 0.7


@pytest.mark.parametrize("categories", [6, 40])
def test_categories_without_an_order_are_learned(categories: int) -> None:
    codes = RANDOM.integers(0, categories, ROWS * 2)
    good = RANDOM.permutation(categories)[: categories // 2]
    label = RANDOM.random(ROWS * 2) < np.where(np.isin(codes, good), 0.75, 0.25)
    assert auc(of(codes, label, Column("shop", categories=categories + 1))) > 0.7


def test_the_file_is_read_by_plain_xgboost_too(tmp_path: Path) -> None:
    examples = family_examples()
    model = XGBoostFamily().fit(examples, {"rounds": 10, "max_depth": 3}, seed=0, threads=1)
    assert model.save(tmp_path) == ("model.ubj",)
    booster = xgb.Booster()
    booster.load_model(tmp_path / "model.ubj")
    assert booster.num_boosted_rounds() == 10
    assert (model.predict_proba(examples.matrix) == sigmoid(model.predict_margin(examples.matrix))).all()


def test_a_file_without_its_rates_is_refused(tmp_path: Path) -> None:
    examples = family_examples(100)
    training = xgb.DMatrix(examples.matrix[:, :1], examples.label)
    xgb.train({"objective": "binary:logistic", "nthread": 1}, training, 2).save_model(tmp_path / "model.ubj")
    with pytest.raises(ArtifactError, match="target_means"):
        XGBoostFamily().load(tmp_path)


def test_depths_are_averaged_where_their_mean_predicts_best() -> None:
    random = np.random.default_rng(3)
    matrix = np.asfortranarray(random.normal(size=(1500, 8)).astype(np.float32))
    odds = 0.7 * matrix[:, :6].sum(axis=1) + 0.6 * matrix[:, 6] * matrix[:, 7]
    label = random.random(1500) < sigmoid(odds.astype(np.float64))
    examples = Examples(matrix, label, np.arange(1500), tuple(Column(f"x{i}") for i in range(8)))
    fold = customer_folds(examples.group, label, folds=3, seed=0)
    apart = [
        XGBoostFamily(XGBoostSettings(depths=(depth,))).cross_fit(examples, fold, seed=0, threads=1) for depth in (1, 5)
    ]
    family = XGBoostFamily(XGBoostSettings(depths=(1, 5)))
    together = family.cross_fit(examples, fold, seed=0, threads=1)
    rounds = [int(crossed.choice["rounds"]) for crossed in apart]
    assert together.choice == {"rounds_at_depth_1": rounds[0], "rounds_at_depth_5": rounds[1]}
    assert together.log_loss < min(crossed.log_loss for crossed in apart)
    model = family.fit(examples, together.choice, seed=0, threads=1)
    parts = [family.fit(examples, crossed.choice, seed=0, threads=1) for crossed in apart]
    mean = np.mean([part.predict_margin(matrix) for part in parts], axis=0)
    assert np.corrcoef(model.predict_margin(matrix), mean)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "expected"), [("learning_rate", [0.1, 0.1, 0.05]), ("colsample_bytree", [0.8, 0.8, 0.5])]
)
def test_deep_trees_take_shorter_steps_and_see_less_unless_told(name: str, expected: list[float]) -> None:
    assert [XGBoostFamily()._parameters(depth, 0, 1)[name] for depth in (2, 3, 6)] == pytest.approx(expected)
    assert XGBoostFamily().tuned({name: 0.2})._parameters(6, 0, 1)[name] == 0.2


def test_parameters_are_set_by_name() -> None:
    settings = XGBoostFamily().tuned({"max_depth": 4.0, "reg_lambda": 7.0}).settings
    assert (settings.depths, settings.reg_lambda, settings.subsample) == ((4,), 7.0, XGBoostSettings().subsample)


def test_the_copy_for_a_few_rows_says_what_the_booster_says() -> None:
    examples = family_examples(900)
    model = XGBoostFamily().fit(examples, {"rounds": 30, "max_depth": 4}, seed=0, threads=1)
    assert isinstance(model, XGBoostModel)
    for count in (1, 2, 7, 64, 900):
        rows = examples.matrix[:count]
        own = model.booster.inplace_predict(model.means.apply(rows), predict_type="margin").tolist()
        assert model.predict_margin(rows).tolist() == own
        assert [model.row_margin(row) for row in rows[:64]] == own[:64]
    assert model.predict_margin(examples.matrix[:0]).shape == (0,)
