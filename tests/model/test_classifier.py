"""`tenure.ChurnClassifier` is a scikit-learn classifier for every kind of table, and learns as `tenure train` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import tenure
from tenure.core.errors import ConfigError, InputError
from tenure.core.settings import ModelSettings
from tenure.model.classifier import ChurnClassifier
from tenure.model.frame import Frame
from tenure.model.train import learn

# Checks of scikit-learn that the classifier does not pass, each with the reason why it should not.
EXCEPTIONS: dict[str, str] = {}


def exceptions(_estimator: object) -> dict[str, str]:
    return EXCEPTIONS


def logistic(**parameters: Any) -> ChurnClassifier:
    return ChurnClassifier("logistic", n_jobs=1, **parameters)


@parametrize_with_checks([logistic()], expected_failed_checks=exceptions, xfail_strict=True)  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([ChurnClassifier(n_jobs=1)], expected_failed_checks=exceptions, xfail_strict=True)  # type: ignore[untyped-decorator]
def test_scikit_learns_own_checks_of_trees(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def shop(rows: int = 300) -> tuple[pd.DataFrame, Any]:
    """Customers with gaps and three kinds of text columns; who comes seldom, or has no plan, leaves."""
    random = np.random.default_rng(0)
    visits = random.poisson(8, rows).astype(float)
    plan = random.choice(np.array(["basic", "pro", None]), rows)
    left = random.random(rows) < np.where((visits < 6) | pd.isna(plan), 0.8, 0.1)
    visits[random.random(rows) < 0.1] = np.nan
    frame = pd.DataFrame({
        "visits": visits,
        "plan": pd.Series(plan, dtype="str"),
        "region": pd.Categorical(random.choice(["north", "south"], rows)),
        "card": random.random(rows) < 0.5,
    })  # fmt: skip
    return frame, np.where(left, "Yes", "No")


def test_every_kind_of_table_gives_the_same_probabilities() -> None:
    frame, left = shop()
    expected = logistic().fit(frame, left).predict_proba(frame)
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    for table in (arrow, pl.from_arrow(arrow), pl.from_pandas(frame)):
        model = logistic().fit(table, left)
        assert model.feature_names_in_.tolist() == list(frame.columns)
        assert (model.predict_proba(table) == expected).all()
        assert (model.predict_proba(frame) == expected).all()
    objects = frame.astype(object).to_numpy()
    assert (logistic().fit(objects, left).predict_proba(objects) == expected).all()


@pytest.mark.parametrize(
    "kind",
    [list, pd.Series, pl.Series, pa.array, lambda y: pa.chunked_array([y])],
    ids=["list", "pandas", "polars", "Arrow", "chunked"],
)
def test_every_kind_of_target_is_read(kind: Callable[[Any], Any]) -> None:
    frame, left = shop()
    model = logistic().fit(frame, kind(left.tolist()))
    assert model.classes_.tolist() == ["No", "Yes"]
    assert set(model.predict(frame)) == {"No", "Yes"}


def test_it_learns_what_the_command_line_learns() -> None:
    frame, left = shop()
    columns = pa.Table.from_pandas(frame, preserve_index=False)
    rows = Frame.of(np.arange(len(left)), left == "Yes", columns)
    trained = learn(rows, ModelSettings(family="logistic", seed=3), threads=1)
    model = logistic(random_state=3).fit(frame, left)
    assert (model.predict_proba(frame)[:, 1] == trained.predict(columns)).all()
    assert (model.trained_.out_of_fold == trained.out_of_fold).all()


def test_it_works_inside_scikit_learns_tools() -> None:
    frame, left = shop()
    pipeline = make_pipeline(FunctionTransformer(lambda table: table.drop(columns="card")), logistic())
    search = GridSearchCV(pipeline, {"churnclassifier__calibrate": ["none", "sigmoid"]}, scoring="roc_auc", cv=3)
    search.fit(frame, left)
    assert search.best_estimator_[-1].n_features_in_ == 3
    assert search.best_score_ > 0.7
    assert cross_val_score(clone(search.best_estimator_), frame, left, cv=3).shape == (3,)


def test_a_customers_rows_are_held_out_together() -> None:
    frame, left = shop()
    customers = np.arange(len(left)) // 3
    together, apart = (logistic().fit(frame, left, groups=groups).trained_ for groups in (customers, None))
    assert together.customers == 100
    assert apart.customers == 300
    assert (together.out_of_fold != apart.out_of_fold).any()
    scores = cross_val_score(logistic(), frame, left, groups=customers, cv=GroupKFold(3))
    assert len(scores) == 3


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("kind", [list, pd.Series, lambda groups: np.array(groups, dtype=object)])
def test_rows_without_a_customer_are_not_taken_for_one_customer(gap: Any, kind: Callable[[Any], Any]) -> None:
    frame, left = shop()
    customers = kind([gap, gap, *(f"c{row // 3}" for row in range(2, len(left)))])
    with pytest.raises(InputError, match="groups: 2 of 300 rows name no customer"):
        logistic().fit(frame, left, groups=customers)


def test_customers_of_several_kinds_are_refused() -> None:
    frame, left = shop()
    with pytest.raises(InputError, match="groups: ") as caught:
        logistic().fit(frame, left, groups=["a", 1] * (len(left) // 2))
    assert "texts alone" in caught.value.hint


def test_copies_of_a_row_are_held_out_together() -> None:
    frame, left = shop()
    frame = frame.assign(plan=frame["plan"].astype("category"), spent=np.arange(300.0))
    model = logistic().fit(pd.concat([frame, frame.head(50)]), np.append(left, left[:50]))
    assert (model.trained_.rows, model.trained_.customers) == (350, 300)


def test_what_was_never_seen_is_no_error() -> None:
    frame, left = shop()
    model = logistic().fit(frame, left)
    unseen = frame.head(2).assign(plan="never seen", visits=np.nan)
    assert np.isfinite(model.predict_proba(unseen)).all()


def test_columns_that_are_not_those_of_fit_are_refused() -> None:
    frame, left = shop()
    model = logistic().fit(frame, left)
    with pytest.raises(ValueError, match="missing"):
        model.predict_proba(frame.drop(columns="plan"))
    with pytest.raises(ValueError, match="same order"):
        model.predict_proba(frame[frame.columns[::-1]])
    with pytest.raises(InputError, match="'plan' is of the type"):
        model.predict_proba(frame.assign(plan=1.0))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        model.predict_proba(frame.head(0))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"visits": np.inf}, "'visits' holds 300 infinite values"),
        ({"visits": 1.0, "plan": "a", "region": "b", "card": True}, "None of the 4 features"),
    ],
)
def test_columns_that_cannot_be_learned_from_are_refused(change: dict[str, Any], says: str) -> None:
    frame, left = shop()
    with pytest.raises(InputError, match=says):
        logistic().fit(frame.assign(**change), left)


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (np.arange(300) % 3, "Only binary classification is supported. The type of the target is multiclass"),
        (np.arange(300) / 7, "Unknown label type"),
        (["No"] * 300, "one class alone: all 300 labels are No"),
        (["No"] * 299 + ["Yes"], "1 customers were lost"),
        ([1.0, np.nan] * 150, "NaN"),
        ([0, 1], "inconsistent numbers of samples"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(left: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        logistic().fit(shop()[0], left)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"family": "xgbost"}, "Did you mean 'xgboost'"),
        ({"calibrate": "platt"}, "calibrate"),
        ({"random_state": -1}, "seed"),
    ],
)
def test_parameters_that_are_not_understood_are_refused(parameters: dict[str, Any], says: str) -> None:
    frame, left = shop()
    with pytest.raises(ConfigError, match=says):
        ChurnClassifier(**parameters).fit(frame, left)


def test_the_seed_decides() -> None:
    frame, left = shop()

    def probabilities(seed: Any) -> Any:
        return ChurnClassifier(random_state=seed, n_jobs=1).fit(frame, left).predict_proba(frame)

    assert (probabilities(1) == probabilities(1)).all()
    assert (probabilities(1) != probabilities(2)).any()
    assert (probabilities(np.random.RandomState(5)) == probabilities(np.random.RandomState(5))).all()


@pytest.mark.parametrize("method", ["weights", "undersample", "smote"])
def test_rebalancing_leaves_probabilities_that_add_up(method: str) -> None:
    frame, left = shop(600)
    model = logistic(imbalance=method).fit(frame, left)
    assert model.trained_.calibration.prior != 0
    expected, observed = model.predict_proba(frame)[:, 1].sum(), (left == "Yes").sum()
    assert expected == pytest.approx(observed, rel=0.05)


def test_it_is_at_the_front_door() -> None:
    assert tenure.ChurnClassifier is ChurnClassifier
