"""An ensemble is the weighted sum of its members, and learned weights find the better member."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError
from tenure.model.families import find_member
from tenure.model.family_ensemble import EnsembleFamily, EnsembleModel, learn_weights
from tenure.model.fold import customer_folds
from tenure.model.protocol import sigmoid
from tenure.testing.family import family_examples

MEMBERS = ("logistic", "xgboost")
ROWS = family_examples(400)
FOLD = customer_folds(ROWS.group, ROWS.label, folds=3, seed=0)


def fitted(weights: tuple[float, ...] | None) -> EnsembleModel:
    family = EnsembleFamily(find_member, MEMBERS, weights)
    return family.fit(ROWS, family.cross_fit(ROWS, FOLD, seed=0, threads=1).choice, seed=0, threads=1)


def test_margins_and_contributions_are_weighted_sums_of_the_members() -> None:
    model = fitted((0.6, 0.4))
    one, other = (member.predict_margin(ROWS.matrix) for member in model.models)
    np.testing.assert_allclose(model.predict_margin(ROWS.matrix), 0.6 * one + 0.4 * other, rtol=1e-12)
    first, second = (member.contributions(ROWS.matrix) for member in model.models)
    np.testing.assert_allclose(model.contributions(ROWS.matrix).values, 0.6 * first.values + 0.4 * second.values)


def test_members_are_trained_as_they_would_be_alone() -> None:
    model = fitted((0.6, 0.4))
    for name, member in zip(MEMBERS, model.models, strict=True):
        family = find_member(name)
        alone = family.fit(ROWS, family.cross_fit(ROWS, FOLD, seed=0, threads=1).choice, seed=0, threads=1)
        assert (alone.predict_margin(ROWS.matrix) == member.predict_margin(ROWS.matrix)).all()


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4), st.integers(0, 2**16))
def test_learned_weights_are_shares(scales: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    margins = random.normal(size=(len(scales), 300)) * np.array(scales)[:, None]
    label = random.random(300) < sigmoid(margins[0] * 3)
    weights = learn_weights(margins, label)
    assert len(weights) == len(scales)
    assert min(weights) >= 0
    assert sum(weights) == pytest.approx(1)


def test_learned_weights_are_those_that_made_the_labels() -> None:
    random = np.random.default_rng(0)
    margins = random.normal(size=(2, 40_000))
    label = random.random(40_000) < sigmoid(1.5 * margins[0] + 0.5 * margins[1])
    assert learn_weights(margins, label)[0] == pytest.approx(0.75, abs=0.02)


def test_members_that_only_mislead_count_the_same() -> None:
    margins = np.array([[1.0, -1.0] * 50, [2.0, -2.0] * 50])
    assert learn_weights(margins, margins[0] < 0) == (0.5, 0.5)


def test_weights_learned_later_come_from_those_rows() -> None:
    model, later = fitted(None), family_examples(2000, seed=5)
    reweighed = model.reweighed(later.matrix, later.label)
    margins = np.stack([member.predict_margin(later.matrix) for member in model.models])
    assert reweighed.weights == learn_weights(margins, later.label)
    assert reweighed.models is model.models


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5], [1.0], []])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, weights: list[float]) -> None:
    fitted((0.6, 0.4)).save(tmp_path)
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps({"members": list(MEMBERS), "weights": weights}))
    with pytest.raises(ArtifactError, match="do not fit the members"):
        EnsembleFamily(find_member).load(tmp_path)
