"""Networks are fed finite numbers, answer alike in PyTorch and in numpy, and what cannot be read is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from tenure.core.errors import ArtifactError
from tenure.core.extras import require
from tenure.model.family_neural import NeuralFamily, NeuralModel
from tenure.model.neural_intake import Intake, NumberIntake, learn_intake
from tenure.model.neural_network import Network
from tenure.model.neural_training import Lesson, NeuralSettings, Training
from tenure.model.protocol import Examples, Matrix
from tenure.testing.family import family_examples

torch = require("torch")
ROWS = family_examples(300)
FAMILY = NeuralFamily(NeuralSettings(networks=2, networks_to_choose=1, most_epochs=4))
INTAKE = learn_intake(ROWS, bins=5)
floats = st.floats(width=32, allow_nan=True, allow_infinity=False)


@pytest.fixture(scope="module")
def model() -> NeuralModel:
    return FAMILY.fit(ROWS, {"epochs": 3}, seed=0, threads=1)


@given(arrays(np.float32, st.integers(0, 20), elements=floats))
def test_inputs_lie_between_nought_and_one(values: Matrix) -> None:
    matrix = np.column_stack([values, values[::-1], np.full((len(values), 2), np.nan, np.float32)])
    fed = INTAKE.inputs(matrix)
    assert fed.shape == (len(values), INTAKE.width)
    assert ((fed >= 0) & (fed <= 1)).all()


@given(arrays(np.float32, 30, elements=st.floats(-1e6, 1e6, width=32)))
def test_a_larger_number_never_fills_less(values: Matrix) -> None:
    intake = Intake((NumberIntake(0, (-5.0, 0.5, 3.0, 1000.0), gaps=False),), ())
    filled = intake.inputs(np.sort(values)[:, None]).sum(axis=1)
    assert (np.diff(filled) >= 0).all()


def test_what_is_fed_is_learned_from_what_is_learned_from() -> None:
    first = ROWS.take(np.arange(300) < 100)
    changed = ROWS.matrix.copy()
    changed[100:, 0] = 1e9
    again = Examples(changed, ROWS.label, ROWS.group, ROWS.columns).take(np.arange(300) < 100)
    assert learn_intake(first, 5) == learn_intake(again, 5)
    assert learn_intake(first, 5) != INTAKE


def test_numpy_answers_what_pytorch_learned() -> None:
    lesson = Lesson(INTAKE.inputs(ROWS.matrix), INTAKE.codes(ROWS.matrix), (5, 32), ROWS.label, None)
    training: Any = Training(lesson, NeuralSettings(dropout=0.0), 2, seed=3)
    for _ in range(3):
        training.epoch()
    training._weights = training._means
    with torch.no_grad():
        rows = torch.arange(300).repeat(2, 1)
        expected = training._margin(rows).mean(dim=0).numpy()
    found = training.network().margin(lesson.inputs, lesson.codes)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_networks_start_from_the_rate_of_all_rows() -> None:
    lesson = Lesson(INTAKE.inputs(ROWS.matrix), INTAKE.codes(ROWS.matrix), (5, 32), ROWS.label, None)
    margin = Training(lesson, NeuralSettings(), 4, seed=0).network().margin(lesson.inputs, lesson.codes)
    rate = ROWS.label.mean()
    assert margin.mean() == pytest.approx(np.log(rate / (1 - rate)), abs=0.3)


def test_the_state_of_pytorch_stays_as_it_was() -> None:
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    FAMILY.fit(ROWS, {"epochs": 1}, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_another_seed_gives_other_networks(model: NeuralModel) -> None:
    other = FAMILY.fit(ROWS, {"epochs": 3}, seed=1, threads=1)
    assert not np.array_equal(other.predict_margin(ROWS.matrix), model.predict_margin(ROWS.matrix))


def test_a_category_without_rows_says_nothing(model: NeuralModel) -> None:
    """Embeddings begin at zero and only rows move them."""
    seen = ROWS.take(ROWS.matrix[:, 2] != 1)
    trained = FAMILY.fit(seen, {"epochs": 3}, seed=0, threads=1)
    assert isinstance(trained, NeuralModel)
    assert np.abs(trained.network.embeddings[0][:, 1]).max() < 1e-6
    assert np.abs(model.network.embeddings[0][:, 1]).max() > 1e-3


def test_many_rows_are_drawn_as_whole_customers() -> None:
    family = NeuralFamily(NeuralSettings(networks=1, most_rows=60))
    few = family.fit(ROWS, {"epochs": 1}, seed=0, threads=1)
    assert np.isfinite(few.predict_margin(ROWS.matrix)).all()
    every = NeuralFamily(NeuralSettings(networks=1)).fit(ROWS, {"epochs": 1}, seed=0, threads=1)
    assert not np.array_equal(few.predict_margin(ROWS.matrix), every.predict_margin(ROWS.matrix))


def damage(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    tensors = load(path.read_bytes())
    change(tensors)
    path.write_bytes(save(tensors))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("second"), "no tensor 'second'"),
        (lambda tensors: tensors.update(first=tensors["first"].astype(np.float64)), "no tensor 'first' of finite"),
        (lambda tensors: tensors.update(last=tensors["last"] * np.nan), "no tensor 'last' of finite"),
        (lambda tensors: tensors.update(first=tensors["first"][:, 1:]), "do not fit each other"),
        (lambda tensors: tensors.update({"embedding.0": tensors["embedding.0"][:, :2]}), "do not fit each other"),
        (lambda tensors: tensors.update(second=tensors["second"][0]), "do not fit each other"),
        (lambda tensors: tensors.pop("usual_rows"), "has no usual_rows of 4 columns"),
        (lambda tensors: tensors.update(usual_rows=tensors["usual_rows"][:, :3]), "has no usual_rows of 4 columns"),
    ],
    ids=["absent", "float64", "NaN", "narrow", "few codes", "flat", "no usual rows", "narrow usual rows"],
)
def test_weights_that_do_not_fit_are_refused(model: NeuralModel, tmp_path: Path, change: Any, said: str) -> None:
    model.save(tmp_path)
    damage(tmp_path, change)
    with pytest.raises(ArtifactError, match=said):
        FAMILY.load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"\xff" * 8 + b"{}"])
def test_what_is_no_safetensors_file_is_refused(model: NeuralModel, tmp_path: Path, data: bytes) -> None:
    model.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ArtifactError, match="cannot be read"):
        FAMILY.load(tmp_path)


def test_a_network_answers_the_mean_of_its_networks(model: NeuralModel) -> None:
    tensors = model.network.tensors
    inputs, codes = model.intake.inputs(ROWS.matrix), model.intake.codes(ROWS.matrix)
    counts = tuple(count + 1 for _, count in model.intake.categories)
    alone = [
        Network.of({name: tensor[[place]] for name, tensor in tensors.items()}, model.intake.width, counts)
        for place in range(2)
    ]
    expected = np.mean([network.margin(inputs, codes) for network in alone], axis=0)
    np.testing.assert_allclose(model.predict_margin(ROWS.matrix), expected, rtol=1e-9, atol=1e-12)
