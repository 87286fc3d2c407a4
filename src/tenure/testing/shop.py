"""A tiny known data set: a shop whose customers come in rhythms, and of whom some stop.

Enters: a folder. Leaves: `orders.csv` and a `tenure.toml` that uses it. Invariant: the same bytes every time, so
examples and tests may name its numbers.

Customers `c000` to `c199` order at gaps that vary a lot around a rhythm of their own, and every other one stops at some
day. The log begins on 2025-01-01 and spans 300 days.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

__all__ = ["CUSTOMERS", "DAYS", "write_shop"]

CUSTOMERS, DAYS = 200, 300
_START = datetime(2025, 1, 1, 9, tzinfo=UTC)
_SETTINGS = """\
[project]
name = "shop"

[events.order]
path = "orders.csv"
customer = "customer_id"
time = "time"
values = ["amount"]

[churn]
inactivity = ["order"]
horizon = "28d"
active = { events = ["order"], within = "28d", at_least = 2 }

[[features]]
event = "order"
ops = ["count", "days_since_last", "relative_recency"]
windows = ["14d", "28d"]
trends = [["14d", "28d"]]

[[features]]
event = "order"
value = "amount"
ops = ["sum"]
windows = ["28d"]

[model]
family = "logistic"

[runtime]
threads = 1
"""


def write_shop(folder: Path) -> Path:
    """Write the data set and its settings.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Returns
    -------
    Path
        The `tenure.toml`.

    Examples
    --------
    >>> import tempfile
    >>> config = write_shop(Path(tempfile.mkdtemp()))
    >>> (config.parent / "orders.csv").read_text().splitlines()[:2]
    ['customer_id,time,amount', 'c000,2025-01-20T09:00:00Z,35']
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    lines = ["customer_id,time,amount"]
    for number in range(CUSTOMERS):
        last = random.integers(60, DAYS) if number % 2 else DAYS
        rhythm, day = random.integers(3, 15), random.integers(0, 30)
        while day < last:
            time = _START + timedelta(days=int(day))
            lines.append(f"c{number:03d},{time:%Y-%m-%dT%H:%M:%SZ},{random.integers(10, 60)}")
            day += 1 + random.poisson(random.exponential(rhythm))
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = folder / "tenure.toml"
    config.write_text(_SETTINGS, encoding="utf-8")
    return config
