"""What is usual: how each column of the matrix is spread over the training rows.

Enters: the encoder and raw feature columns of the training rows. Leaves: `Usual`, kept in a version as `usual.json`.
Invariant: it is read by explanations alone; no prediction depends on it. The same rows give the same numbers.

A customer's value says little without it: three logins may be many or few. Of more than `MOST_ROWS` rows some are taken
at even distances; a median of two hundred thousand is as good as one of ten million.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from tenure.model.document import build, plain, refused
from tenure.model.encode import Encoder
from tenure.model.protocol import Matrix

__all__ = ["MOST_ROWS", "Usual", "UsualColumn"]

MOST_ROWS = 200_000


@dataclass(frozen=True)
class UsualColumn:
    """One column over the training rows.

    Parameters
    ----------
    name : str
        The feature's name.
    missing : float
        Share of the rows without a value.
    quartiles : tuple of float
        First quartile, median and third quartile of the known values; empty for a category or where none is known.
    shares : tuple of float
        Share of the rows with each code, the last one "other"; empty for a number.
    """

    name: str
    missing: float
    quartiles: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def median(self) -> float | None:
        """Of the known values; None for a category or where none is known."""
        return self.quartiles[1] if self.quartiles else None


@dataclass(frozen=True)
class Usual:
    """All columns over the training rows, in the order of the matrix; empty where nothing was learned.

    Examples
    --------
    >>> table = pa.table({"visits": [1, 2, 3, None] * 10, "plan": ["a", "a", "a", "b"] * 10})
    >>> usual = Usual.of(Encoder.fit(table), table)
    >>> usual.columns[0].median, usual.columns[0].missing, usual.columns[1].shares
    (2.0, 0.25, (0.75, 0.25, 0.0))
    >>> Usual.from_json(usual.to_json()) == usual
    True
    """

    columns: tuple[UsualColumn, ...] = ()

    @classmethod
    def of(cls, encoder: Encoder, table: pa.Table) -> Self:
        """Look at training rows; `table` holds at least the encoder's columns."""
        rows = table.num_rows
        if rows > MOST_ROWS:
            table = table.take(np.linspace(0, rows - 1, MOST_ROWS).round().astype(np.int64))
        matrix = encoder.transform(table)
        return cls(tuple(_study(matrix, place, column.name, column.categories) for place, column in enumerate(
            encoder.layout)))  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """A document of plain values."""
        document: dict[str, Any] = plain(self)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` made.

        Raises
        ------
        ArtifactError
            The document is something else.
        """
        usual: Self = build(cls, document, "usual.json")
        for column in usual.columns:
            if len(column.quartiles) not in {0, 3}:
                raise refused(f"usual.json: {column.name} has {len(column.quartiles)} quartiles.", column=column.name)
        return usual


def _study(matrix: Matrix, place: int, name: str, categories: int) -> UsualColumn:
    values = matrix[:, place]
    known = values[~np.isnan(values)].astype(np.float64)
    missing = 1 - len(known) / len(values) if len(values) else 0.0
    if not len(known):
        return UsualColumn(name, missing)
    if categories:
        counts = np.bincount(known.astype(np.int64), minlength=categories)
        return UsualColumn(name, missing, shares=tuple((counts / len(values)).tolist()))
    return UsualColumn(name, missing, quartiles=tuple(np.quantile(known, (0.25, 0.5, 0.75)).tolist()))
