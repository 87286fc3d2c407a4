"""Rebalancing happens after the split, keeps to its class, and is undone in the probabilities."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.errors import InputError, MissingExtraError
from tenure.core.settings import ModelSettings
from tenure.model import smote
from tenure.model.calibrate import Calibration, choose_calibration, correct_prior
from tenure.model.family_logistic import LogisticFamily, LogisticSettings
from tenure.model.imbalance import IMBALANCE, ClassWeights, Smote, Undersample, find_rebalance, imbalance_words
from tenure.model.protocol import Column, Examples, Rebalance
from tenure.model.smote import blend
from tenure.model.train import train
from tests.model.worlds import SPLIT, world

METHODS: tuple[Rebalance, ...] = (
    ClassWeights(),
    ClassWeights(3.0),
    Undersample(),
    Undersample(0.4),
    Smote(),
    Smote(0.5),
)


def rows(lost: int = 40, kept: int = 160, seed: int = 0) -> Examples:
    """Numbers with gaps, two kinds of categories, two rows per customer."""
    random = np.random.default_rng(seed)
    count = lost + kept
    label = random.permutation(np.arange(count) < lost)
    matrix = np.column_stack([
        random.lognormal(2, 1, count) * np.where(label, 1, 3), random.normal(size=count),
        random.integers(0, 3, count), random.integers(0, 2, count),
    ]).astype(np.float32)  # fmt: skip
    matrix[random.random(matrix.shape) < 0.15] = np.nan
    columns = (Column("spend"), Column("noise"), Column("plan", 4), Column("sex", 2))
    return Examples(np.asfortranarray(matrix), label, np.arange(count) // 2, columns)


def odds(examples: Examples) -> float:
    weight = np.ones(len(examples.label)) if examples.weight is None else examples.weight
    return float(weight[examples.label].sum() / weight[~examples.label].sum())


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(("lost", "kept"), [(40, 160), (160, 40), (3, 90), (1, 30)])
def test_the_shift_is_what_the_odds_gained(method: Rebalance, lost: int, kept: int) -> None:
    before = replace(rows(lost, kept), rebalance=method)
    after = before.balanced(seed=1)
    assert np.log(odds(before)) == pytest.approx(np.log(odds(after)) + before.prior_shift)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_same_seed_draws_the_same_rows(method: Rebalance) -> None:
    before = replace(rows(), rebalance=method)
    one, two, other = (before.balanced(seed) for seed in (1, 1, 2))
    assert np.array_equal(one.matrix, two.matrix, equal_nan=True)
    if not isinstance(method, ClassWeights):
        assert not np.array_equal(one.matrix, other.matrix, equal_nan=True)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_one_kind_of_row_is_left_alone(method: Rebalance) -> None:
    for lost in (0, 50):
        before = replace(rows(lost, 50 - lost), rebalance=method)
        after = before.balanced(seed=0)
        assert len(after.label) == 50
        assert before.prior_shift == 0
        assert after.weight is None or set(after.weight) == {1.0}


def test_weights_have_a_mean_of_one_and_multiply_those_that_rows_bring() -> None:
    before = replace(rows(), rebalance=ClassWeights(7.0))
    weight = before.balanced(seed=0).weight
    assert weight is not None
    assert weight.mean() == pytest.approx(1)
    assert weight[before.label][0] == pytest.approx(7 * weight[~before.label][0])
    brought = np.linspace(1, 2, len(before.label))
    both = replace(before, weight=brought).balanced(seed=0).weight
    assert both == pytest.approx(brought * weight)


def test_undersampling_keeps_every_row_of_the_smaller_class_and_repeats_none() -> None:
    before = replace(rows(), group=np.arange(200), rebalance=Undersample(0.5))
    after = before.balanced(seed=3)
    assert after.label.sum() == 40
    assert len(after.label) == 120
    assert len(set(after.group.tolist())) == 120
    assert set(before.group[before.label]) <= set(after.group)
    assert before.matrix[after.group] == pytest.approx(after.matrix, nan_ok=True)


def test_a_ratio_that_is_exceeded_already_changes_nothing() -> None:
    for method in (Undersample(0.2), Smote(0.2)):
        before = replace(rows(), rebalance=method)
        after = before.balanced(seed=0)
        assert np.array_equal(after.matrix, before.matrix, equal_nan=True)
        assert before.prior_shift == 0


def test_blends_come_after_the_rows_and_are_customers_of_their_own() -> None:
    before = replace(rows(), weight=np.where(rows().label, 2.0, 1.0), rebalance=Smote())
    after = before.balanced(seed=0)
    assert np.array_equal(after.matrix[:200], before.matrix, equal_nan=True)
    assert after.label[200:].all()
    assert len(after.label) == 320
    assert not set(after.group[200:]) & set(before.group)
    assert after.weight is not None
    assert set(after.weight[200:]) == {2.0}
    assert after.matrix.flags.f_contiguous


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_blend_lies_within_its_class(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    numbers = st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan")))
    kinds = data.draw(st.lists(st.booleans(), min_size=1, max_size=3))
    codes = st.sampled_from([0.0, 1.0, 2.0, float("nan")])
    cells = [data.draw(st.lists(codes if kind else numbers, min_size=count, max_size=count)) for kind in kinds]
    own = np.array(cells, np.float32).T
    matrix = np.vstack([own, np.full((2, len(kinds)), 7e6, np.float32)])
    before = matrix.copy()
    columns = tuple(Column(f"c{place}", 3 if kind else 0) for place, kind in enumerate(kinds))
    made = blend(matrix, np.arange(len(matrix)) < count, columns, 20, seed=0)
    assert np.array_equal(matrix, before, equal_nan=True)
    assert made.shape == (20, len(kinds))
    for place, kind in enumerate(kinds):
        known, found = own[~np.isnan(own[:, place]), place], made[~np.isnan(made[:, place]), place]
        if len(known) == count:
            assert len(found) == 20
        if kind:
            assert set(found) <= set(known)
        elif len(found):
            slack = 1e-6 * np.abs(known).max() + 1e-30
            assert known.min() - slack <= found.min() <= found.max() <= known.max() + slack


def test_blends_of_numbers_are_those_of_imbalanced_learn() -> None:
    from imblearn.over_sampling import SMOTE

    random = np.random.default_rng(5)
    own = random.normal(size=(30, 3))
    own = ((own - own.mean(axis=0)) / own.std(axis=0)).astype(np.float32)
    stranger = own[:1]
    made = blend(np.vstack([own, own]), np.arange(60) < 30, (Column("a"), Column("b"), Column("c")), 50, seed=9)
    expected, _ = SMOTE(sampling_strategy={1: 80}, random_state=9).fit_resample(
        np.vstack([own, stranger]), np.append(np.ones(30, int), 0)
    )
    assert made == pytest.approx(expected[31:], abs=1e-5)


def test_blends_with_categories_are_those_of_smote_nc() -> None:
    from imblearn.over_sampling import SMOTENC

    random = np.random.default_rng(6)
    numbers = random.normal(size=(60, 3))
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    codes = np.column_stack([random.integers(0, 4, 60), random.integers(0, 3, 60)])
    own = np.hstack([numbers, codes]).astype(np.float32)
    columns = (Column("a"), Column("b"), Column("c"), Column("d", 4), Column("e", 3))
    made = blend(np.vstack([own, own]), np.arange(120) < 60, columns, 80, seed=3)
    plain = SMOTENC([3, 4], sampling_strategy={1: 140}, random_state=3)
    expected, _ = plain.fit_resample(np.vstack([own, own[:1]]).astype(np.float64), np.append(np.ones(60, int), 0))
    assert made[:, :3] == pytest.approx(expected[61:, :3], abs=1e-4)
    assert (made[:, 3:] == expected[61:, 3:]).all()


def test_whole_numbers_stay_whole_and_switches_have_no_middle() -> None:
    random = np.random.default_rng(2)
    own = np.column_stack(
        [random.poisson(4, 60), random.choice([0.5, 7.25], 60), random.normal(size=60), np.full(60, 3.5)]
    ).astype(np.float32)
    own[::7, :2] = np.nan
    made = blend(own, np.ones(60, dtype=np.bool_), tuple(Column(name) for name in "abcd"), 200, seed=0)
    visits = made[~np.isnan(made[:, 0]), 0]
    assert np.array_equal(visits, np.rint(visits))
    assert set(made[~np.isnan(made[:, 1]), 1]) == {0.5, 7.25}
    assert len(np.unique(made[:, 2])) > 100
    assert set(made[:, 3]) == {3.5}
    for place in (0, 1):
        assert 0 < np.isnan(made[:, place]).mean() < 0.5


def test_too_many_blends_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smote, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="neighbours of 120 blended rows"):
        replace(rows(), rebalance=Smote()).balanced(seed=0)


def test_without_imbalanced_learn_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imblearn.over_sampling", None)
    with pytest.raises(MissingExtraError, match=r"tenure\[imbalance\]"):
        replace(rows(), rebalance=Smote()).balanced(seed=0)


def test_rows_cannot_be_resampled_before_they_are_split() -> None:
    family, fold = LogisticFamily(), np.arange(200) // 2 % 3
    for method in METHODS:
        balanced = replace(rows(), rebalance=method).balanced(seed=0)
        with pytest.raises(RuntimeError, match="Split first"):
            family.cross_fit(balanced, np.resize(fold, len(balanced.label)), seed=0)


@pytest.mark.parametrize("method", [ClassWeights(), ClassWeights(0.2), Undersample()], ids=repr)
def test_weights_and_undersampling_are_undone_exactly_where_a_model_can_say_everything(method: Rebalance) -> None:
    """A model with one free number per cell says the odds of the cell, so the shift must give back the real ones."""
    cell = np.repeat(np.arange(4), 50_000)
    rate = np.array([0.02, 0.1, 0.3, 0.6])
    label = np.arange(50_000)[None, :] < (rate * 50_000)[:, None]
    given = Examples(cell[:, None].astype(np.float32), label.ravel(), np.arange(200_000), (Column("cell", 4),),
                     rebalance=method)  # fmt: skip
    family = LogisticFamily(LogisticSettings(most_rows=1_000_000))
    model = family.fit(given, {"C": 1e6}, seed=0)
    uncorrected = model.predict_proba(np.arange(4, dtype=np.float32)[:, None])
    near = 0.08 if isinstance(method, Undersample) else 0.03  # which are left out is luck; the solver stops early
    assert correct_prior(uncorrected, given.prior_shift) == pytest.approx(rate, rel=near)
    assert not np.allclose(uncorrected, rate, rtol=0.2)


@given(st.floats(-6, 6), st.floats(0.2, 3), st.floats(-2, 2))
def test_prior_correction_comes_before_calibration(prior: float, slope: float, intercept: float) -> None:
    probability = np.linspace(0.01, 0.99, 25)
    both = Calibration("sigmoid", slope=slope, intercept=intercept, prior=prior)
    after = replace(both, prior=0.0).apply(correct_prior(probability, prior))
    assert both.apply(probability).tolist() == after.tolist()
    margin = np.log(probability / (1 - probability))
    assert both.apply(probability) == pytest.approx(1 / (1 + np.exp(-slope * (margin + prior) - intercept)), abs=1e-9)
    assert Calibration.from_json(both.to_json()) == both


def test_a_calibration_adds_what_was_added_before_it_was_learned() -> None:
    random = np.random.default_rng(1)
    truth = random.beta(1, 4, 4000)
    label = random.random(4000) < truth
    corrected = truth / 2  # what the prior correction leaves for calibration to mend
    found = choose_calibration("isotonic", corrected, label, np.arange(4000), seed=0, prior=-2.0)
    assert found.calibration.prior == -2.0
    raw = correct_prior(corrected, 2.0)
    assert found.calibration.apply(raw).sum() == pytest.approx(label.sum(), rel=1e-3)
    assert corrected.sum() < 0.55 * label.sum()


@pytest.mark.parametrize("method", IMBALANCE)
@pytest.mark.parametrize("family", ["logistic", "xgboost"])
def test_probabilities_come_true_whatever_was_done_to_the_rows(family: str, method: Any) -> None:
    frame = world(600)
    chosen = ModelSettings(family=family, fallback=None, imbalance=method, calibrate="none")
    trained = train(frame, SPLIT, chosen, threads=1)
    test = frame.take(SPLIT.blocks(frame).test)
    assert test.label.sum() / trained.predict(test.features).sum() == pytest.approx(1, abs=0.15)
    assert (trained.calibration.prior == 0) == (method == "none")
    assert trained.out_of_fold.sum() == pytest.approx(frame.label[SPLIT.blocks(frame).train].sum(), rel=0.1)


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({"imbalance": "undersample", "churner_weight": 2.0}, "churner_weight means nothing"),
        ({"imbalance": "none", "minority_ratio": 0.5}, "minority_ratio means nothing"),
        ({"imbalance": "weights", "minority_ratio": 0.5}, "minority_ratio means nothing"),
    ],
)
def test_a_number_without_its_method_is_refused(given_settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelSettings(**given_settings)


def test_the_settings_name_the_method() -> None:
    asked = {
        "none": ({}, None), "weights": ({"churner_weight": 4.0}, ClassWeights(4.0)),
        "undersample": ({}, Undersample(1.0)), "smote": ({"minority_ratio": 0.5}, Smote(0.5)),
    }  # fmt: skip
    assert set(asked) == set(IMBALANCE)
    for method, (numbers, rebalance) in asked.items():
        assert find_rebalance(ModelSettings.model_validate({"imbalance": method, **numbers})) == rebalance


def test_smote_without_its_package_is_refused_before_anything_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure.model.imbalance.is_installed", lambda _: False)
    monkeypatch.setitem(sys.modules, "imblearn", None)
    with pytest.raises(MissingExtraError, match=r"tenure\[imbalance\]"):
        find_rebalance(ModelSettings(imbalance="smote"))


@pytest.mark.parametrize(
    "wrong", [{"churner_weight": 0}, {"churner_weight": -1}, {"minority_ratio": 1.5}, {"minority_ratio": 0},
              {"imbalance": "adasyn"}],
)  # fmt: skip
def test_impossible_weights_and_ratios_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ModelSettings(**{"imbalance": "weights", **wrong})


def test_what_was_done_is_said() -> None:
    label = np.arange(100) < 20
    assert imbalance_words(None, label) == ""
    assert imbalance_words(ClassWeights(), label).startswith("In learning, a churner counted as much as 4 stayers;")
    assert imbalance_words(Smote(), label).startswith("60 blended rows were added to 20 of churners in learning;")
    assert imbalance_words(Undersample(), ~label).startswith("60 of 80 rows of churners were left out")
    assert imbalance_words(Undersample(), ~label).endswith("(log odds +1.386).")
