"""What the leaves of a forest vote with: churn rates, or log odds.

Enters: a grown forest whose leaves hold churn rates. Leaves: the same trees with log odds in their leaves. Invariant:
nothing but the leaves' values changes, and a forest still predicts the mean over its trees of what a row's leaves hold.

A mean of rates never comes near 0 or 1, because some trees always disagree; a mean of log odds does where most trees
are sure, and is close to the log odds that calibration and contributions speak of. In return it takes small leaves at
their word. So a leaf's rate is drawn towards the rate of all rows first, as if `PRIOR_ROWS` rows of that rate lay in it
too; and which of the two votes is better is found out on rows held out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost as xgb

from tenure.model.booster import booster_of, document_of
from tenure.model.protocol import log_odds

__all__ = ["PRIOR_ROWS", "with_log_odds"]

PRIOR_ROWS = 2.0


def with_log_odds(booster: xgb.Booster, overall: float, trees: int) -> xgb.Booster:
    """The forest with log odds in its leaves.

    Parameters
    ----------
    booster : xgboost.Booster
        Grown on squared errors in one round, with `overall` as its base score.
    overall : float
        Churn rate of all rows.
    trees : int
        How many there are.

    Returns
    -------
    xgboost.Booster
        Its prediction is the mean log odds of a row's leaves.
    """
    document = document_of(booster)
    for tree in document["learner"]["gradient_booster"]["model"]["trees"]:
        _vote(tree, overall, trees)
    return booster_of(document)


def _vote(tree: dict[str, Any], overall: float, trees: int) -> None:
    leaf = np.array(tree["left_children"]) < 0
    values, rows = np.array(tree["split_conditions"], dtype=np.float64), np.array(tree["sum_hessian"], dtype=np.float64)
    rate = values * trees + overall  # a leaf holds its part of the mean, measured from the base score
    drawn = (rate * rows + overall * PRIOR_ROWS) / (rows + PRIOR_ROWS)
    odds = (log_odds(drawn, 1e-6) - overall) / trees  # float32 may have carried a pure leaf a little beyond
    tree["split_conditions"] = np.where(leaf, odds, values).astype(np.float32).astype(float).tolist()
