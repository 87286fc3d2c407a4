"""From labelled rows to a model that may be judged.

Enters: a frame, its split and the `[model]` section. Leaves: `Trained`, and beside it the fallback family's. Invariant:
nothing of the test block is looked at but whether it can be judged; whatever is learned (categories, trees, penalty,
calibration) is learned inside the block that owns it.

The order: freeze the encoder on the training rows; cross-fit over customers, which chooses rounds, depth or penalty and
predicts every training row by a model that never saw its customer; fit on the whole block; correct for the prior where
the rows were rebalanced; calibrate on the calibration block where there is one, else on the cross-fitted predictions.
Rebalancing is no step of its own: the examples only carry the wish, and a family fulfils it in each fold's training
rows (`tenure.model.protocol`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure.core.errors import HistoryError
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.model.calibrate import Calibration, choose_calibration, correct_prior
from tenure.model.encode import Encoder
from tenure.model.evaluate import check_both_kinds
from tenure.model.families import candidates, settled_family, wanted_families
from tenure.model.family_ensemble import EnsembleFamily, EnsembleModel
from tenure.model.fold import customer_folds
from tenure.model.frame import Frame
from tenure.model.imbalance import find_rebalance
from tenure.model.protocol import Choice, Examples, Family, Flags, Matrix, Model, Vector
from tenure.model.split import Split

__all__ = ["LEAST", "Trained", "learn", "train"]

LEAST = 10
MANY_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Trained:
    """What turns feature columns into churn probabilities, and how it came about.

    Parameters
    ----------
    family : str
        Name in `tenure.model.families.FAMILIES`.
    encoder : Encoder
        Makes the matrix; its `dropped` lists features that carry nothing.
    model : Model
        Gives uncalibrated probabilities.
    calibration : Calibration
        Corrects them.
    choice : mapping of str to float
        What cross-fitting chose, for example rounds and depth.
    log_loss : mapping of str to float
        Per calibration method that was tried, in nats per row, on rows that the model behind it was not trained on.
    calibrated_by : str
        The method that was chosen.
    calibrated_on : {"cross-fitted training rows", "calibration block"}
        Where calibration was learned.
    out_of_fold : float64 array (training rows,)
        Probability of each training row by a model that never saw its customer: after prior correction, before
        calibration.
    held_out : float64 array
        Calibrated probability of each row that calibration was learned from: of the calibration block, or of the
        training rows by models that never saw their customers. A threshold that has to be searched is searched here.
    rows, churners, customers : int
        Of the training block.
    seconds : float
        How long this family took.
    fallback : Trained, optional
        The second family, trained on the same rows.
    notes : tuple of str
        What a reader must know of how it was chosen and what it says.

    Examples
    --------
    >>> from tenure.model.split import split_table
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits, "shop": ["main"] * 400}))
    >>> trained = train(frame, split_table(frame), ModelSettings(fallback="logistic"), threads=1)
    >>> trained.family, trained.rows, [one.name for one in trained.encoder.dropped]
    ('xgboost', 320, ['shop'])
    >>> trained.predict(pa.table({"visits": [0, 19]})).round().tolist()
    [1.0, 0.0]
    """

    family: str
    encoder: Encoder
    model: Model
    calibration: Calibration
    choice: Choice
    log_loss: Mapping[str, float]
    calibrated_by: str
    calibrated_on: Literal["cross-fitted training rows", "calibration block"]
    out_of_fold: Vector
    held_out: Vector
    rows: int
    churners: int
    customers: int
    seconds: float
    fallback: Trained | None = None
    notes: tuple[str, ...] = ()

    @property
    def loss(self) -> float:
        """Log loss after calibration, in nats per row, on rows that neither model nor calibration had seen."""
        return self.log_loss[self.calibrated_by]

    def predict(self, table: pa.Table) -> Vector:
        """Churn probability of each row of raw feature columns, float64 (rows,).

        Raises
        ------
        NotFoundError
            A feature column is missing.
        InputError
            A feature column is of another kind than at training, or holds infinite values.
        """
        return self.calibration.apply(self.model.predict_proba(self.encoder.transform(table)))


@dataclass(frozen=True, eq=False)
class _Ready:
    """What both families are trained on."""

    encoder: Encoder
    examples: Examples
    fold: npt.NDArray[np.int64]
    apart: tuple[Matrix, Flags, npt.NDArray[np.int64]] | None
    """Matrix, labels and customers of the calibration block."""


def train(
    frame: Frame, split: Split, settings: ModelSettings, *, threads: int | None = None, progress: Progress = silent
) -> Trained:
    """Train the family and its fallback.

    Parameters
    ----------
    frame : Frame
        Labelled rows of all blocks.
    split : Split
        Which row belongs to which block.
    settings : ModelSettings
        Families, calibration and seed. A fallback that is the family itself is not trained twice.
    threads : int, optional
        Threads to use; default: all cores. The result does not depend on it.
    progress : Progress
        Told how far each family is.

    Raises
    ------
    HistoryError
        A block has no churners or no stayers, or training has fewer than `LEAST` customers of either kind.
    InputError
        A feature holds infinite values.
    ConfigError
        A family is unknown.

    Examples
    --------
    >>> from tenure.model.split import split_table
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits}))
    >>> trained = train(frame, split_table(frame), ModelSettings(family="logistic", fallback=None), threads=1)
    >>> trained.predict(pa.table({"visits": [0, 19]})).round().tolist()
    [1.0, 0.0]
    """
    families, fallback = wanted_families(settings), settings.fallback
    ready = _prepare(frame, split, settings)
    trained = {family.name: _train_family(family, ready, settings, threads, progress) for family in families}
    best = _lowest([trained[name] for name in candidates(settings)])
    return replace(best, fallback=trained[fallback]) if fallback and fallback != best.family else best


def learn(frame: Frame, settings: ModelSettings, *, threads: int | None = None, progress: Progress = silent) -> Trained:
    """Train the family on every row there is, with calibration cross-fitted; judging it takes other rows.

    Parameters
    ----------
    frame : Frame
        Labelled rows; the fallback of the settings plays no part.
    settings, threads, progress
        As for `train`.

    Raises
    ------
    HistoryError
        Fewer than two customers were lost or fewer than two stayed, or no column varies.
    InputError
        A feature holds infinite values.
    ConfigError
        The family is unknown.

    Examples
    --------
    >>> visits = np.arange(100) % 20
    >>> frame = Frame.of(np.arange(100), visits < 6, pa.table({"visits": visits}))
    >>> learn(frame, ModelSettings(family="logistic"), threads=1).predict(
    ...     pa.table({"visits": [0, 19]})
    ... ).round().tolist()
    [1.0, 0.0]
    """
    ready = _encode(frame, settings, least=2)
    families = [settled_family(name, settings) for name in candidates(settings)]
    return _lowest([_train_family(family, ready, settings, threads, progress) for family in families])


def _lowest(trained: Sequence[Trained]) -> Trained:
    """The family with the lowest log loss after calibration, and by how much it lies below the others."""
    ordered = sorted(trained, key=lambda one: one.loss)
    if len(ordered) == 1:
        return ordered[0]
    best, shown = ordered[0], ", ".join(f"{one.family} {one.loss:.4f}" for one in ordered)
    note = f"Of {len(ordered)} families {best.family} has the lowest log loss on the {best.calibrated_on}: {shown}."
    return replace(best, notes=(*best.notes, note))


def _folds(label: Flags, group: npt.NDArray[np.int64]) -> int:
    """As many folds as pay, and never so many that one of them has no customer of a kind."""
    usual = 3 if len(label) > MANY_ROWS else 5
    return min(usual, len(np.unique(group[label])), len(np.unique(group[~label])))


def _prepare(frame: Frame, split: Split, settings: ModelSettings) -> _Ready:
    blocks = split.blocks(frame)
    ready = _encode(frame.take(blocks.train), settings, least=LEAST)
    check_both_kinds(frame.label[blocks.test], "the test block")
    if not blocks.calibrate.any():
        return ready
    later = frame.take(blocks.calibrate)
    check_both_kinds(later.label, "the calibration block")
    return replace(ready, apart=(ready.encoder.transform(later.features), later.label, later.group()))


def _encode(training: Frame, settings: ModelSettings, least: int) -> _Ready:
    """Rows to learn from, with their folds; nothing is set apart."""
    group = training.group()
    _check_enough(training.label, group, least)
    encoder = Encoder.fit(training.features)
    matrix, rebalance = encoder.transform(training.features), find_rebalance(settings)
    examples = Examples(matrix, training.label, group, encoder.layout, rebalance=rebalance)
    fold = customer_folds(group, training.label, folds=_folds(training.label, group), seed=settings.seed)
    return _Ready(encoder, examples, fold, None)


def _train_family(
    family: Family, ready: _Ready, settings: ModelSettings, threads: int | None, progress: Progress
) -> Trained:
    began = time.perf_counter()
    examples, seed = ready.examples, settings.seed
    prior = examples.prior_shift

    def told(stage: str, done: float) -> None:
        progress(f"train {family.name}", 0.8 * done if stage == "cross-fit" else 0.8 + 0.2 * done)

    crossed = family.cross_fit(examples, ready.fold, seed=seed, threads=threads, progress=told)
    model = family.fit(examples, crossed.choice, seed=seed, threads=threads, progress=told)
    if ready.apart is None:
        judged = (crossed.probability, examples.label, examples.group)
    else:
        matrix, label, group = ready.apart
        if isinstance(family, EnsembleFamily) and isinstance(model, EnsembleModel) and family.learns_weights:
            model = model.reweighed(matrix, label)
        judged = (correct_prior(model.predict_proba(matrix), prior), label, group)
    chosen = choose_calibration(settings.calibrate, *judged, seed=seed, prior=prior)
    return Trained(
        family=family.name,
        encoder=ready.encoder,
        model=model,
        calibration=chosen.calibration,
        choice=crossed.choice,
        log_loss=chosen.log_loss,
        calibrated_by=chosen.method,
        calibrated_on="cross-fitted training rows" if ready.apart is None else "calibration block",
        out_of_fold=crossed.probability,
        held_out=replace(chosen.calibration, prior=0.0).apply(judged[0]),
        rows=len(examples.label),
        churners=int(examples.label.sum()),
        customers=int(examples.group.max()) + 1,
        seconds=time.perf_counter() - began,
        notes=_one_value(family.name, model, examples.matrix),
    )


def _one_value(family: str, model: Model, matrix: Matrix) -> tuple[str, ...]:
    """A sentence where a model gives everybody the same probability, as far as some thousand rows tell."""
    some = matrix[:: max(1, len(matrix) // 5000)]
    if np.ptp(model.predict_margin(some)) > 0:
        return ()
    said = f"The {family} model gives every customer the same probability: no feature told churners from stayers."
    return (f"{said} Its ranking is arbitrary, and the base rate alone decides whom it contacts.",)


def _check_enough(label: Flags, group: npt.NDArray[np.int64], least: int) -> None:
    check_both_kinds(label, "the training block")
    lost, kept = len(np.unique(group[label])), len(np.unique(group[~label]))
    if min(lost, kept) < least:
        fewer, number = ("were lost", lost) if lost < kept else ("stayed", kept)
        raise HistoryError(
            f"In the training block {number} customers {fewer} ({int(label.sum())} of {len(label)} rows are churners); "
            f"at least {least} are needed to learn anything that lasts.",
            hint="Bring a longer log or more customers, or change [churn] horizon or active.",
            rows=len(label),
            lost_customers=lost,
            kept_customers=kept,
        )
