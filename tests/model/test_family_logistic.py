"""Logistic regression is scikit-learn's, on columns it has prepared and keeps as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tenure.core.errors import ArtifactError
from tenure.model.family_logistic import LogisticFamily, LogisticModel, LogisticSettings
from tenure.model.fold import customer_folds
from tenure.model.protocol import Column, Examples
from tenure.testing.family import family_examples

RANDOM = np.random.default_rng(6)
ROWS = 2000
SPEND = RANDOM.lognormal(2, 1, ROWS)
PLAN = RANDOM.integers(0, 3, ROWS)
GAP = RANDOM.random(ROWS) < 0.2
LABEL = RANDOM.random(ROWS) < 1 / (1 + np.exp(1 + 0.8 * (np.log1p(SPEND) - 2) - 1.0 * (PLAN == 1) - 0.8 * GAP))
MATRIX = np.asfortranarray(np.column_stack([np.where(GAP, np.nan, SPEND), PLAN]).astype(np.float32))
EXAMPLES = Examples(MATRIX, LABEL, np.arange(ROWS), (Column("spend"), Column("plan", categories=4)))


def fitted(
    examples: Examples = EXAMPLES, strength: float = 0.1, settings: LogisticSettings | None = None
) -> LogisticModel:
    model = LogisticFamily(settings or LogisticSettings()).fit(examples, {"C": strength}, seed=0, threads=1)
    assert isinstance(model, LogisticModel)
    return model


def test_the_coefficients_are_those_of_scikit_learn() -> None:
    logs = np.log1p(SPEND.astype(np.float32).astype(float))
    filled = np.where(GAP, np.median(logs[~GAP]), logs)
    design = np.column_stack([(filled - filled.mean()) / filled.std(), GAP, np.eye(4)[PLAN]])
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(design, LABEL)
    model = fitted()
    spend, plan = model.terms
    found = [*spend.weights, spend.missing, *plan.weights]
    assert found == pytest.approx(reference.coef_[0].tolist(), abs=1e-4)
    assert model.predict_margin(MATRIX) == pytest.approx(reference.decision_function(design), abs=1e-3)
    assert plan.missing == 0


def test_an_absurd_row_gets_no_absurd_margin() -> None:
    model = fitted()
    spend = model.terms[0]
    usual, absurd = model.predict_margin(np.array([[np.exp(spend.center) - 1, 0], [1e30, 0]], np.float32))
    assert absurd - usual == pytest.approx(6 * spend.weights[0], abs=1e-4)


def test_an_unseen_category_adds_nothing() -> None:
    model = fitted()
    assert model.terms[1].weights[3] == 0
    other, missing = model.predict_margin(np.array([[5, 3], [5, np.nan]], np.float32))
    assert other == missing


def test_a_weak_signal_takes_a_strong_penalty() -> None:
    noise = np.asfortranarray(RANDOM.normal(size=(400, 60)).astype(np.float32))
    columns = tuple(Column(f"noise{i}") for i in range(60))
    weak = Examples(noise, RANDOM.random(400) < 0.3, np.arange(400), columns)
    chosen = [
        LogisticFamily().cross_fit(rows, customer_folds(rows.group, rows.label, folds=5, seed=0), seed=0, threads=1)
        for rows in (weak, EXAMPLES)
    ]
    assert chosen[0].choice["C"] == 0.001
    assert chosen[1].choice["C"] > 0.001


def test_of_too_many_rows_whole_customers_are_drawn() -> None:
    rows = family_examples(4000)
    drawn = fitted(rows, settings=LogisticSettings(most_rows=1500))
    everything = fitted(rows)
    assert drawn != everything
    difference = drawn.predict_proba(rows.matrix) - everything.predict_proba(rows.matrix)
    assert np.abs(difference).mean() < 0.05


def test_the_file_is_plain_json_and_read_strictly(tmp_path: Path) -> None:
    model = fitted()
    assert model.save(tmp_path) == ("model.json",)
    assert LogisticFamily().load(tmp_path) == model
    document = json.loads((tmp_path / "model.json").read_text())
    document["intercept"] = "0"
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="intercept should be a number"):
        LogisticFamily().load(tmp_path)
