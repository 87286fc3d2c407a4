"""tenure's models as a scikit-learn estimator: `tenure.ChurnClassifier`.

Enters: `X` and `y` as scikit-learn means them. Leaves: calibrated probabilities. Invariant: it learns by the very code
that `tenure train` learns by (frozen encoder, cross-fitting that chooses what has to be chosen, calibration on honest
predictions), so that a notebook and the command line make the same model of the same rows.

What it does not do is judge itself: keep rows apart, or use `cross_val_score`. Churn is a question about time, and a
random split answers an easier one; where rows have a time, split by it (`sklearn.model_selection.TimeSeriesSplit`), or
let `tenure train` do it.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from tenure.core.config import settings_from
from tenure.core.errors import InputError
from tenure.core.settings import ModelSettings
from tenure.model.columns import read_columns, read_target
from tenure.model.frame import Frame, equal_rows
from tenure.model.protocol import Vector
from tenure.model.train import Trained, learn

__all__ = ["ChurnClassifier"]


class ChurnClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Calibrated churn probabilities for scikit-learn.

    Numbers, text and categories, missing values and columns with thousands of values are taken as they are; nothing
    has to be encoded, filled or scaled before.

    Parameters
    ----------
    family : str
        Model family, as `[model] family`: `"xgboost"`, `"logistic"` and the others that are installed.
    calibrate : {"auto", "none", "sigmoid", "isotonic"}
        Calibration; `"auto"` keeps it only where it surely lowers the log loss of rows held out.
    imbalance : {"none", "weights", "undersample", "smote"}
        How churners and stayers are evened out inside the folds that are learned from; probabilities are moved back to
        the real rate before they are calibrated.
    random_state : int, RandomState or None
        Of everything random; the same number gives the same model. None takes numpy's global state.
    n_jobs : int or None
        Threads; None and -1: all cores.

    Attributes
    ----------
    classes_ : array of shape (2,)
        Sorted. The second one is what `predict_proba(X)[:, 1]` is the probability of: with "No" and "Yes" or 0 and 1,
        leaving.
    trained_ : Trained
        Encoder, model, calibration, what cross-fitting chose, and the probability of each training row by a model that
        never saw it (`out_of_fold`).
    columns_ : tuple of str
        Names of the columns; those of an array are `x0`, `x1`, …
    n_features_in_, feature_names_in_
        As in every scikit-learn estimator.

    Examples
    --------
    >>> import pandas as pd
    >>> shop = pd.DataFrame({"visits": [n % 20 for n in range(200)], "plan": ["basic", None, "pro", "pro"] * 50})
    >>> left = np.where(shop["visits"] < 6, "Yes", "No")
    >>> model = ChurnClassifier(family="logistic").fit(shop, left)
    >>> model.predict(pd.DataFrame({"visits": [0, 19], "plan": ["never seen", None]})).tolist()
    ['Yes', 'No']
    >>> from sklearn.model_selection import cross_val_score
    >>> bool(cross_val_score(model, shop, left, scoring="roc_auc").mean() > 0.99)
    True
    """

    def __init__(
        self,
        family: str = "xgboost",
        *,
        calibrate: str = "auto",
        imbalance: str = "none",
        random_state: int | np.random.RandomState | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.family = family
        self.calibrate = calibrate
        self.imbalance = imbalance
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Learn from labelled rows.

        Parameters
        ----------
        X : data frame of pandas, polars or Arrow, or array of shape (rows, columns)
            Numbers, text, categories; missing values are understood.
        y : array of shape (rows,)
            Two classes; the second in sorted order is leaving.
        groups : array of shape (rows,), optional
            The customer behind each row, where one has several: all rows of a customer are then held out together when
            something is chosen or calibrated. Default: rows that are equal in every column are one customer, as in a
            `[table]` without `id`.

        Raises
        ------
        InputError
            There are not two classes, a column holds infinite values, a row's group is missing, or a parameter is not
            understood. It is a `ValueError`, as scikit-learn expects.
        """
        table = read_columns(self, X, reset=True)
        self.classes_, label = read_target(self._required(y), table.num_rows)
        customers = _copies_together(table) if groups is None else _named(groups)
        check_consistent_length(table, customers)
        frame = Frame.of(customers, label, table)
        self.columns_ = tuple(table.column_names)
        self.trained_ = learn(frame, self._settings(), threads=_threads(self.n_jobs))
        return self

    def predict_proba(self, X: Any) -> Vector:
        """Calibrated probability of either class, float64 of shape (rows, 2), in the order of `classes_`.

        Parameters
        ----------
        X : data frame or array of shape (rows, columns)
            The columns of `fit`.
        """
        trained = self._fitted()
        table = read_columns(self, X, reset=False)
        second = trained.predict(table.rename_columns(self.columns_))  # of an array columns are known by place
        return np.column_stack([1.0 - second, second])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The likelier class of each row.

        Leavers are rare, so hardly anybody is likelier to leave than to stay. Whom it pays to contact is another
        question, which `tenure.value.threshold.t_star` answers with a threshold for `predict_proba`.

        Parameters
        ----------
        X : data frame or array of shape (rows, columns)
            The columns of `fit`.
        """
        likelier = self.predict_proba(X)[:, 1] >= 0.5
        return np.asarray(self.classes_[likelier.astype(np.int64)])

    def _fitted(self) -> Trained:
        check_is_fitted(self)
        return self.trained_

    def _required(self, y: Any) -> Any:
        if y is None:
            raise ValueError("This ChurnClassifier estimator requires y to be passed, but the target y is None.")
        return y

    def _settings(self) -> ModelSettings:
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        model = {"family": self.family, "fallback": None, "seed": int(seed)}
        model |= {"calibrate": self.calibrate, "imbalance": self.imbalance}
        table = {"path": "X", "label": "y", "positive": True}
        return settings_from({"table": table, "model": model}, source="ChurnClassifier").model


def _copies_together(table: pa.Table) -> pa.Array:
    """Ids by equality in every column that a model may use; lists and the like are dropped later anyway."""
    return equal_rows(table.select([field.name for field in table.schema if not pa.types.is_nested(field.type)]))


def _named(groups: Any) -> pa.Array:
    """The customer behind each row; one who is missing would be one customer together with all others missing."""
    try:  # as objects, for numpy would make the text "nan" of a gap among texts
        customers = pa.array(np.asarray(groups, dtype=object), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"groups: {error}.", hint="Name customers by numbers alone, or by texts alone.") from None
    missing = customers.null_count
    if missing:
        raise InputError(
            f"groups: {missing:,} of {len(customers):,} rows name no customer.",
            hint="Give each of these rows a customer of its own, or leave them out.",
            missing=missing,
        )
    return customers


def _threads(jobs: int | None) -> int | None:
    return jobs if jobs is not None and jobs > 0 else None
