"""Scores of one table of customers.

Enters: rows of a snapshot. Leaves: a table of scores: probability, decision, profit and band, with the version and
the times that they belong to. Invariant: a customer value that makes no sense stops the run and names the customer;
one that is not known (null) is scored, never contacted, and has neither profit nor band.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.model.protocol import Vector
from tenure.score.predictor import Predictor
from tenure.score.rows import Snapshot
from tenure.value.decision import BANDS, NO_BAND, decide
from tenure.value.threshold import t_star_range

__all__ = ["CONTACT", "ID", "Scorer", "has_range"]

ID = "customer_id"
CONTACT = "contact"
_DECISIONS = ("no_contact", CONTACT)
_INSTANT = pa.timestamp("us", tz="UTC")
_WORD = pa.dictionary(pa.int8(), pa.string())


def has_range(value: ValueSettings) -> bool:
    """Whether results come with a lower and an upper end.

    Examples
    --------
    >>> has_range(ValueSettings(save_rate=(0.1, 0.3))), has_range(ValueSettings(save_rate=0.3))
    (True, False)
    """
    low, high = value.save_rates
    return low < high


@dataclass(frozen=True)
class Scorer:
    """Turns rows of a snapshot into scores; call it with a table that holds `columns`.

    Parameters
    ----------
    predictor : Predictor
        The version.
    value : ValueSettings
        What a customer is worth and what contacting costs.
    as_of : datetime
        UTC; the cutoff of the features.
    computed_at : datetime
        UTC; when the run began.

    Examples
    --------
    >>> from datetime import UTC
    >>> half = Predictor("v1", "0f", ("x",), lambda table: np.full(table.num_rows, 0.5))
    >>> day = datetime(2026, 1, 31, tzinfo=UTC)
    >>> score = Scorer(half, ValueSettings(clv=600, save_rate=0.3), day, day)
    >>> row = score(pa.table({"customer_id": ["a"], "x": [1.0]})).to_pylist()[0]
    >>> row["probability"], row["decision"], row["expected_profit"], row["band"]
    (0.5, 'contact', 80.0, 'high')
    """

    predictor: Predictor
    value: ValueSettings
    as_of: datetime
    computed_at: datetime

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the snapshot that scoring reads."""
        worth = (self.value.clv,) if isinstance(self.value.clv, str) else ()
        return (ID, *self.predictor.features, *worth)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the scores."""
        ends = [("expected_profit_low", pa.float64()), ("expected_profit_high", pa.float64())]
        return pa.schema(
            [
                (ID, pa.string()),
                ("probability", pa.float64()),
                ("decision", _WORD),
                ("clv", pa.float64()),
                ("expected_profit", pa.float64()),
                *(ends if has_range(self.value) else []),
                ("band", _WORD),
                ("model_version", _WORD),
                ("features_as_of", _INSTANT),
                ("computed_at", _INSTANT),
            ]
        )

    def check(self, snapshot: Snapshot) -> None:
        """Refuse what cannot be scored, before anything is read.

        Raises
        ------
        NotFoundError
            A column is missing.
        InputError
            The customers' ids are not text, the column that holds their values is not numeric, or an amount in the
            settings is not finite.
        """
        t_star_range(0.0 if isinstance(self.value.clv, str) else self.value.clv, self.value)
        snapshot.require([ID], "names the customers")
        if snapshot.schema.field(ID).type != pa.string():
            raise InputError(
                f"The snapshot's {ID} holds {snapshot.schema.field(ID).type} and not text.",
                hint="Cast it to text and order the rows by it.",
                column=ID,
            )
        snapshot.require(self.predictor.features, f"{self.predictor.name} was trained on")
        if not isinstance(self.value.clv, str):
            return
        snapshot.require([self.value.clv], "[value] clv names as what a customer is worth")
        kind = snapshot.schema.field(self.value.clv).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(
                f"[value] clv names the column {self.value.clv!r}, which holds {kind} and not numbers.",
                hint="Name a numeric attribute of the customers, or give one amount.",
                column=self.value.clv,
            )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Score a table that holds `columns`."""
        probability = self.predictor.predict(table.select(self.predictor.features))
        clv = self._clv(table)
        found = decide(probability, clv, self.value)
        profit = [found.profit.expected]
        if has_range(self.value):
            profit += [found.profit.low, found.profit.high]
        rows = table.num_rows
        columns = [
            table.column(ID),
            pa.array(probability, pa.float64()),
            _words(found.contact.view(np.int8), _DECISIONS),
            *(pa.array(amount, from_pandas=True) for amount in (clv, *profit)),
            _words(found.band, BANDS),
            _words(np.zeros(rows, np.int8), (self.predictor.name,)),
            *(pa.repeat(pa.scalar(instant, _INSTANT), rows) for instant in (self.as_of, self.computed_at)),
        ]
        return pa.table(columns, schema=self.schema)

    def _clv(self, table: pa.Table) -> Vector:
        """What each customer is worth; NaN where it is null."""
        if not isinstance(self.value.clv, str):
            return np.full(table.num_rows, self.value.clv)
        column = table.column(self.value.clv).cast(pa.float64(), safe=False)  # beyond 2**53 the last unit is no money
        amounts: Vector = column.to_numpy()
        bad = pc.is_valid(column).to_numpy() & ~((amounts >= 0) & np.isfinite(amounts))
        if bad.any():
            position = int(np.flatnonzero(bad)[0])
            customer = table.column(ID)[position].as_py()
            raise InputError(
                f"Customer {customer!r} has a {self.value.clv} of {amounts[position]}; a customer's worth must be a "
                "number of at least 0, or null where it is not known.",
                hint="Correct the customers table.",
                customer_id=customer,
                column=self.value.clv,
            )
        return amounts


def _words(codes: npt.NDArray[np.int8], words: tuple[str, ...]) -> pa.DictionaryArray:
    indices = pa.array(codes, pa.int8(), mask=codes == NO_BAND)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))
