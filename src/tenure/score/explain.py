"""Why a score is what it is: what each feature of a customer goes with, in words and in percentage points.

Enters: the parts of a version, rows of features. Leaves: an `Explained` per customer. Invariant: the contributions and
the base add up to the model's raw margin; the effects and the usual probability add up to the probability; and a reason
is an association that the model has learned, never a cause.

From log odds to percentage points
----------------------------------
A model adds up log odds, people think in probabilities, and calibration lies in between, so that one step of log odds
is worth more here and less there. The effect of a feature is therefore how far its contribution moves the calibrated
probability when it is added to what has been added before: once from the strongest to the weakest contribution, once
from the weakest to the strongest, and the mean of both. The effects add up to the customer's probability minus the
usual one; none is larger than a probability can be; each has the sign of its contribution, for calibration never
falls. With two features this is their Shapley value in probabilities, with more a good stand-in for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tenure.model.parts import Parts
from tenure.model.protocol import Contributions, Matrix, Vector
from tenure.score.phrase import Phrases, Value

__all__ = ["Explained", "Explainer", "Reason", "effects", "plain_value", "points"]

LEAST_EFFECT = 0.005  # half a percentage point; what goes with less is no reason to give


@dataclass(frozen=True)
class Reason:
    """What one feature of a customer goes with.

    Parameters
    ----------
    feature : str
        Its name.
    value : float, str or None
        The customer's value; None is missing.
    usual : float or None
        Median among the customers that the version learned from; None for text.
    contribution : float
        Log odds that it adds, before calibration.
    effect : float
        Probability that it goes with: 0.12 is twelve percentage points.
    text : str
        The same in words, without the effect.

    Examples
    --------
    >>> Reason("visits", 2.0, 9.0, 0.61, 0.124, "visits is 2 (usual: 9)").words
    'visits is 2 (usual: 9), +12 points'
    """

    feature: str
    value: Value
    usual: float | None
    contribution: float
    effect: float
    text: str

    @property
    def words(self) -> str:
        """The text with the effect in percentage points."""
        return f"{self.text}, {points(self.effect)}"


@dataclass(frozen=True)
class Explained:
    """A customer's score taken apart.

    Parameters
    ----------
    customer_id : str
        Whose.
    probability : float
        Calibrated churn probability.
    usual_probability : float
        The same before anything is known of the customer.
    margin, base : float
        Both as log odds before calibration.
    reasons : tuple of Reason
        One per feature of the model, the strongest effect first.
    """

    customer_id: str
    probability: float
    usual_probability: float
    margin: float
    base: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Explainer:
    """Explains the scores of a version.

    Parameters
    ----------
    parts : Parts
        What predicts.

    Examples
    --------
    >>> from tenure.features.declare import FeatureSet
    >>> from tenure.model.calibrate import Calibration
    >>> from tenure.model.encode import Encoder
    >>> from tenure.model.families import find_family
    >>> from tenure.model.protocol import Examples
    >>> from tenure.model.usual import Usual
    >>> table = pa.table({"visits": np.arange(400.0) % 20})
    >>> encoder = Encoder.fit(table)
    >>> examples = Examples(encoder.transform(table), np.arange(400) % 20 < 6, np.arange(400), encoder.layout)
    >>> model = find_family("logistic").fit(examples, {"C": 1.0}, seed=0)
    >>> parts = Parts("logistic", FeatureSet(), encoder, model, Calibration(), Usual.of(encoder, table))
    >>> found = Explainer(parts).explain(pa.table({"visits": [2.0]}), ["ann"])[0]
    >>> found.reasons[0].text, found.reasons[0].effect > 0.5
    ('visits is 2 (usual: 9.5)', True)
    """

    parts: Parts

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Features that the model uses, in the order of its matrix."""
        return tuple(column.name for column in self.parts.encoder.columns)

    @cached_property
    def phrases(self) -> Phrases:
        """Words for the features."""
        return Phrases.of(self.parts.features, self.parts.encoder, self.parts.usual)

    def explain(self, table: pa.Table, customer_ids: Sequence[str]) -> tuple[Explained, ...]:
        """Take the scores of rows apart.

        Parameters
        ----------
        table : table
            Raw feature columns.
        customer_ids : sequence of str
            Of the rows.

        Raises
        ------
        NotFoundError, InputError
            As `Parts.predict`.
        """
        known = set(table.column_names)
        cells = {name: table.column(name).to_pylist() for name in self.columns if name in known}
        matrix = self._encoded(table, cells)
        return self.explain_encoded(
            matrix, [[plain_value(one) for one in cells[name]] for name in self.columns], customer_ids
        )

    def explain_encoded(
        self, matrix: Matrix, values: Sequence[Sequence[Value]], customer_ids: Sequence[str]
    ) -> tuple[Explained, ...]:
        """Take the scores of rows apart that have been encoded already.

        Parameters
        ----------
        matrix : float32 array (rows, columns)
            As the encoder makes it.
        values : sequence of sequence of float, str or None
            The same as a column each of `columns`, before encoding; None is missing.
        customer_ids : sequence of str
            Of the rows.
        """
        found = self.parts.model.contributions(matrix)
        effect = effects(found, self.parts.calibrated)
        margin, ends = found.margin, self.parts.calibrated(np.concatenate([found.margin, found.base]))
        rows = range(len(customer_ids))
        return tuple(
            Explained(
                customer_ids[row],
                float(ends[row]),
                float(ends[len(rows) + row]),
                float(margin[row]),
                float(found.base[row]),
                self._reasons([column[row] for column in values], found.values[row], effect[row]),
            )
            for row in rows
        )

    def _encoded(self, table: pa.Table, cells: Mapping[str, Sequence[Any]]) -> Matrix:
        """The matrix of a table; one row is encoded as such, which takes a small part of the time."""
        if table.num_rows != 1:
            return self.parts.encoder.transform(table)
        return self.parts.encoder.encode_row({name: column[0] for name, column in cells.items()})[None]

    def raising(self, table: pa.Table, most: int) -> list[tuple[Reason, ...]]:
        """What raises the probability of each row most, one reason of each topic; for lists that people read.

        Parameters
        ----------
        table : table
            Raw feature columns.
        most : int
            Reasons per row at most; fewer where fewer raise it by half a percentage point.
        """
        found = self.parts.contributions(table)
        added, effect = found.values, effects(found, self.parts.calibrated)
        cells = [table.column(name) for name in self.columns]
        topics = [self.phrases.topic(name) for name in self.columns]
        rows = []
        for row, order in enumerate(np.argsort(-effect, axis=1, kind="stable").tolist()):
            chosen: dict[str, int] = {}
            for place in order:
                if len(chosen) == most or effect[row, place] < LEAST_EFFECT:
                    break
                chosen.setdefault(topics[place], place)
            rows.append(tuple(
                self._reason(place, plain_value(cells[place][row].as_py()), added[row, place], effect[row, place])
                for place in chosen.values()
            ))  # fmt: skip
        return rows

    def _reasons(self, values: Sequence[Value], contribution: Vector, effect: Vector) -> tuple[Reason, ...]:
        order = np.lexsort((-np.abs(contribution), -np.abs(effect))).tolist()
        added, moved = contribution.tolist(), effect.tolist()
        return tuple(self._reason(place, values[place], added[place], moved[place]) for place in order)

    def _reason(self, place: int, value: Value, contribution: float, effect: float) -> Reason:
        name = self.columns[place]
        said = self.phrases.say(name, value)
        return Reason(name, value, self.phrases.usual_of(name), float(contribution), float(effect), said)


