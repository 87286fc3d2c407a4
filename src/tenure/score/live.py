"""Scores of customers while somebody waits for them, several at once.

Enters: hybrid rows, or features that callers gave. Leaves: served scores, each with its decision and, where asked, the
reasons for it. Invariant: a live score is the probability that the version gives the same row in a batch, bit for bit,
unless another member of the version had to answer: then it says so. Whoever asks gets a score; only where no member of
the version answers is there an error, and `base` is what is left to say.

Rows stay columns until the last step: the model's matrix is made of the columns that leave the states, and decisions
are worked out for all rows together. Reasons cost many times what a score does and are worked out last, by the
version's own model, behind a guard of their own: where they fail or are late, the scores go without them. Where the
version's own model gave no answer there are none, for those of another model would not fit the probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np

from tenure.core.errors import InputError, NotFoundError, UnavailableError, did_you_mean
from tenure.core.guard import Guard, State, nobody
from tenure.core.settings import ValueSettings
from tenure.core.time import Clock, from_micros, system_clock
from tenure.features.declare import FeatureSet
from tenure.model.artifact import LoadedVersion
from tenure.model.protocol import Matrix, Vector
from tenure.model.relay import LAST_SECONDS, Answer, Relay
from tenure.score.explain import Explained, Explainer, Reason, plain_value
from tenure.score.given import Given
from tenure.score.outcome import outcomes
from tenure.score.predictor import Predictor
from tenure.score.served import Ask, Cause, ServedScore, Source
from tenure.store.hybrid import HybridRows

__all__ = ["LiveModel"]

_TOGETHER = 16
"""Rows that are explained in one go: explaining many more could take longer than anybody wants to wait."""
Cells = Callable[[int], Sequence[Any]]
Reasons = tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """What is to be scored, beside its features."""

    customer_id: str | None
    as_of: datetime | None
    causes: tuple[Cause, ...]
    explain: bool
    newest: int | None = None

    def because(self, *causes: Cause) -> Self:
        """The same with further causes."""
        return replace(self, causes=(*self.causes, *causes))


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A version that answers; any number of threads may ask.

    Parameters
    ----------
    version : LoadedVersion
        What predicts.
    value : ValueSettings
        What a customer is worth and what contacting costs.
    alias : str or None
        The alias under which the version serves.
    clock : Clock
        When a score is computed.
    fingerprint : str
        Changes with anything that could change a probability.
    explainer : Explainer
        Gives reasons.
    given : Given
        Understands features that callers give.
    relay : Relay
        The version's models, in their order.
    guard : Guard
        Before the explainer.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import pyarrow as pa
    >>> from tenure.core.time import fixed_clock
    >>> from tenure.model.calibrate import Calibration
    >>> from tenure.model.encode import Encoder
    >>> from tenure.model.manifest import Cutoffs, Manifest
    >>> from tenure.model.parts import Parts
    >>> from tenure.model.protocol import Contributions
    >>> even = SimpleNamespace(
    ...     predict_margin=lambda matrix: np.zeros(len(matrix)),
    ...     contributions=lambda matrix: Contributions(np.zeros(matrix.shape), np.zeros(len(matrix))),
    ... )
    >>> parts = Parts("logistic", FeatureSet(), Encoder.fit(pa.table({"age": [20, 30, None]})), even, Calibration())
    >>> clock = fixed_clock("2026-02-01")
    >>> manifest = Manifest("logistic", clock(), (), parts.features, "of the data", Cutoffs(), 0.25, {}, {}, {})
    >>> live = LiveModel.of(LoadedVersion("v1", manifest, parts, ()), ValueSettings(), alias="champion", clock=clock)
    >>> [score, error] = live.score_given([Ask("ann", features={"age": 25}), Ask("bo", features={"agee": 25})])
    >>> score.probability, score.decision, score.source, error.message
    (0.5, 'contact', 'realtime', "There is no feature 'agee'. Did you mean 'age'?")
    """

    version: LoadedVersion
    value: ValueSettings
    alias: str | None
    clock: Clock
    fingerprint: str
    explainer: Explainer
    given: Given
    relay: Relay
    guard: Guard

    @classmethod
    def of(
        cls,
        version: LoadedVersion,
        value: ValueSettings,
        *,
        alias: str | None,
        clock: Clock = system_clock,
        seconds: float = LAST_SECONDS,
        told: Callable[[str, State], None] = nobody,
    ) -> Self:
        """Make a loaded version ready to answer.

        Parameters
        ----------
        version : LoadedVersion
            From `tenure.model.artifact.load_version`.
        value : ValueSettings
            What a customer is worth and what contacting costs.
        alias : str or None
            The alias under which the version serves.
        clock : Clock
            When a score is computed.
        seconds : float
            How long the version's models may take together for what is asked at once (`relay_of` says which of them how
            long), and how long the reasons.
        told : callable
            Told the name and the new state when the breaker before one of the models, or before the reasons, turns.

        Raises
        ------
        NotFoundError
            `clv` names a column that is no numeric feature of the version.
        """
        _require_worth(version.features, value)
        parts, explainer = version.parts, Explainer(version.parts)
        made = cls(
            version,
            value,
            alias,
            clock,
            Predictor.of(version).fingerprint,
            explainer,
            Given(parts.encoder, version.features, value),
            parts.relay_within(seconds, told),
            Guard("reasons", seconds, told=told),
        )
        made.prepare()
        return made

    def prepare(self) -> None:
        """Work out what answers look up, so that nobody who waits waits for that."""
        self.version.parts.prepare()
        for column in self.version.parts.encoder.columns:
            self.explainer.phrases.say(column.name, None)

    @property
    def name(self) -> str:
        """The version's name, for example `v3`."""
        return self.version.name

    @property
    def base_rate(self) -> float:
        """Share of the customers of the test block who left."""
        return self.version.base_rate

    @property
    def features(self) -> FeatureSet:
        """What rows have to hold."""
        return self.version.features

    def states(self) -> Mapping[str, State]:
        """Whether each member of the version, and its reasons, are asked or left alone."""
        return {guard.name: guard.state for guard in (*self.relay.guards, self.guard)}

    def score_rows(self, rows: HybridRows, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore]:
        """Score some of the rows that were read.

        Features of events that are those of the last batch are told by the cause `features`. A row with a feature that
        is infinite, or too large for float32, gets the base rate with the same cause. A worth that makes no sense
        counts as not known.

        Parameters
        ----------
        rows : HybridRows
            Of this version's `features`.
        places : sequence of int
            Which of them; only such as have features of events.
        explain : sequence of bool
            For each of these, whether reasons are wanted.

        Raises
        ------
        UnavailableError
            No member of the version answered.
        """
        wanted = [
            _Row(
                rows.customer_id[place],
                from_micros(int(rows.as_of[place])),
                () if rows.events[place] == "online" else ("features",),
                flag,
                int(rows.newest[place]) if rows.events[place] == "online" else None,
            )
            for place, flag in zip(places, explain, strict=True)
        ]
        matrix = self.version.parts.encoder.encode_columns(rows.columns, places)
        broken = np.asarray(np.isinf(matrix).any(axis=1))
        if broken.any():
            fine = np.flatnonzero(~broken).tolist()
            scores = iter(self.score_rows(rows, [places[one] for one in fine], [explain[one] for one in fine]))
            return [
                self.base(row.customer_id, ("features",)) if bad else next(scores)
                for row, bad in zip(wanted, broken.tolist(), strict=True)
            ]
        columns = [rows.columns[name] for name in self.explainer.columns] if any(explain) else []
        return self._scores(matrix, self._worth(rows, places), wanted, lambda row: [c[places[row]] for c in columns])

    def score_given(self, asks: Sequence[Ask]) -> list[ServedScore | InputError]:
        """Score features that came with the asks; where no member answers, the base rate.

        Parameters
        ----------
        asks : sequence of Ask
            Each with features.

        Returns
        -------
        list of ServedScore or InputError
            For each ask its score, or what is wrong with its features, by name.
        """
        if not asks:
            return []
        try:
            matrix, worth = self.given.read([ask.features or {} for ask in asks])
        except InputError:
            wrong = [self._wrong(ask) for ask in asks]
            fine = iter(self.score_given([ask for ask, error in zip(asks, wrong, strict=True) if error is None]))
            return [next(fine) if error is None else error for error in wrong]
        return [*self._score_read(asks, matrix, worth)]

    def _wrong(self, ask: Ask) -> InputError | None:
        """What is wrong with the features of an ask."""
        try:
            self.given.read([ask.features or {}])
        except InputError as error:
            return error
        return None

    def _score_read(self, asks: Sequence[Ask], encoded: Matrix, worth: Vector) -> list[ServedScore]:
        wanted = [_Row(ask.customer_id, None, (), ask.explain) for ask in asks]
        names = self.explainer.columns
        cells: Cells = lambda row: [(asks[row].features or {})[name] for name in names]  # noqa: E731
        try:
            return self._scores(np.asfortranarray(encoded), worth, wanted, cells)
        except UnavailableError:
            return [self.base(row.customer_id, ("model",)) for row in wanted]

    def base(self, customer_id: str | None, causes: Sequence[Cause]) -> ServedScore:
        """What is left to say where nothing is known of a customer, or no model answers: how many leave on the whole.

        Parameters
        ----------
        customer_id : str or None
            Of whom.
        causes : sequence of Cause
            Why; `base_rate` is added.
        """
        worth = math.nan if isinstance(self.value.clv, str) else self.value.clv
        row = _Row(customer_id, None, (*causes, "base_rate"), explain=False)
        [score] = self._served(np.array([self.base_rate]), np.array([worth]), [row], [None], "fallback")
        return score

    def _scores(self, matrix: Matrix, worth: Vector, rows: Sequence[_Row], cells: Cells) -> list[ServedScore]:
        """Scores of encoded rows; `cells` gives the values of a row as they were before."""
        if not rows:
            return []
        answer = self._answer(matrix)
        if len(rows) > 1 and (answer is None or any(one.is_odd for one in answer.passed_over)):
            return [
                self._score_alone(matrix[[place]], worth[[place]], row, cells, place) for place, row in enumerate(rows)
            ]
        if answer is None:
            raise UnavailableError(f"No model of {self.name} gave a finite number.", dependency=self.name)
        if answer.passed_over:
            rows = [row.because("model", *(("reasons",) if row.explain else ())) for row in rows]
            return self._served(answer.value, worth, rows, [None] * len(rows), "fallback")
        reasons = self._reasons(matrix, rows, cells)
        rows = [
            row.because("reasons") if row.explain and why is None else row
            for row, why in zip(rows, reasons, strict=True)
        ]
        return self._served(answer.value, worth, rows, reasons, "realtime")

    def _score_alone(self, matrix: Matrix, worth: Vector, row: _Row, cells: Cells, place: int) -> ServedScore:
        """The score of one of the rows among which there is an odd one: nobody shall spoil what others asked for."""
        try:
            [score] = self._scores(matrix, worth, [row], lambda _: cells(place))
        except UnavailableError:
            return self.base(row.customer_id, (*row.causes, "model"))
        return score

    def _answer(self, matrix: Matrix) -> Answer | None:
        """The members' answer; None where a row made the last of them rave."""
        try:
            answer = self.relay.ask(matrix)
        except UnavailableError as error:
            if error.ids.get("is_odd"):
                return None
            raise
        if not ((answer.value >= 0) & (answer.value <= 1)).all():
            raise UnavailableError(f"The {answer.by} model gave a number that is no probability.", dependency=answer.by)
        return answer

    def _reasons(self, matrix: Matrix, rows: Sequence[_Row], cells: Cells) -> list[Reasons | None]:
        """The reasons of those rows for which they are wanted; None for the others, and where they cannot be had."""
        found: list[Reasons | None] = [None] * len(rows)
        wanted = [place for place, row in enumerate(rows) if row.explain]
        for first in range(0, len(wanted), _TOGETHER):
            places = wanted[first : first + _TOGETHER]
            try:
                explained = self._explained(matrix[places], [cells(place) for place in places])
            except (UnavailableError, InputError):
                return found  # whoever waits has waited enough
            for place, one in zip(places, explained, strict=True):
                found[place] = one.reasons
        return found

    def _explained(self, matrix: Matrix, cells: Sequence[Sequence[Any]]) -> Sequence[Explained]:
        """The explanations of rows, encoded and as they were before, if they come in time."""
        values = list(zip(*([plain_value(cell) for cell in row] for row in cells), strict=True))
        return self.guard.call(lambda: self.explainer.explain_encoded(matrix, values, [""] * len(cells)))

    def _worth(self, rows: HybridRows, places: Sequence[int]) -> Vector:
        """What customers are worth; NaN where that is not known or makes no sense."""
        if not isinstance(self.value.clv, str):
            return np.full(len(places), self.value.clv)
        worth = np.asarray(rows.columns[self.value.clv], dtype=np.float64)[list(places)]
        return np.where(np.isfinite(worth) & (worth >= 0), worth, np.nan)

    def _served(
        self,
        probability: Vector,
        worth: Vector,
        rows: Sequence[_Row],
        reasons: Sequence[Reasons | None],
        source: Source,
    ) -> list[ServedScore]:
        """What follows from probabilities, for all rows together."""
        decided, now = outcomes(probability, worth, self.value), self.clock()
        return [
            ServedScore(
                row.customer_id,
                chance,
                *outcome,
                why,
                self.name,
                self.alias,
                source,
                row.as_of,
                now,
                row.causes,
                row.newest,
            )
            for row, chance, outcome, why in zip(rows, probability.tolist(), decided, reasons, strict=True)
        ]


def _require_worth(features: FeatureSet, value: ValueSettings) -> None:
    """Refuse a column of worths that rows will not have."""
    numeric = [name for name, kind in features.kinds.items() if kind != "text"]
    if isinstance(value.clv, str) and value.clv not in numeric:
        raise NotFoundError(
            f"[value] clv names {value.clv!r}, which is no numeric feature of the version. "
            f"{did_you_mean(value.clv, numeric)}",
            hint="Name an attribute that the version was trained with, give one amount, or train anew.",
            column=value.clv,
        )
