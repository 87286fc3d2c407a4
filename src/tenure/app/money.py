"""What contacting would have earned on the test block.

Enters: test labels with the probabilities that a model gave them, customer values, the money settings, and the rows on
which a threshold may be searched. Leaves: a `Money`. Invariant: profits count what happened: a churner's probability is
1, a stayer's 0, in the very formula that decides; a threshold is in closed form or was searched on other rows than
those that judge it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.advise.quality import Stakes
from tenure.core.errors import InputError, NotFoundError, did_you_mean
from tenure.core.settings import ValueSettings
from tenure.model.evaluate import Estimate
from tenure.model.frame import Frame
from tenure.model.protocol import Flags, Vector
from tenure.report.inputs import Campaign, Money
from tenure.report.words import percent
from tenure.value.curve import ProfitCurve, profit_curve
from tenure.value.max_profit import MaxProfit, expected_max_profit, max_profit
from tenure.value.outcome import outcome
from tenure.value.seed import seed_threshold, seed_value
from tenure.value.threshold import t_star_range

__all__ = [
    "SearchRows",
    "contacted_where_it_pays",
    "customer_values",
    "judge_money",
    "require_values",
    "stakes_of",
    "threshold_of",
]

CURVE_PLACES = 240


@dataclass(frozen=True, eq=False)
class SearchRows:
    """Rows on which a threshold may be searched, because they do not judge it.

    Parameters
    ----------
    rows : Frame
        Of the calibration block, or of the training block where calibration was cross-fitted in it.
    probability : float64 array (rows,)
        Calibrated churn probabilities, by models that were not trained on the row.
    name : str
        What the rows are, for example `"calibration block"`.
    """

    rows: Frame
    probability: Vector
    name: str


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
    InputError
        The column holds negative or infinite values.

    Examples
    --------
    >>> customer_values(pa.table({"worth": [100, None]}), ValueSettings(clv="worth")).tolist()
    [100.0, nan]
    >>> customer_values(pa.table({"worth": [100, -20]}), ValueSettings(clv="worth"))
    Traceback (most recent call last):
    tenure.core.errors.InputError: [value] clv names 'worth', in which 1 of 2 values are below 0 or infinite; ...
    → A customer is worth 0 or more: correct the column, or leave those values empty; they are then never contacted.
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
    worth = np.asarray(pc.fill_null(pc.cast(features[value.clv], pa.float64()), float("nan")))
    _check_values(worth, value.clv)
    return worth


def _check_values(worth: Vector, column: str) -> None:
    bad = np.flatnonzero((worth < 0) | np.isinf(worth))
    if len(bad):
        raise InputError(
            f"[value] clv names {column!r}, in which {len(bad):,} of {len(worth):,} values are below 0 or infinite; "
            f"the first is {worth[bad[0]]:g}.",
            hint="A customer is worth 0 or more: correct the column, or leave those values empty; "
            "they are then never contacted.",
            column=column,
        )


def require_values(features: pa.Table, value: ValueSettings) -> None:
    """Refuse customer values that no campaign could be built on, before the long work.

    Raises
    ------
    NotFoundError
        As `customer_values`.
    InputError
        As `customer_values`, or not one customer has a value.

    Examples
    --------
    >>> require_values(pa.table({"worth": pa.array([None, None], pa.float64())}), ValueSettings(clv="worth"))
    Traceback (most recent call last):
    tenure.core.errors.InputError: [value] clv names 'worth', which is empty in all 2 rows.
    → Name another column, or give an amount.
    """
    worth = customer_values(features, value)
    if len(worth) and np.isnan(worth).all():
        raise InputError(
            f"[value] clv names {value.clv!r}, which is empty in all {len(worth):,} rows.",
            hint="Name another column, or give an amount.",
            column=value.clv,
        )


def threshold_of(value: ValueSettings) -> float | None:
    """The probability from which contacting pays, or None where it differs by customer.

    Examples
    --------
    >>> round(threshold_of(ValueSettings(clv=600, contact_cost=10, save_rate=0.3)), 4)
    0.0556
    """
    return None if isinstance(value.clv, str) else float(t_star_range(value.clv, value).expected)


def contacted_where_it_pays(rows: Frame, probability: Vector, value: ValueSettings) -> Flags:
    """Whom the settings would contact: where it pays, and in each batch no more than there is capacity for.

    Examples
    --------
    >>> rows = Frame.of(["a", "b", "c"], [True, False, False], pa.table({"visits": [0, 4, 9]}))
    >>> contacted_where_it_pays(rows, np.array([0.4, 0.2, 0.01]), ValueSettings(capacity=1)).tolist()
    [True, False, False]
    """
    return stakes_of(rows, value).contacted(probability)


def stakes_of(rows: Frame, value: ValueSettings) -> Stakes:
    """What is at stake in rows that judge, by the settings' money.

    Raises
    ------
    NotFoundError, InputError
        As `customer_values`.
    """
    return Stakes(rows.customer_id, rows.cutoff, rows.label, customer_values(rows.features, value), value)


def judge_money(test: Frame, probability: Vector, value: ValueSettings, search: SearchRows | None = None) -> Money:
    """Compare contacting by the model with contacting everybody and nobody.

    Parameters
    ----------
    test : Frame
        Rows of the test block.
    probability : float64 array (rows,)
        Calibrated churn probabilities of the same rows.
    value : ValueSettings
        What was assumed.
    search : SearchRows, optional
        Where the popular score's threshold is searched; without it that campaign is left out.

    Raises
    ------
    NotFoundError
        `clv` names a column that does not exist.
    InputError
        A customer value is negative.
    """
    worth = customer_values(test.features, value)
    known, group = ~np.isnan(worth), test.group()

    def campaign(name: str, contacted: Flags) -> Campaign:
        found = outcome(test.label, worth, contacted, group, value)
        ends = Estimate(found.profit.value, found.worst, found.best)
        seed = seed_value(test.label, contacted & known, worth, value)
        return Campaign(name, found.contacted, ends, found.profit, seed)

    limit = f", at most {value.capacity:,}" if value.capacity is not None else ""
    campaigns = [campaign(f"contact where it pays{limit}", contacted_where_it_pays(test, probability, value))]
    if search is not None:
        values = customer_values(search.rows.features, value)
        searched = seed_threshold(search.probability, search.rows.label, values, value)
        campaigns.append(campaign(f"contact from {percent(searched)} on (grid search)", probability >= searched))
    campaigns += [campaign("contact everybody", known), campaign("contact nobody", np.zeros(test.rows, np.bool_))]
    most, expected = _most(test.label, probability, value)
    return Money(
        threshold_of(value),
        tuple(campaigns),
        value,
        most=most,
        expected_most=expected,
        curve=_curve(test, probability, value, worth),
        batches=len(np.unique(test.cutoff)),
        searched_on=search.name if search else "",
        unknown=int((~known).sum()),
    )


def _most(label: Flags, probability: Vector, value: ValueSettings) -> tuple[MaxProfit | None, MaxProfit | None]:
    """MPC and EMPC, where one value holds for all customers and both kinds of them are there."""
    if isinstance(value.clv, str) or not 0 < label.sum() < len(label):
        return None, None
    costs = {"clv": value.clv, "incentive_cost": value.incentive_cost, "contact_cost": value.contact_cost}
    at_rate = max_profit(label, probability, save_rate=value.middle_save_rate, **costs)
    return at_rate, expected_max_profit(label, probability, **costs)


def _curve(test: Frame, probability: Vector, value: ValueSettings, worth: Vector) -> ProfitCurve:
    """The profit curve in as many places as a page draws; the place where it pays to stop is one of them."""
    one = not isinstance(value.clv, str)
    curve = profit_curve(probability, test.label, float(value.clv) if one else worth, test.group())
    threshold = threshold_of(value)
    keep = [] if threshold is None else [curve.at_threshold(threshold)]
    if value.capacity is not None:
        keep.append(curve.at_capacity(value.capacity * len(np.unique(test.cutoff))))
    return curve.thinned(CURVE_PLACES, keep)
