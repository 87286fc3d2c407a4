"""The parts of a version that predict: encoder, model and calibration, written to and read from its folder.

Enters: raw feature columns. Leaves: churn probabilities. Invariant: training, the rehearsal and serving predict through
the same `Parts.predict`, so golden rows that agree mean that serving says what training measured.

`read_parts` trusts its folder: call it on a private copy that `tenure.model.verify` made, nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.errors import ArtifactError, InputError
from tenure.core.guard import State, nobody
from tenure.features.declare import FeatureSet
from tenure.model.calibrate import Calibration
from tenure.model.document import canonical, parse, refused
from tenure.model.encode import Encoder
from tenure.model.golden import choose_golden, golden_rows, largest_difference, split_golden
from tenure.model.manifest import CALIBRATION, ENCODER, GOLDEN, MANIFEST, USUAL, Manifest
from tenure.model.protocol import Contributions, Matrix, Model, RowModel, Vector, sigmoid
from tenure.model.relay import Answer, Member, Relay
from tenure.model.standby import (
    Standby,
    find_members,
    load_family,
    members_difference,
    read_answers,
    read_standby,
    relay_of,
    write_answers,
    write_standby,
)
from tenure.model.usual import Usual

__all__ = ["Golden", "Parts", "read_parts", "reproduce", "write_parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What turns feature columns into probabilities.

    Parameters
    ----------
    family : str
        Key in `tenure.model.families.FAMILIES`.
    features : FeatureSet
        The columns that it needs.
    encoder : Encoder
        Makes the matrix.
    model : Model
        Gives uncalibrated probabilities.
    calibration : Calibration
        Corrects them.
    usual : Usual
        How the features are spread over the training rows, for explanations.
    standby : Standby, optional
        The fallback: it answers `answer` where the model fails or is late.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rows = pa.table({"age": [20, 30, None]})
    >>> half = SimpleNamespace(predict_proba=lambda matrix: np.full(len(matrix), 0.5))
    >>> parts = Parts("logistic", FeatureSet(), Encoder.fit(rows), half, Calibration("sigmoid", intercept=-1.0))
    >>> parts.predict(rows).round(3).tolist()
    [0.269, 0.269, 0.269]
    """

    family: str
    features: FeatureSet
    encoder: Encoder
    model: Model
    calibration: Calibration
    usual: Usual = field(default_factory=Usual)
    standby: Standby | None = None

    def predict(self, table: pa.Table) -> Vector:
        """Churn probability of each row.

        Parameters
        ----------
        table : table
            Raw feature columns; others are ignored.

        Returns
        -------
        float64 array (rows,)
            In [0, 1].

        Raises
        ------
        NotFoundError
            A feature column is missing.
        InputError
            A feature column is of another kind than at training, or holds infinite values.
        ArtifactError
            The model gave something that is no probability.
        """
        probability = self.calibration.apply(self.model.predict_proba(self.encoder.transform(table)))
        if not np.all((probability >= 0) & (probability <= 1)):
            raise self._no_probability()
        return probability

    def answer(self, table: pa.Table) -> Answer:
        """Churn probability of rows that somebody waits for, by the first model that answers in time.

        Everything else predicts by `predict`: a batch must not be answered by two models.

        Parameters
        ----------
        table : table
            Raw feature columns; others are ignored.

        Raises
        ------
        NotFoundError, InputError
            As `predict`.
        UnavailableError
            No model gave an answer.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> rows = pa.table({"age": [20, 30, None]})
        >>> late = SimpleNamespace(predict_margin=lambda matrix: np.full(len(matrix), np.nan))
        >>> even = SimpleNamespace(predict_margin=lambda matrix: np.zeros(len(matrix)))
        >>> standby = Standby("logistic", even, Calibration(), budget_seconds=0.05)
        >>> parts = Parts("xgboost", FeatureSet(), Encoder.fit(rows), late, Calibration(), standby=standby)
        >>> answer = parts.answer(rows)
        >>> answer.by, answer.value.tolist(), answer.passed_over[0].reason
        ('logistic', [0.5, 0.5, 0.5], 'xgboost gave a number that is not finite.')
        """
        return self.answer_matrix(self.encoder.transform(table))

    def answer_matrix(self, matrix: Matrix) -> Answer:
        """As `answer`, of rows that are encoded already.

        Parameters
        ----------
        matrix : float32 array (rows, columns)
            As the encoder makes it.

        Raises
        ------
        UnavailableError
            No model gave an answer.
        """
        return self.relay.ask(matrix)

    @cached_property
    def relay(self) -> Relay:
        """Those who answer, in their order, each behind a guard."""
        return relay_of(_members(self), self.model, self.standby)

    def relay_within(self, seconds: float, told: Callable[[str, State], None] = nobody) -> Relay:
        """Another relay of the same models, for callers who have so much time: see `relay_of`."""
        return relay_of(_members(self), self.model, self.standby, seconds, told)

    def prepare(self) -> None:
        """Work out what predictions and explanations of a few rows look up, so that nobody who waits waits for that."""
        row = np.zeros((1, len(self.encoder.columns)), dtype=np.float32)
        for member in _members(self):
            member.predict(row)
        self.model.contributions(row)

    def contributions(self, table: pa.Table) -> Contributions:
        """What each column of the encoder adds to each row's margin, before calibration.

        Raises
        ------
        NotFoundError, InputError
            As `predict`.
        """
        return self.model.contributions(self.encoder.transform(table))

    def calibrated(self, margin: Vector) -> Vector:
        """Churn probability that a margin stands for; it never falls where the margin rises."""
        return self.calibration.apply(sigmoid(margin))

    def predict_row(self, values: Mapping[str, Any]) -> float:
        """Churn probability of one customer: what `predict` gives for the same row, in a hundredth of the time.

        Parameters
        ----------
        values : mapping
            A number, a text or None for each feature; others are ignored.

        Raises
        ------
        NotFoundError, InputError, ArtifactError
            As `predict`.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> encoder = Encoder.fit(pa.table({"age": [20, 30, None]}))
        >>> half = SimpleNamespace(predict_proba=lambda matrix: np.full(len(matrix), 0.5))
        >>> Parts("logistic", FeatureSet(), encoder, half, Calibration()).predict_row({"age": 25})
        0.5
        """
        probability = float(self.calibration.apply(self._probability_of(self.encoder.encode_row(values)))[0])
        if not 0.0 <= probability <= 1.0:
            raise self._no_probability()
        return probability

    @cached_property
    def _probability_of(self) -> Callable[[Matrix], Vector]:
        """The way from one encoded row to its probability before calibration, chosen once."""
        model = self.model
        if isinstance(model, RowModel):
            return lambda row: sigmoid(np.array([model.row_margin(row)]))
        return lambda row: model.predict_proba(row[None])

    def _no_probability(self) -> ArtifactError:
        return refused(f"The {self.family} model gave a number that is no probability.", family=self.family)


