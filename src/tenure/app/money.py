"""What contacting would have earned on the test block.

Enters: test labels with the probabilities that a model gave them, customer values, the money settings. Leaves: a
`Money`. Invariant: profits count what happened: a churner's probability is 1, a stayer's 0, in the very formula that
decides.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.core.errors import NotFoundError, did_you_mean
from tenure.core.settings import ValueSettings
from tenure.model.evaluate import Estimate
from tenure.model.frame import Frame
from tenure.model.protocol import Flags, Vector
from tenure.report.inputs import Campaign, Money
from tenure.value.decision import decide
from tenure.value.profit import profit_range
from tenure.value.target import choose
from tenure.value.threshold import t_star_range

__all__ = ["customer_values", "judge_money", "threshold_of"]


def customer_values(features: pa.Table, value: ValueSettings) -> Vector:
    """What each row's customer is worth; NaN where that is not known.

    Parameters
    ----------
    features : table
        Feature columns; the settings may name one of them.
    value : ValueSettings
        An amount, or the name of a column.

    Raises
    ------
    NotFoundError
        The named column does not exist or holds no numbers.

    Examples
    --------
    >>> customer_values(pa.table({"worth": [100, None]}), ValueSettings(clv="worth")).tolist()
    [100.0, nan]
    """
    if not isinstance(value.clv, str):
        return np.full(features.num_rows, float(value.clv))
    numeric = [f.name for f in features.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    if value.clv not in numeric:
        raise NotFoundError(
            f"[value] clv names {value.clv!r}, which is no numeric feature. {did_you_mean(value.clv, numeric)}",
            hint="Name a numeric customer attribute or feature, or give an amount.",
            column=value.clv,
        )
    return np.asarray(pc.fill_null(pc.cast(features[value.clv], pa.float64()), float("nan")))


def threshold_of(value: ValueSettings) -> float | None:
    """The probability from which contacting pays, or None where it differs by customer.

    Examples
    --------
    >>> round(threshold_of(ValueSettings(clv=600, contact_cost=10, save_rate=0.3)), 4)
    0.0556
    """
    return None if isinstance(value.clv, str) else float(t_star_range(value.clv, value).expected)


def judge_money(test: Frame, probability: Vector, value: ValueSettings) -> Money:
    """Compare contacting by the model with contacting everybody and nobody.

    Parameters
    ----------
    test : Frame
        Rows of the test block.
    probability : float64 array (rows,)
        Calibrated churn probabilities of the same rows.
    value : ValueSettings
        What was assumed.
    """
    worth = customer_values(test.features, value)
    known = ~np.isnan(worth)
    earned = profit_range(test.label.astype(float), np.where(known, worth, 0.0), value)

    def campaign(name: str, contacted: Flags) -> Campaign:
        sums = (float(part[contacted].sum()) for part in (earned.expected, earned.low, earned.high))
        return Campaign(name, int(contacted.sum()), Estimate(*sums))

    ids = np.asarray(test.customer_id.to_pylist(), dtype=object)
    profit, chosen = decide(probability, worth, value).profit.expected, np.zeros(test.rows, dtype=np.bool_)
    for cutoff in np.unique(test.cutoff):  # a batch is scored at each cutoff, and each has the whole capacity
        batch = (test.cutoff == cutoff) | (np.isnat(test.cutoff) & np.isnat(cutoff))
        chosen[batch] = choose(profit[batch], ids[batch], value.capacity)
    limit = f", at most {value.capacity:,}" if value.capacity is not None else ""
    campaigns = (
        campaign(f"contact where it pays{limit}", chosen),
        campaign("contact everybody", known),
        campaign("contact nobody", np.zeros(test.rows, dtype=np.bool_)),
    )
    return Money(threshold_of(value), campaigns, value)
