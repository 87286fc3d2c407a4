"""Neural networks with an embedding per category, trained by PyTorch; extra `neural`.

Enters: encoded examples. Leaves: a `NeuralModel`: weights as safetensors, and how columns are fed as JSON. Invariant:
the number of epochs is chosen by the log loss of customers that no network saw, and everything a column needs before it
is fed (bins, gaps) is learned from the rows that the weights are learned from.

PyTorch is needed to train and for nothing else: a trained model predicts with numpy (`tenure.model.neural_network`), so
a version can be served where no PyTorch is installed.

Networks of every fold learn epoch by epoch, and after each epoch all of them predict their held-out customers. Training
stops when the common log loss has not fallen for `patience` epochs, and its best epoch is how long the final networks
learn from all rows. Its explanations are estimated (`tenure.model.shapley`), with usual training rows kept beside the
weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tenure.core.progress import Progress, silent
from tenure.model.cross_fit import held_out_rows, judged
from tenure.model.document import read_file, refused, write_file
from tenure.model.fold import at_most
from tenure.model.neural_intake import Intake, learn_intake
from tenure.model.neural_network import Network
from tenure.model.neural_training import Lesson, NeuralSettings, Training
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Flags,
    Folds,
    Matrix,
    Vector,
    sigmoid,
)
from tenure.model.shapley import draw_background, sample_contributions

__all__ = ["NeuralFamily", "NeuralModel", "NeuralSettings"]

FILE, INTAKE = "model.safetensors", "intake.json"
_USUAL = "usual_rows"


@dataclass(frozen=True, eq=False)
class NeuralModel:
    """Trained networks.

    Parameters
    ----------
    intake : Intake
        How a matrix is fed to them.
    network : Network
        Their weights.
    usual : float32 array (usual rows, columns)
        Training rows that explanations compare with.
    """

    intake: Intake
    network: Network
    usual: Matrix = field(repr=False)

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn, float64 (rows,)."""
        return self.network.margin(self.intake.inputs(matrix), self.intake.codes(matrix))

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """Shapley values, estimated by asking about mixtures of a row and usual ones."""
        return sample_contributions(self.predict_margin, matrix, self.usual)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `model.safetensors` and `intake.json`."""
        (folder / FILE).write_bytes(save({**self.network.tensors, _USUAL: self.usual}))
        write_file(folder, INTAKE, self.intake)
        return (FILE, INTAKE)


@dataclass(frozen=True)
class NeuralFamily:
    """Neural networks.

    Parameters
    ----------
    settings : NeuralSettings
        How networks look and learn.
    """

    name: ClassVar[str] = "neural"
    explanation: ClassVar[Explanation] = "sampled Shapley values (background rows)"
    settings: NeuralSettings = field(default_factory=NeuralSettings)

    def cross_fit(
        self,
        examples: Examples,
        fold: Folds,
        *,
        seed: int,
        threads: int | None = None,  # noqa: ARG002 - see `neural_training`: the result must not depend on it
        progress: Progress = silent,
    ) -> CrossFit:
        """Choose the epochs by the log loss of held-out customers, and give those predictions."""
        pupils = [
            _Pupil(self.settings, examples, rows, seed + number) for number, rows in enumerate(held_out_rows(fold))
        ]
        best, margins = CrossFit(np.empty(0), {}, np.inf), np.empty(len(fold))
        for epoch in range(1, self.settings.most_epochs + 1):
            for pupil in pupils:
                margins[pupil.held_out] = pupil.learn()
            found = judged(examples.label, margins, {"epochs": float(epoch)})
            if found.log_loss < best.log_loss:
                best = found
            elif epoch - best.choice["epochs"] >= self.settings.patience:
                break
            progress("cross-fit", 1 - 0.95**epoch)  # nobody knows how many epochs are left
        progress("cross-fit", 1.0)
        return best

    def fit(
        self,
        examples: Examples,
        choice: Choice,
        *,
        seed: int,
        threads: int | None = None,  # noqa: ARG002 - as above
        progress: Progress = silent,
    ) -> NeuralModel:
        """Train on all examples for the chosen number of epochs."""
        intake, training = _begin(self.settings, examples, self.settings.networks, seed)
        epochs = int(choice["epochs"])
        for epoch in range(epochs):
            training.epoch()
            progress("fit", (epoch + 1) / epochs)
        network = training.network()
        few = at_most(examples, self.settings.most_rows, seed=seed)

        def margin(matrix: Matrix) -> Vector:
            return network.margin(intake.inputs(matrix), intake.codes(matrix))

        return NeuralModel(intake, network, draw_background(margin, few.matrix))

    def load(self, folder: Path) -> NeuralModel:
        """Read `model.safetensors` and `intake.json`."""
        intake = read_file(folder, INTAKE, Intake)
        try:
            tensors = load((folder / FILE).read_bytes())
        except (SafetensorError, ValueError, KeyError) as error:
            raise refused(f"{FILE} cannot be read: {error}.", file=FILE) from None
        usual = tensors.get(_USUAL)
        columns = len(intake.numbers) + len(intake.categories)
        if usual is None or usual.dtype != np.float32 or usual.ndim != 2 or usual.shape[1] != columns or not len(usual):
            raise refused(f"{FILE} has no {_USUAL} of {columns} columns.", file=FILE)
        network = Network.of(tensors, intake.width, tuple(count + 1 for _, count in intake.categories))
        return NeuralModel(intake, network, usual)


class _Pupil:
    """The networks of one fold, and the rows that they never see."""

    def __init__(self, settings: NeuralSettings, examples: Examples, held_out: Flags, seed: int) -> None:
        rest, training = examples.matrix[held_out], examples.take(~held_out)
        self.held_out, self._shift = held_out, training.prior_shift
        self._intake, self._training = _begin(settings, training, settings.networks_to_choose, seed)
        self._inputs, self._codes = self._intake.inputs(rest), self._intake.codes(rest)

    def learn(self) -> Vector:
        """One epoch more; give the margins of the held-out rows, float64 (held-out rows,)."""
        self._training.epoch()
        return self._training.network().margin(self._inputs, self._codes) + self._shift


def _begin(settings: NeuralSettings, examples: Examples, networks: int, seed: int) -> tuple[Intake, Training]:
    training = at_most(examples, settings.most_rows, seed=seed).balanced(seed)
    intake = learn_intake(training, settings.bins)
    lesson = Lesson(
        intake.inputs(training.matrix),
        intake.codes(training.matrix),
        tuple(count + 1 for _, count in intake.categories),
        training.label,
        training.weight,
    )
    return intake, Training(lesson, settings, networks, seed)
