"""What scikit-learn calls `X` and `y`, as the columns and labels that tenure learns from.

Enters: a data frame of pandas, polars or Arrow, or anything that numpy makes an array of. Leaves: an Arrow table, or
classes and a flag per row. Invariant: a column is a number or text wherever it comes from, the same values make the
same column, and what scikit-learn promises to refuse (sparse, complex, infinite, of another shape) is refused.

A data frame keeps its columns as they are. An array has no types of its own to keep: `x0`, `x1`, … are numbers, and in
an array of objects a column that is not all numbers is text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_array, check_consistent_length, validate_data

from tenure.core.errors import InputError
from tenure.model.protocol import Flags
from tenure.source.memory import to_arrow

__all__ = ["read_columns", "read_target"]


def read_columns(estimator: BaseEstimator, X: Any, *, reset: bool) -> pa.Table:
    """Turn `X` into columns, and hold it to the names and the number of columns of `fit`.

    Parameters
    ----------
    estimator : estimator
        Keeps `n_features_in_` and `feature_names_in_`.
    X : data frame or array of shape (rows, columns)
        Missing values are NaN, null or None.
    reset : bool
        Whether this is `fit`, which sets the names, or a later call, which must repeat them.

    Raises
    ------
    ValueError
        `X` is empty, infinite, complex, of another shape, or its columns are not those of `fit`.
    TypeError
        `X` is sparse, or holds something that is neither number nor text.

    Examples
    --------
    >>> from tenure.model.classifier import ChurnClassifier
    >>> read_columns(ChurnClassifier(), np.array([[1.5, "basic"], [None, "pro"]], dtype=object), reset=True).to_pydict()
    {'x0': [1.5, None], 'x1': ['basic', 'pro']}
    """
    if not _is_frame(X):
        array = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=1)
        return _from_array(array)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    table = to_arrow("X", X)
    if not table.num_rows or not table.num_columns:
        check_array(np.empty((table.num_rows, table.num_columns)), input_name="X", estimator=estimator)
    return pa.table({name: _spelled_out(table[name]) for name in table.column_names})


def _is_frame(X: Any) -> bool:
    return hasattr(X, "__arrow_c_stream__") or (hasattr(X, "columns") and hasattr(X, "iloc"))


def _spelled_out(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Polars' categories refer to views of text, which Arrow cannot look up."""
    kind = values.type
    if not (pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type)):
        return values
    known = (pa.DictionaryArray.from_arrays(c.indices, c.dictionary.cast(pa.large_string())) for c in values.chunks)
    return pa.chunked_array(known, pa.dictionary(kind.index_type, pa.large_string()))


def _from_array(array: npt.NDArray[Any]) -> pa.Table:
    columns = {}
    for place in range(array.shape[1]):
        values = array[:, place]
        columns[f"x{place}"] = _number(values) if values.dtype.kind in "biuf" else _number_or_text(values)
    return pa.table(columns)


def _number(values: npt.NDArray[Any]) -> pa.Array:
    assert_all_finite(values, allow_nan=True, input_name="X")
    numbers = np.ascontiguousarray(values, dtype=np.float64)
    return pa.array(numbers, from_pandas=True)


def _number_or_text(values: npt.NDArray[Any]) -> pa.Array:
    """Text where a column holds any, else numbers; what is neither makes numpy raise."""
    absent = np.asarray(pd.isna(values))
    texts = any(isinstance(value, str) for value in values[~absent])
    if not texts:
        return _number(np.where(absent, np.nan, values).astype(np.float64))
    return pa.array([None if gone else str(value) for value, gone in zip(values, absent, strict=True)], pa.string())


def read_target(y: Any, rows: int) -> tuple[npt.NDArray[Any], Flags]:
    """Turn `y` into its two classes and a flag per row that marks the second of them.

    Parameters
    ----------
    y : array of shape (rows,)
        Labels of any kind that can be sorted.
    rows : int
        As many as `X` has.

    Returns
    -------
    classes : array of shape (2,)
        Sorted.
    label : bool array (rows,)
        Whether a row is of the second class.

    Raises
    ------
    InputError
        There are not two classes.
    ValueError
        Labels are missing or continuous, or there are more or fewer of them than rows.

    Examples
    --------
    >>> classes, label = read_target(["No", "Yes", "No"], 3)
    >>> classes.tolist(), label.tolist()
    (['No', 'Yes'], [False, True, False])
    """
    labels = column_or_1d(np.asarray(y) if hasattr(y, "__arrow_c_stream__") else y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_consistent_length(labels, np.empty(rows))
    check_classification_targets(labels)
    kind = type_of_target(labels, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise InputError(f"Only binary classification is supported. The type of the target is {kind}.")
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"The classifier cannot learn from one class alone: all {rows} labels are {classes[0]}.")
    return classes, codes == 1
