"""Calibration is kept only where it helps, never reorders and survives JSON."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError
from tenure.model.calibrate import Calibration, choose_calibration, fit_calibration

RANDOM = np.random.default_rng(11)
TRUTH = RANDOM.beta(1, 4, 6000)
LABEL = RANDOM.random(6000) < TRUTH
CUSTOMER = np.arange(6000)


def chosen(probability: Any, wanted: Literal["auto", "none", "sigmoid", "isotonic"] = "auto", **changes: Any) -> Any:
    return choose_calibration(wanted, probability, changes.get("label", LABEL), changes.get("group", CUSTOMER), seed=0)


def blocks(rows: int) -> list[tuple[Any, Any]]:
    return [(TRUTH[start : start + rows], LABEL[start : start + rows]) for start in range(0, 6000, rows)]


def log_odds(probability: Any) -> Any:
    return np.log(probability / (1 - probability))


def test_true_probabilities_are_left_alone() -> None:
    assert chosen(TRUTH).calibration.apply(TRUTH) == pytest.approx(TRUTH, abs=0.01)
    wrong = [choose_calibration("auto", p, label, np.arange(500), seed=0).calibration for p, label in blocks(500)]
    assert sum(calibration == Calibration() for calibration in wrong) >= 8
    assert {calibration.slope for calibration in wrong} == {1}


def test_overconfidence_is_undone() -> None:
    overconfident = 1 / (1 + np.exp(-(2 * log_odds(TRUTH) + 1)))
    choice = chosen(overconfident)
    assert choice.calibration.method == "sigmoid"
    assert choice.calibration.slope == pytest.approx(0.5, abs=0.05)
    assert choice.calibration.apply(overconfident) == pytest.approx(TRUTH, abs=0.05)
    assert choice.log_loss["sigmoid"] < choice.log_loss["none"]


def test_a_wrong_rate_is_shifted_and_nothing_else() -> None:
    low = 1 / (1 + np.exp(-(log_odds(TRUTH) - 0.2)))
    choice = chosen(low)
    assert choice.calibration.method == "sigmoid"
    assert choice.calibration.slope == 1
    assert choice.calibration.intercept == pytest.approx(0.2, abs=0.08)
    assert choice.calibration.apply(low).sum() == pytest.approx(LABEL.sum())


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.data())
def test_shifted_probabilities_add_up_to_the_churners(probability: list[float], data: st.DataObject) -> None:
    rows = len(probability)
    churners = data.draw(st.integers(1, rows - 1))
    label = np.arange(rows) < churners
    calibration = fit_calibration("shift", np.array(probability), label)
    assert calibration.apply(np.array(probability)).sum() == pytest.approx(churners, abs=1e-6)


def test_a_bend_that_no_sigmoid_undoes_takes_steps() -> None:
    choice = chosen(np.where(TRUTH > 0.25, TRUTH, TRUTH / 10))
    assert choice.calibration.method == "isotonic"
    assert choice.log_loss["isotonic"] < choice.log_loss["sigmoid"] < choice.log_loss["none"]


def test_few_rows_try_no_steps_and_noise_is_seldom_learned() -> None:
    choices = [choose_calibration("auto", p, label, np.arange(100), seed=0) for p, label in blocks(100)]
    assert {method for choice in choices for method in choice.log_loss} == {"none", "shift", "sigmoid"}
    assert sum(choice.calibration.method != "none" for choice in choices) <= 20
    assert sum(choice.calibration.slope != 1 for choice in choices) <= 6


def test_rows_of_one_customer_do_not_make_a_fall_sure() -> None:
    tilted = 1 / (1 + np.exp(-(log_odds(TRUTH) - 0.1)))
    found = []
    for start in range(0, 3000, 300):
        part = [np.repeat(values[start : start + 300], 20) for values in (tilted, LABEL, CUSTOMER)]
        together = choose_calibration("auto", part[0], part[1], part[2] - start, seed=0)
        apart = choose_calibration("auto", part[0], part[1], np.arange(6000), seed=0)
        found.append((together.calibration.method, apart.calibration.method))
    assert sum(together != "isotonic" for together, _ in found) >= 8
    assert sum(apart == "isotonic" for _, apart in found) >= 8


@pytest.mark.parametrize("wanted", ["none", "sigmoid", "isotonic"])
def test_a_method_that_is_wanted_is_used(wanted: Literal["none", "sigmoid", "isotonic"]) -> None:
    choice = chosen(TRUTH, wanted)
    assert choice.calibration.method == wanted
    assert set(choice.log_loss) == {"none", wanted}


def test_scores_that_point_the_wrong_way_become_the_rate_of_all() -> None:
    calibration = fit_calibration("sigmoid", 1 - TRUTH, LABEL)
    assert calibration.apply(np.array([0.1, 0.9])) == pytest.approx(LABEL.mean())


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=2, max_size=60),
    st.sampled_from(["none", "shift", "sigmoid", "isotonic"]),
)
def test_nobody_overtakes_anybody(
    rows: list[tuple[int, bool]], method: Literal["none", "shift", "sigmoid", "isotonic"]
) -> None:
    probability = np.array([part / 1000 for part, _ in rows] + [0.2, 0.7])
    label = np.array([lost for _, lost in rows] + [True, False])
    calibration = fit_calibration(method, probability, label)
    asked = np.linspace(0, 1, 101)
    answered = calibration.apply(asked)
    assert (np.diff(answered) >= 0).all()
    if method != "none":
        assert answered.min() > 0
        assert answered.max() < 1
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


@pytest.mark.parametrize(
    "change",
    [{"method": "magic"}, {"given": [0.5, 0.1], "found": [0.1, 0.2]}, {"given": [0.5]}, {"method": "isotonic"}],
)
def test_a_damaged_document_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        Calibration.from_json(Calibration().to_json() | change)
