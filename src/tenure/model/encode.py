"""Feature columns become one matrix of float32, the same one for every model family.

Enters: a table of raw features. Leaves: a column-major matrix in which numbers stay numbers, text is a code of the
categories frozen at `fit`, and missing is NaN. Invariant: the labels have no part in it, and a row is encoded the same
way alone or among millions, at training or years later; a value never seen becomes the code for "other", no error.

A category is kept while it is among the `MAX_CATEGORIES` most frequent of its column and has at least `MIN_ROWS` rows;
all others share the last code. So a column of ten thousand shop numbers stays bounded, and how many values and rows
were folded stands in the encoder.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tenure.core.errors import HistoryError, InputError, NotFoundError, did_you_mean
from tenure.model.document import build, plain
from tenure.model.protocol import Column, Matrix

__all__ = ["MAX_CATEGORIES", "MIN_ROWS", "Dropped", "EncodedColumn", "Encoder", "shown"]

MAX_CATEGORIES = 1000
MIN_ROWS = 10
Values = npt.NDArray[np.float32]
_NUMBERS = (int, float, Decimal, np.number, np.bool_)
_LONG = 64


@dataclass(frozen=True)
class EncodedColumn:
    """One column of the matrix and how it is made.

    Parameters
    ----------
    name : str
        Name of the feature.
    kind : {"number", "category"}
        Whether the matrix holds the value or a code.
    categories : tuple of str
        Value of each code, most frequent first; the code after the last one is "other". Empty for a number.
    distinct : int
        Different values at `fit`, missing not counted; 0 for a number.
    folded_rows : int
        Rows whose value became "other" at `fit`.
    """

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    distinct: int = 0
    folded_rows: int = 0


@dataclass(frozen=True)
class Dropped:
    """A feature that the matrix leaves out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Encoder:
    """How a table of features becomes a matrix; made by `fit`, kept as JSON.

    Parameters
    ----------
    columns : tuple of EncodedColumn
        Columns of the matrix, in its order.
    dropped : tuple of Dropped
        Features that were given and carry nothing.

    Examples
    --------
    >>> table = pa.table({"plan": ["a", "b", None] * 10, "spend": [1.5, None, 2.0] * 10, "site": ["x"] * 30})
    >>> encoder = Encoder.fit(table)
    >>> encoder.transform(pa.table({"plan": ["b", "new", None], "spend": [1, 2, None]})).tolist()
    [[1.0, 1.0], [2.0, 2.0], [nan, nan]]
    >>> encoder.dropped
    (Dropped(name='site', reason="is always 'x'"),)
    >>> Encoder.from_json(encoder.to_json()) == encoder
    True
    """

    columns: tuple[EncodedColumn, ...]
    dropped: tuple[Dropped, ...] = ()

    @classmethod
    def fit(cls, table: pa.Table, *, max_categories: int = MAX_CATEGORIES, min_rows: int = MIN_ROWS) -> Self:
        """Freeze the categories of training rows and leave out what never varies.

        Raises
        ------
        InputError
            A column holds infinite values.
        HistoryError
            No column varies.
        """
        found = [_study(name, table.column(name), max_categories, min_rows) for name in table.column_names]
        columns = tuple(entry for entry in found if isinstance(entry, EncodedColumn))
        dropped = tuple(entry for entry in found if isinstance(entry, Dropped))
        if not columns:
            reasons = "; ".join(f"{entry.name} {entry.reason}" for entry in dropped[:5])
            raise HistoryError(
                f"None of the {len(dropped)} features tells customers apart ({reasons or 'none was given'}).",
                hint="Declare features that differ between customers.",
            )
        return cls(columns, dropped)

    @property
    def layout(self) -> tuple[Column, ...]:
        """What a model family has to know of the matrix."""
        return tuple(Column(c.name, len(c.categories) + 1 if c.kind == "category" else 0) for c in self.columns)

    def transform(self, table: pa.Table) -> Matrix:
        """Encode rows: float32, column-major, shape (rows, columns).

        Raises
        ------
        NotFoundError
            A column is missing.
        InputError
            A column is of another kind than at `fit`, or holds infinite values.
        """
        matrix = np.empty((table.num_rows, len(self.columns)), dtype=np.float32, order="F")
        places = {name: place for place, name in enumerate(table.column_names)}
        for index, column in enumerate(self.columns):
            if column.name not in places:
                near = did_you_mean(column.name, places)
                hint = "Give every feature that the model was trained on."
                raise NotFoundError(f"There is no column {column.name!r}. {near}", hint=hint, column=column.name)
            _encode(column, table.column(places[column.name]), matrix[:, index])
        return matrix

    def encode_row(self, values: Mapping[str, Any]) -> Matrix:
        """Encode one row of plain Python values, float32 (columns,), as `transform` encodes it among others.

        A table of one row spends most of its time on being a table; this takes about a hundredth.

        Parameters
        ----------
        values : mapping
            A number, a text or None for each feature; NaN is missing too. Other entries are ignored.

        Raises
        ------
        NotFoundError
            A feature is missing.
        InputError
            A value is of another kind than at `fit`, or infinite.

        Examples
        --------
        >>> encoder = Encoder.fit(pa.table({"plan": ["a", "b", None] * 10, "spend": [1.5, None, 2.0] * 10}))
        >>> encoder.encode_row({"spend": 3, "plan": "b"}).tolist()
        [1.0, 3.0]
        """
        row: Matrix = self.encode_rows([values])[0]
        return row

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Matrix:
        """Encode some rows of plain Python values, float32 (rows, columns), each as `encode_row` does alone.

        Parameters
        ----------
        rows : sequence of mapping
            At least one.

        Raises
        ------
        NotFoundError
            A feature of some row is missing.
        InputError
            A value of some row is of another kind than at `fit`, or infinite.

        Examples
        --------
        >>> encoder = Encoder.fit(pa.table({"spend": [1.5, None, 2.0]}))
        >>> encoder.encode_rows([{"spend": 3}, {"spend": None}]).tolist()
        [[3.0], [nan]]
        """
        try:
            found = [
                [
                    value if codes is None and type(value := values[name]) is float
                    else _single(name, codes, values[name])
                    for name, codes in self._codes
                ]
                for values in rows
            ]  # fmt: skip
        except KeyError as error:
            near = did_you_mean(str(error.args[0]), next(values for values in rows if error.args[0] not in values))
            hint = "Give every feature that the model was trained on."
            raise NotFoundError(f"There is no value for {error.args[0]!r}. {near}", hint=hint) from None
        with np.errstate(over="ignore"):
            matrix = np.array(found).astype(np.float32)
        infinite = np.isinf(matrix)
        if infinite.any():
            name = self.columns[int(infinite.any(axis=0).argmax())].name
            raise InputError(
                f"The value of {name!r} is infinite (or beyond 3.4e38).",
                hint="Correct it in the source, or leave it empty: missing values are understood.",
                column=name,
            )
        return matrix

    def encode_columns(
        self, columns: Mapping[str, npt.NDArray[np.float64] | Sequence[str | None]], rows: Sequence[int]
    ) -> Matrix:
        """Encode rows that lie as plain columns, as `transform` encodes them; what is infinite stays so.

        Many rows at once for those who wait: nothing is done for every value of a number, and there is no table.

        Parameters
        ----------
        columns : mapping
            Every feature by name: float64 arrays of numbers, NaN where missing; sequences of str or None.
        rows : sequence of int
            Which rows, in the order of the matrix.

        Returns
        -------
        float32 array (rows, columns)
            Column-major. The caller refuses rows that hold infinity; the others are as good as alone.

        Raises
        ------
        KeyError
            A feature is missing.

        Examples
        --------
        >>> encoder = Encoder.fit(pa.table({"plan": ["a", "b", None] * 10, "spend": [1.5, None, 2.0] * 10}))
        >>> encoder.encode_columns({"plan": ["b", None], "spend": np.array([3.0, np.nan])}, [1, 0]).tolist()
        [[nan, nan], [1.0, 3.0]]
        """
        matrix = np.empty((len(self.columns), len(rows)), dtype=np.float32)
        with np.errstate(over="ignore"):
            if self._numbers:
                numbers = np.array([columns[name] for name in self._number_names], dtype=np.float64)
                matrix[self._numbers] = numbers[:, rows]
        for place, (name, codes) in enumerate(self._codes):
            if codes is not None:
                cells, other = columns[name], float(len(codes))
                texts = [cells[row] for row in rows]
                matrix[place] = [math.nan if text is None else codes.get(text, other) for text in texts]
        return matrix.T

    @cached_property
    def _numbers(self) -> list[int]:
        """Columns of the matrix that hold numbers."""
        return [place for place, column in enumerate(self.columns) if column.kind == "number"]

    @cached_property
    def _number_names(self) -> list[str]:
        return [self.columns[place].name for place in self._numbers]

    @cached_property
    def _codes(self) -> tuple[tuple[str, dict[str, float] | None], ...]:
        """For each column its name and, for a category, the code of each value."""
        return tuple(
            (c.name, {text: float(code) for code, text in enumerate(c.categories)} if c.kind == "category" else None)
            for c in self.columns
        )

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
        encoder: Self = build(cls, document, "encoder.json")
        return encoder


