"""Auto takes the lowest log loss, ensembles learn where calibration learns, and a model that knows nothing says so."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tenure.core.errors import ConfigError
from tenure.core.settings import ModelSettings
from tenure.model.family_ensemble import EnsembleModel, learn_weights
from tenure.model.frame import Frame
from tenure.model.split import Split, split_table
from tenure.model.train import Trained, learn, train
from tests.model.worlds import CUTOFFS, SPLIT, world

FRAME = world()
APART = Split(train=CUTOFFS[:2], calibrate=CUTOFFS[2:3], test=CUTOFFS[3:])
LATER = APART.blocks(FRAME).calibrate


def trained(split: Split = SPLIT, **settings: object) -> Trained:
    return train(FRAME, split, ModelSettings(**settings), threads=1)


@pytest.mark.parametrize("split", [SPLIT, APART], ids=["cross-fitted", "calibration block"])
def test_auto_takes_the_family_with_the_lowest_log_loss(split: Split) -> None:
    members = ("xgboost", "logistic", "forest")
    losses = {name: trained(split, family=name, fallback=None).loss for name in members}
    best = min(losses, key=lambda name: losses[name])
    found = trained(split, family="auto", members=members, fallback="xgboost")
    assert (found.family, found.loss) == (best, losses[best])
    assert found.fallback is not None
    assert found.fallback.family == "xgboost"
    (note,) = found.notes
    assert note.startswith(f"Of 3 families {best} has the lowest log loss on the {found.calibrated_on}: {best} 0.")


def test_auto_needs_no_second_model_where_it_takes_the_fallback() -> None:
    best = trained(family="auto", members=("xgboost", "logistic"), fallback=None).family
    assert trained(family="auto", members=("xgboost", "logistic"), fallback=best).fallback is None


def test_a_fallback_cannot_be_chosen_automatically() -> None:
    with pytest.raises(ConfigError, match="The fallback cannot be 'auto'"):
        trained(fallback="auto")


def test_weights_are_learned_on_the_calibration_block_where_there_is_one() -> None:
    found = trained(APART, family="ensemble", weights="learned", fallback=None)
    assert isinstance(found.model, EnsembleModel)
    matrix = found.encoder.transform(FRAME.features.filter(pa.array(LATER)))
    margins = np.stack([member.predict_margin(matrix) for member in found.model.models])
    assert found.model.weights == learn_weights(margins, FRAME.label[LATER])


def test_without_a_calibration_block_weights_come_from_cross_fitting() -> None:
    found = trained(family="ensemble", weights="learned", fallback=None)
    assert isinstance(found.model, EnsembleModel)
    assert found.model.weights == tuple(found.choice[f"weight.{name}"] for name in found.model.names)


def test_given_weights_stay_as_they_are() -> None:
    found = trained(APART, family="ensemble", members=("logistic", "forest"), weights=(1, 3), fallback=None)
    assert isinstance(found.model, EnsembleModel)
    assert found.model.weights == (0.25, 0.75)


def test_a_model_that_predicts_one_value_says_so() -> None:
    rows = pa.table({"rare": (np.arange(200) % 90 == 7).astype(float)})  # too few rows for any leaf
    frame = Frame.of(np.arange(200), np.arange(200) % 4 == 0, rows)
    found = train(frame, split_table(frame), ModelSettings(family="lightgbm", fallback=None), threads=1)
    assert np.ptp(found.predict(rows)) == 0
    assert found.notes[0].startswith("The lightgbm model gives every customer the same probability")
    assert trained(fallback=None).notes == ()


def test_learning_from_every_row_knows_auto_too() -> None:
    found = learn(FRAME, ModelSettings(family="auto", members=("logistic", "xgboost")), threads=1)
    assert found.family in {"logistic", "xgboost"}
    assert "Of 2 families" in found.notes[0]
