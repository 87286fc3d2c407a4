"""XGBoost's boosters: rows go in, one UBJ file comes out.

Enters: examples in which few categories are codes and many are rates (`tenure.model.target_mean`). Leaves: quantised
rows, a booster that carries what its predictions need beside the trees, and the booster's document. Invariant: a
booster that was finished is the one that a reader of its file gets, without anything that was left over from training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import xgboost as xgb

from tenure.model.document import build, canonical, parse, plain
from tenure.model.protocol import Contributions, Examples, Matrix

__all__ = [
    "booster_of",
    "document_of",
    "exact_contributions",
    "finished",
    "quantised",
    "read_booster",
    "recalled",
    "save_booster",
]

FILE = "model.ubj"
Record = TypeVar("Record")


def quantised(examples: Examples, max_bin: int, threads: int | None, like: xgb.DMatrix | None = None) -> xgb.DMatrix:
    """The rows as XGBoost takes them.

    Parameters
    ----------
    examples : Examples
        From `learning_rows`, or encoded as those were.
    max_bin, threads
        As XGBoost means them.
    like : xgboost.DMatrix, optional
        Rows whose bins are taken over.
    """
    return xgb.QuantileDMatrix(
        examples.matrix,
        examples.label,
        weight=examples.weight,
        feature_types=["c" if column.is_category else "q" for column in examples.columns],
        enable_categorical=True,
        max_bin=max_bin,
        nthread=threads,
        ref=like,
    )


def exact_contributions(booster: xgb.Booster, encoded: Matrix) -> Contributions:
    """Shapley values over the paths of the trees, for the booster's own output."""

    def ask(matrix: Matrix) -> Any:
        rows = xgb.DMatrix(matrix, feature_types=booster.feature_types, enable_categorical=True)
        return booster.predict(rows, pred_contribs=True, validate_features=False)

    return Contributions.asked(ask, encoded)


def finished(booster: xgb.Booster, name: str, record: object) -> xgb.Booster:
    """The booster as a reader of its file will see it: without training state, and with a record under a name."""
    booster.set_attr(**{name: canonical(plain(record)).decode()})
    fresh = xgb.Booster()
    fresh.load_model(booster.save_raw("ubj"))
    return fresh


def recalled(booster: xgb.Booster, name: str, kind: type[Record]) -> Record:
    """The record that `finished` put beside the trees.

    Raises
    ------
    ArtifactError
        There is none, or it is no such record.

    Examples
    --------
    >>> from tenure.model.target_mean import TargetMeans
    >>> booster = xgb.train({"nthread": 1}, xgb.DMatrix([[1.0], [2.0]], [0, 1]), 1)
    >>> recalled(finished(booster, "means", TargetMeans((1,), ((0.5,),))), "means", TargetMeans)
    TargetMeans(columns=(1,), rates=((0.5,),))
    """
    where = f"{FILE}: {name}"
    record: Record = build(kind, parse((booster.attr(name) or "").encode(), where), where)
    return record


def save_booster(booster: xgb.Booster, folder: Path) -> tuple[str, ...]:
    """Write `model.ubj`."""
    booster.save_model(folder / FILE)
    return (FILE,)


def read_booster(folder: Path) -> xgb.Booster:
    """Read `model.ubj`."""
    booster = xgb.Booster()
    booster.load_model(folder / FILE)
    return booster


def document_of(booster: xgb.Booster) -> dict[str, Any]:
    """The trees and all else as XGBoost writes them in JSON."""
    document: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))
    return document


def booster_of(document: Mapping[str, Any]) -> xgb.Booster:
    """The reverse of `document_of`."""
    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps(document).encode()))
    return booster