def _kind(kind: pa.DataType) -> Literal["number", "category", "unusable"]:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "category"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return "number" if numeric or pa.types.is_decimal(kind) or pa.types.is_null(kind) else "unusable"


def _study(name: str, values: pa.ChunkedArray, max_categories: int, min_rows: int) -> EncodedColumn | Dropped:
    kind = _kind(values.type)
    if kind == "number":
        return _study_number(name, values)
    if kind == "category":
        return _study_category(name, values, max_categories, min_rows)
    return Dropped(name, f"is of the type {values.type}, neither number nor text")


def _study_number(name: str, values: pa.ChunkedArray) -> EncodedColumn | Dropped:
    column = EncodedColumn(name, "number")
    encoded = np.empty(len(values), dtype=np.float32)
    _encode(column, values, encoded)
    missing = np.isnan(encoded)
    if missing.all():
        return Dropped(name, "is always missing")
    if not missing.any() and encoded.min() == encoded.max():
        return Dropped(name, f"is always {encoded[0]:g}")
    return column


def _study_category(name: str, values: pa.ChunkedArray, max_categories: int, min_rows: int) -> EncodedColumn | Dropped:
    counts = pc.value_counts(_text(values).drop_null())
    table = sorted(zip(counts.field("counts").to_pylist(), counts.field("values").to_pylist(), strict=True), key=_often)
    kept = tuple(text for rows, text in table[:max_categories] if rows >= min_rows)
    known = sum(rows for rows, _ in table)
    folded = known - sum(rows for rows, _ in table[: len(kept)])
    if not table:
        return Dropped(name, "is always missing")
    if len(table) == 1 and known == len(values):
        return Dropped(name, f"is always {table[0][1]!r}")
    if not kept and known == len(values):
        return Dropped(name, f"has {len(table):,} different values, none of them in {min_rows} rows or more")
    return EncodedColumn(name, "category", kept, len(table), folded)


