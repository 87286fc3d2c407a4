"""The mean of several boosters is a booster.

Enters: XGBoost boosters of the same rows and objective. Leaves: one booster whose margin is the mean of theirs.
Invariant: it holds their very trees, each leaf divided by the number of boosters, so that whatever is true of boosted
trees (one safe file, exact Shapley values, the way for one row) is true of the mean.

Shallow trees add up single effects and deep ones find what only matters together. Where neither is clearly better
their mean usually is, because they err on different rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import xgboost as xgb

from tenure.model.booster import booster_of, document_of

__all__ = ["average"]


def average(boosters: Sequence[xgb.Booster]) -> xgb.Booster:
    """Make one booster of several.

    Parameters
    ----------
    boosters : sequence of xgboost.Booster
        At least one; all with the same number of columns and the same base score.

    Raises
    ------
    ValueError
        They start from different base scores or columns, so that they do not belong together.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = np.arange(200, dtype=np.float32)[:, None]
    >>> rows = xgb.QuantileDMatrix(matrix, np.arange(200) > 150)
    >>> pair = [xgb.train({"objective": "binary:logistic", "max_depth": d, "nthread": 1}, rows, 5) for d in (1, 3)]
    >>> apart = [booster.predict(rows, output_margin=True) for booster in pair]
    >>> bool(np.allclose(average(pair).predict(rows, output_margin=True), np.mean(apart, axis=0), atol=1e-6))
    True
    """
    documents = [document_of(booster) for booster in boosters]
    first = documents[0]["learner"]
    starts = {json.dumps(document["learner"]["learner_model_param"], sort_keys=True) for document in documents}
    if len(starts) > 1:
        raise ValueError(f"Boosters of {len(starts)} different beginnings have no mean: {', '.join(sorted(starts))}.")
    trees: list[dict[str, Any]] = []
    ends = [0]
    for document in documents:
        model = document["learner"]["gradient_booster"]["model"]
        ends += [len(trees) + end for end in model["iteration_indptr"][1:]]
        trees += [_lowered(tree, len(trees) + place, len(documents)) for place, tree in enumerate(model["trees"])]
    model = first["gradient_booster"]["model"]
    model |= {"trees": trees, "tree_info": [0] * len(trees), "iteration_indptr": ends}
    model["gbtree_model_param"] |= {"num_trees": str(len(trees))}
    return booster_of(documents[0])


def _lowered(tree: dict[str, Any], number: int, parts: int) -> dict[str, Any]:
    """A tree whose leaves add one part of what they did."""
    splits = zip(tree["split_conditions"], tree["left_children"], strict=True)
    lowered = [value / parts if left < 0 else value for value, left in splits]
    return tree | {"id": number, "split_conditions": lowered}
