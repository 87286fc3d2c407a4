"""Features that a caller gives instead of a customer whose features are known.

Enters: values by name, as they stood in a request. Leaves: the rows of the model's matrix that they make, and what the
customers are worth. Invariant: every feature of the model is named, by its own name, with a value of its own kind (null
where it is missing): what does not fit is refused by name, and nothing is filled in for it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tenure.core.errors import InputError, did_you_mean
from tenure.core.settings import ValueSettings
from tenure.features.declare import FeatureSet
from tenure.model.encode import Encoder, shown
from tenure.model.protocol import Matrix, Vector

__all__ = ["Given"]

_LONGEST = 200  # characters of a name that is looked for among those that are known


@dataclass(frozen=True)
class Given:
    """Understands features by name.

    Parameters
    ----------
    encoder : Encoder
        Of the version.
    features : FeatureSet
        What the version was trained on; features that its encoder left out may be given, and are not looked at.
    value : ValueSettings
        Where `clv` names a column, it may be given, too.

    Examples
    --------
    >>> import pyarrow as pa
    >>> encoder = Encoder.fit(pa.table({"visits": [1, 2, None]}))
    >>> given = Given(encoder, FeatureSet(), ValueSettings(clv=600))
    >>> matrix, worth = given.read([{"visits": 3}, {"visits": None}])
    >>> matrix.tolist(), worth.tolist()
    ([[3.0], [nan]], [600.0, 600.0])
    >>> given.read([{"visit": 3}])
    Traceback (most recent call last):
    tenure.core.errors.InputError: There is no feature 'visit'. Did you mean 'visits'?
    → Give every feature that the model uses by its name, null where it is missing.
    """

    encoder: Encoder
    features: FeatureSet
    value: ValueSettings

    @cached_property
    def names(self) -> frozenset[str]:
        """What may be given."""
        worth = {self.value.clv} if isinstance(self.value.clv, str) else set()
        return self._needed | frozenset(self.features.names) | worth

    @cached_property
    def _needed(self) -> frozenset[str]:
        return frozenset(column.name for column in self.encoder.columns)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Matrix, Vector]:
        """The encoded rows, float32 (rows, columns), and what the customers are worth; NaN where that is not known.

        Raises
        ------
        InputError
            A feature of some row is missing, unknown, of another kind than at training, or infinite.
        """
        for values in rows:
            if not self._needed <= values.keys() <= self.names:
                raise self._misnamed(values)
        return self.encoder.encode_rows(rows), np.array([self._worth(values) for values in rows])

    def _misnamed(self, values: Mapping[str, Any]) -> InputError:
        """What is wrong with names that are not those of the model."""
        for name in values:
            if name not in self.names:
                return _refused(f"There is no feature {shown(name)}. {did_you_mean(name[:_LONGEST], self.names)}", name)
        missing = [column.name for column in self.encoder.columns if column.name not in values]
        others = f", nor for {len(missing) - 1} others" if len(missing) > 1 else ""
        return _refused(f"There is no value for the feature {missing[0]!r}{others}.", missing[0])

    def _worth(self, values: Mapping[str, Any]) -> float:
        if not isinstance(self.value.clv, str):
            return self.value.clv
        amount = values.get(self.value.clv)
        if amount is None:
            return math.nan
        if isinstance(amount, int | float) and 0 <= amount <= sys.float_info.max:
            return float(amount)
        raise InputError(
            f"The value of {self.value.clv!r} is {shown(amount)}; a customer's worth must be a number of at least 0.",
            hint="Give an amount, or null where it is not known.",
            column=self.value.clv,
            feature=self.value.clv,
        )


def _refused(message: str, name: str) -> InputError:
    hint = "Give every feature that the model uses by its name, null where it is missing."
    return InputError(message, hint=hint, column=name, feature=name)
