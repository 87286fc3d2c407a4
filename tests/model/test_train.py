"""Training learns inside its block, says what it did, and refuses what cannot be learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tenure.core.errors import ConfigError, HistoryError, InputError
from tenure.core.settings import ModelSettings
from tenure.model.calibrate import fit_calibration
from tenure.model.frame import Frame
from tenure.model.split import Split
from tenure.model.train import Trained, train
from tests.model.worlds import CUTOFFS, SPLIT, world

LOGISTIC = ModelSettings(family="logistic", fallback=None)
FRAME = world()


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(FRAME, SPLIT, ModelSettings(), threads=1)


def changed(frame: Frame, **parts: Any) -> Frame:
    given = {
        "customer_id": frame.customer_id,
        "label": frame.label,
        "features": frame.features,
        "cutoff": frame.cutoff,
        "activity": frame.activity,
    }
    return Frame.of(**(given | parts))


def test_the_family_and_its_fallback_are_trained_on_the_same_rows(trained: Trained) -> None:
    assert trained.family == "xgboost"
    assert set(trained.choice) == {"rounds", "max_depth"}
    fallback = trained.fallback
    assert fallback is not None
    assert (fallback.family, fallback.fallback) == ("logistic", None)
    assert set(fallback.choice) == {"C"}
    for one in (trained, fallback):
        assert (one.rows, one.customers, one.churners) == (900, 300, int(FRAME.label[:900].sum()))
        assert [entry.name for entry in one.encoder.dropped] == ["site"]
        assert one.calibrated_on == "cross-fitted training rows"
        assert one.out_of_fold.shape == (900,)
        assert one.seconds > 0
        assert one.log_loss["none"] < 0.68


def test_the_test_block_has_no_part_in_what_is_learned(trained: Trained) -> None:
    test = SPLIT.blocks(FRAME).test
    label = np.where(test, ~FRAME.label, FRAME.label)
    features = FRAME.features.set_column(
        1, "plan", pa.array(np.where(test, "never seen before", FRAME.features["plan"].to_numpy(zero_copy_only=False)))
    )
    other = train(changed(FRAME, label=label, features=features), SPLIT, ModelSettings(), threads=1)
    asked = FRAME.features.slice(0, 50)
    assert other.predict(asked).tolist() == trained.predict(asked).tolist()
    assert other.encoder == trained.encoder


def test_the_same_seed_gives_the_same_model_and_another_seed_another(trained: Trained) -> None:
    asked = FRAME.features
    same = train(FRAME, SPLIT, ModelSettings(), threads=2)
    other = train(FRAME, SPLIT, ModelSettings(seed=1), threads=1)
    assert same.predict(asked).tolist() == trained.predict(asked).tolist()
    assert other.predict(asked).tolist() != trained.predict(asked).tolist()


def test_a_calibration_block_is_used_for_calibration_alone() -> None:
    split = Split(train=CUTOFFS[:2], calibrate=CUTOFFS[2:3], test=CUTOFFS[3:])
    settings = LOGISTIC.model_copy(update={"calibrate": "sigmoid"})
    found = train(FRAME, split, settings, threads=1)
    assert found.calibrated_on == "calibration block"
    assert found.rows == 600
    block = FRAME.take(split.blocks(FRAME).calibrate)
    own = found.model.predict_proba(found.encoder.transform(block.features))
    assert found.calibration == fit_calibration("sigmoid", own, block.label)


def test_cross_fitted_predictions_are_those_that_calibrate() -> None:
    found = train(FRAME, SPLIT, LOGISTIC.model_copy(update={"calibrate": "sigmoid"}), threads=1)
    training = FRAME.take(SPLIT.blocks(FRAME).train)
    assert found.calibration == fit_calibration("sigmoid", found.out_of_fold, training.label)
    bare = train(FRAME, SPLIT, LOGISTIC.model_copy(update={"calibrate": "none"}), threads=1)
    assert bare.calibration.method == "none"


def test_a_family_is_not_its_own_fallback() -> None:
    assert train(FRAME, SPLIT, ModelSettings(family="logistic", fallback="logistic"), threads=1).fallback is None


def test_progress_is_told_per_family() -> None:
    told: dict[str, list[float]] = {}
    train(
        FRAME, SPLIT, ModelSettings(), threads=1, progress=lambda stage, done: told.setdefault(stage, []).append(done)
    )
    assert set(told) == {"train xgboost", "train logistic"}
    for shares in told.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1


def block_label(rows: slice, *, value: bool) -> np.ndarray:
    label = FRAME.label.copy()
    label[rows] = value
    return label


@pytest.mark.parametrize(
    ("rows", "value", "message"),
    [
        (slice(0, 900), False, "In the training block all 900 rows are stayers"),
        (slice(0, 900), True, "In the training block all 900 rows are churners"),
        (slice(900, 1200), False, "In the test block all 300 rows are stayers"),
    ],
)
def test_blocks_of_one_kind_are_refused(rows: slice, value: bool, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        train(changed(FRAME, label=block_label(rows, value=value)), SPLIT, LOGISTIC)


def test_too_few_lost_customers_are_refused_with_counts() -> None:
    label = block_label(slice(0, 900), value=False)
    label[[0, 300, 600, 1, 2, 303]] = True
    with pytest.raises(
        HistoryError, match=r"4 customers were lost \(6 of 900 rows are churners\); at least 10"
    ) as caught:
        train(changed(FRAME, label=label), SPLIT, LOGISTIC)
    assert caught.value.ids["lost_customers"] == 4
    with pytest.raises(HistoryError, match="1 customers"):
        train(changed(FRAME, customer_id=np.zeros(1200).astype(str)), SPLIT, LOGISTIC)


def test_wrong_input_is_named() -> None:
    spend = FRAME.features["spend"].to_numpy().copy()
    spend[7] = np.inf
    features = FRAME.features.set_column(2, "spend", pa.array(spend))
    with pytest.raises(InputError, match="'spend' holds 1 infinite"):
        train(changed(FRAME, features=features), SPLIT, LOGISTIC)
    with pytest.raises(ConfigError, match=r"no model family 'xgbost'\. Did you mean 'xgboost'"):
        train(FRAME, SPLIT, ModelSettings(family="xgbost"))
