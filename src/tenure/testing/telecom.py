"""A telecom's customer table, generated: as large as you like, and hard to learn from.

Enters: how many customers. Leaves: 56 columns of which a few say a little, and who left. Invariant: the same number and
seed give the same table.

Heavy tails, columns that repeat each other, gaps, 747 service areas with small differences, a hump where contracts end
and a step where a handset is a year old. A learner that trusts what it sees loses here: with its default settings
XGBoost ranks far worse than logistic regression.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["ROWS", "telecom"]

ROWS = 51_000
Numbers = npt.NDArray[np.float64]
AREAS = 747
USAGE = (
    "dropped_calls", "blocked_calls", "unanswered_calls", "care_calls", "threeway_calls", "received_calls",
    "outbound_calls", "inbound_calls", "peak_calls", "off_peak_calls", "failed_calls", "forwarded_calls",
    "waiting_calls", "roaming_calls", "directory_calls",
)  # fmt: skip
HABITS = {
    "home_owner": 0.6, "children": 0.4, "web": 0.9, "refurbished": 0.3, "truck": 0.18, "camper": 0.06,
    "mail_buyer": 0.36, "mail_answer": 0.35, "traveller": 0.06, "credit_card": 0.65, "opted_out": 0.02,
    "new_user": 0.08, "no_new_user": 0.14, "made_call": 0.02,
}  # fmt: skip


def telecom(rows: int = ROWS, *, seed: int = 0) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Give the columns, and who left: about 29 in 100.

    Parameters
    ----------
    rows : int
        Customers.
    seed : int
        Of everything random.

    Returns
    -------
    table : pyarrow.Table
        Numbers and text, with gaps.
    label : bool array (rows,)
        Whether the customer left.

    Examples
    --------
    >>> table, label = telecom(2000)
    >>> table.num_columns, bool(0.2 < label.mean() < 0.4)
    (56, True)
    """
    random = np.random.default_rng(seed)
    use, wealth, quality, change = (random.normal(size=rows) for _ in range(4))
    months = np.clip(random.gamma(3.2, 6, rows), 6, 60).round()
    handset_days = np.clip(months * 30 * random.beta(4, 1.2, rows), 1, 1800).round()
    minutes = np.exp(6 + 0.8 * use + 0.2 * random.normal(size=rows)).round()
    change_minutes = (random.laplace(0, 1, rows) * 150 + 50 * change).round()
    subscriptions, offers = 1 + random.poisson(0.5, rows), random.poisson(0.04, rows)
    credit = np.clip(np.round(3 + 1.2 * wealth + 0.8 * random.normal(size=rows)), 1, 7)
    share = 1 / np.arange(1, AREAS + 1) ** 0.9
    area = random.choice(AREAS, rows, p=share / share.sum())
    habits = {name: random.random(rows) < rate for name, rate in HABITS.items()}
    columns: dict[str, Any] = {
        "months": months,
        "handset_days": handset_days,
        "minutes": _gaps(minutes, random),
        "revenue": _gaps((30 + 0.06 * minutes + 8 * random.gamma(1, 1, rows)).round(2), random),
        "fixed_fee": np.clip((45 + 10 * wealth + 0.01 * minutes).round(), 0, None),
        "overage": np.where(random.random(rows) < 0.5, 0, np.exp(2.5 + use + random.normal(size=rows))).round(),
        "change_minutes": _gaps(change_minutes, random),
        "change_revenue": _gaps((change * 10 + random.laplace(0, 8, rows)).round(1), random),
        "subscriptions": subscriptions,
        "active_subscriptions": np.maximum(1, subscriptions - random.integers(0, 2, rows)),
        "handsets": 1 + random.poisson(months / 25),
        "models": 1 + random.poisson(months / 30),
        "age": np.where(random.random(rows) < 0.28, np.nan, random.normal(42, 13, rows).clip(18, 90).round()),
        "age_partner": np.where(random.random(rows) < 0.5, np.nan, random.normal(43, 12, rows).clip(18, 90).round()),
        "retention_calls": offers,
        "retention_offers": np.minimum(offers, random.poisson(0.5, rows)),
        "referrals": random.poisson(0.05, rows),
        "credit_changes": random.poisson(0.05, rows),
        "income": np.clip(np.round(4 + 2 * wealth + 2 * random.normal(size=rows)), 0, 9),
        "credit": [f"{int(rating)}" for rating in credit],
        "area": [f"area {number:03d}" for number in area],
        "price": random.choice(
            ["unknown", "30", "60", "80", "100", "150", "200"], rows, p=_shares(57, 14, 6, 5, 8, 6, 4)
        ),
        "region": random.choice(["other", "suburban", "town", "rural"], rows, p=_shares(48, 32, 15, 5)),
        "occupation": random.choice(["other", "professional", "crafts", "retired"], rows, p=_shares(74, 18, 5, 3)),
        "married": random.choice(["unknown", "yes", "no"], rows, p=_shares(40, 36, 24)),
    }
    columns |= _usage(use, quality, random)
    columns |= {name: np.where(held, "yes", "no") for name, held in habits.items()}
    columns["noise"], columns["account_digits"] = random.normal(size=rows), random.integers(0, 1000, rows)
    odds = (
        0.55 * np.tanh((handset_days - 320) / 150)
        + 0.9 * np.exp(-(((months - 11.5) / 1.8) ** 2))
        - 0.012 * (months - 20).clip(0, 30)
        - 0.22 * np.tanh(change_minutes / 200)
        + 0.25 * (change_minutes < -150) * (minutes > 300)
        - 0.16 * use
        + 0.8 * (offers > 0)
        - 0.25 * (credit >= 5)
        + 0.3 * habits["refurbished"]
        + 0.2 * habits["web"]
        + 0.12 * np.tanh(quality) * (use > 0)
        + 0.22 * np.random.default_rng(1).normal(size=AREAS)[area]
    )
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}), (
        random.random(rows) < 1 / (1 + np.exp(1.45 - odds))
    )


def _usage(use: Numbers, quality: Numbers, random: np.random.Generator) -> dict[str, npt.NDArray[np.int64]]:
    """Counts of calls that mostly say how much somebody calls."""
    columns = {}
    for place, name in enumerate(USAGE):
        level = (1.5 if place < 6 else 0.8) + (0.7 if place % 5 else 0.2) * use + 0.4 * quality * (place < 3)
        columns[name] = random.poisson(np.exp(level + 0.5 * random.normal(size=len(use))))
    return columns


def _gaps(values: Numbers, random: np.random.Generator) -> Numbers:
    return np.where(random.random(len(values)) < 0.01, np.nan, values)


def _shares(*parts: float) -> Numbers:
    return np.array(parts) / sum(parts)