def _often(entry: tuple[int, str]) -> tuple[int, str]:
    rows, text = entry
    return -rows, text


def _encode(column: EncodedColumn, values: pa.ChunkedArray, out: Values) -> None:
    kind = _kind(values.type)
    if kind != column.kind and not pa.types.is_null(values.type):
        raise InputError(
            f"Column {column.name!r} is of the type {values.type}, and the model knows it as a {column.kind}.",
            hint="Give the column as it was at training.",
            column=column.name,
        )
    start = 0
    for chunk in values.chunks:
        part = out[start : start + len(chunk)]
        if column.kind == "number":
            _number(chunk, part)
        else:
            _code(column, chunk, part)
        start += len(chunk)
    infinite = int(np.isinf(out).sum())
    if infinite:
        raise InputError(
            f"Column {column.name!r} holds {infinite:,} infinite values (or such beyond 3.4e38).",
            hint="Correct them in the source, or leave them empty: missing values are understood.",
            column=column.name,
            count=infinite,
        )


def _single(name: str, codes: Mapping[str, float] | None, value: Any) -> float:
    """One value as the matrix holds it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if isinstance(value, str) if codes is not None else isinstance(value, _NUMBERS):
        try:
            return codes.get(value, float(len(codes))) if codes is not None else float(value)
        except OverflowError:  # a whole number of more than 308 digits
            return math.inf
    kind = "number" if codes is None else "category"
    raise InputError(
        f"The value of {name!r} is {shown(value)}, and the model knows a {kind} there.",
        hint="Give the value as it was at training.",
        column=name,
    )


def shown(value: Any) -> str:
    """A value as a message shows it: of a text, the beginning and the end.

    Examples
    --------
    >>> shown("x" * 1000), shown(3), shown(10**5000)
    ("'xxxxxxxxxxxx...xxxxxxxxxxxxx'", '3', 'a number of more than 308 digits')
    """
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "a number of more than 308 digits"
    return reprlib.repr(value)


def _number(chunk: pa.Array, out: Values) -> None:
    if not (pa.types.is_floating(chunk.type) or pa.types.is_integer(chunk.type)) or chunk.type.bit_width == _LONG:
        # Numpy would make objects of some. Whole numbers go the way they go in a column with gaps, and are rounded once
        # more on it, so that a row is rounded alike in any company.
        chunk = chunk.cast(pa.float64(), safe=False)
    with np.errstate(over="ignore"):
        out[:] = chunk.to_numpy(zero_copy_only=False)  # a null becomes NaN


def _code(column: EncodedColumn, chunk: pa.Array, out: Values) -> None:
    texts = _text(chunk)
    codes = pc.index_in(texts, value_set=pa.array(column.categories, texts.type))
    out[:] = pc.fill_null(codes, len(column.categories)).to_numpy(zero_copy_only=False)
    if texts.null_count:
        out[np.asarray(texts.is_null())] = np.nan


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as `large_string`: it has every kernel, and no column is too long for it."""
    return pc.cast(values, pa.large_string())