@dataclass(frozen=True, eq=False)
class Golden:
    """What a version said when it was made.

    Parameters
    ----------
    rows : table
        Features, and the probability that the version gives.
    answers : table
        What each member says, where a version has several; else without columns.
    """

    rows: pa.Table
    answers: pa.Table


def write_parts(folder: Path, parts: Parts, sample: pa.Table) -> None:
    """Write everything that predicts, and golden rows chosen from a sample of raw feature rows.

    Raises
    ------
    InputError
        The sample has no rows.
    """
    if not sample.num_rows:
        raise InputError("No golden rows can be chosen from no rows.", hint="Give the rows of the test block.")
    parts.model.save(folder)
    if parts.standby is not None:
        write_standby(folder, parts.standby)
    (folder / ENCODER).write_bytes(canonical(parts.encoder.to_json()))
    (folder / CALIBRATION).write_bytes(canonical(parts.calibration.to_json()))
    (folder / USUAL).write_bytes(canonical(parts.usual.to_json()))
    features = sample.select(parts.features.names)
    probability = parts.predict(features)
    rows = choose_golden(features, probability)
    golden = features.take(rows)
    pq.write_table(golden_rows(golden, probability[rows]), folder / GOLDEN)
    write_answers(folder, _members(parts), parts.encoder.transform(golden))


def read_parts(folder: Path) -> tuple[Parts, Golden]:
    """Read what `write_parts` wrote: what predicts, and what it said then.

    Raises
    ------
    ArtifactError
        The family is foreign, or a document is damaged.
    """
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    parts = Parts(
        family=manifest.family,
        features=manifest.features,
        encoder=Encoder.from_json(parse((folder / ENCODER).read_bytes(), ENCODER)),
        model=load_family(manifest.family, folder),
        calibration=Calibration.from_json(parse((folder / CALIBRATION).read_bytes(), CALIBRATION)),
        usual=Usual.from_json(parse((folder / USUAL).read_bytes(), USUAL)),
        standby=read_standby(folder),
    )
    return parts, Golden(pq.read_table(folder / GOLDEN), read_answers(folder))


def reproduce(parts: Parts, golden: Golden) -> float:
    """Predict the golden rows, by every member; give the largest absolute difference to what they should be."""
    features, expected = split_golden(golden.rows)
    matrix = parts.encoder.transform(features)
    own = largest_difference(expected, parts.predict(features))
    return max(own, members_difference(golden.answers, _members(parts), matrix))


def _members(parts: Parts) -> tuple[Member, ...]:
    return find_members(parts.family, parts.model, parts.calibration, parts.standby)
