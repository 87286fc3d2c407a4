"""Each step of the probabilities is judged on the same rows, and what changed nothing is not shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenure.core.settings import ModelSettings
from tenure.model.stages import judge_stages
from tenure.model.train import train
from tests.model.worlds import SPLIT, world


def test_the_steps_lead_from_the_model_to_the_version() -> None:
    frame = world(600)
    settings = ModelSettings(family="logistic", fallback=None, imbalance="undersample", calibrate="sigmoid")
    trained = train(frame, SPLIT, settings, threads=1)
    test = frame.take(SPLIT.blocks(frame).test)
    stages = judge_stages(trained, test, repeats=40)
    assert [stage.name for stage in stages] == [
        "as the model gives them", "after prior correction", "after calibration",
    ]  # fmt: skip
    given, corrected, calibrated = (stage.metrics["observed_expected"].value for stage in stages)
    assert calibrated == pytest.approx(test.label.sum() / trained.predict(test.features).sum())
    assert given < 0.85 < corrected
    assert {stage.metrics["roc_auc"].value for stage in stages} == {stages[0].metrics["roc_auc"].value}


def test_probabilities_that_were_left_alone_have_no_steps() -> None:
    frame = world(300)
    settings = ModelSettings(family="logistic", fallback=None, calibrate="none")
    trained = train(frame, SPLIT, settings, threads=1)
    test = frame.take(SPLIT.blocks(frame).test)
    assert judge_stages(trained, test, repeats=40) == ()
    moved = replace(trained, calibration=replace(trained.calibration, prior=-0.5))
    assert [stage.name for stage in judge_stages(moved, test, repeats=40)][1:] == ["after prior correction"]