def plain_value(value: Any) -> Value:
    """A cell as a number, text, or None where it is missing.

    Examples
    --------
    >>> plain_value(3), plain_value("basic"), plain_value(float("nan"))
    (3.0, 'basic', None)
    """
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if math.isnan(number) else number


def effects(found: Contributions, calibrated: Callable[[Vector], Vector]) -> Vector:
    """How far each contribution moves the calibrated probability, float64 (rows, columns).

    Parameters
    ----------
    found : Contributions
        In log odds.
    calibrated : callable
        From margins to probabilities; never falls.

    Examples
    --------
    >>> from tenure.model.protocol import sigmoid
    >>> effects(Contributions(np.array([[2.0, -2.0]]), np.array([0.0])), sigmoid).round(3).tolist()
    [[0.381, -0.381]]
    """
    strongest = np.argsort(-np.abs(found.values), axis=1, kind="stable")
    moved = np.zeros(found.values.shape)
    for order in (strongest, strongest[:, ::-1]):
        steps = np.take_along_axis(found.values, order, axis=1)
        margins = found.base[:, None] + np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
        probabilities = calibrated(margins.ravel()).reshape(margins.shape)
        change = np.empty(found.values.shape)
        np.put_along_axis(change, order, np.diff(probabilities, axis=1), axis=1)
        moved += change / 2
    return moved


def points(effect: float) -> str:
    """An effect in percentage points, with its sign.

    Examples
    --------
    >>> points(0.124), points(-0.034), points(0.0001)
    ('+12 points', '-3.4 points', '+0.0 points')
    """
    hundredths = 100 * effect
    return f"{hundredths:+.0f} points" if abs(hundredths) >= 9.95 else f"{hundredths:+.1f} points"
