"""The `tenure.toml` of a simulated service.

Enters: what was simulated. Leaves: the text of a project file that reads the simulation's folder.
Invariant: its features are enough to work out the true hazard, so a project made from it shows what models lose and not
what features lack.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from tenure.core.time import format_instant

__all__ = ["project_file"]

# Event types with their values and categories, in the order of a customer's life.
_EVENTS = (
    ("login", (), ("channel",)),
    ("session", ("minutes",), ()),
    ("payment", ("amount",), ()),
    ("payment_failed", ("amount",), ()),
    ("ticket", (), ("channel",)),
    ("plan_change", (), ("plan",)),
    ("cancel", (), ()),
)
_FEATURES = """\
[[features]]
event = "login"
ops = ["count", "active_days", "days_since_last"]
windows = ["7d", "30d", "90d"]
trends = [["7d", "30d"], ["30d", "90d"]]

[[features]]
event = "session"
value = "minutes"
ops = ["count", "sum", "mean"]
windows = ["7d", "30d", "90d"]
trends = [["30d", "90d"]]

[[features]]
event = "payment"
value = "amount"
ops = ["sum"]
windows = ["30d", "90d"]

[[features]]
event = "payment_failed"
ops = ["count"]
windows = ["30d", "90d"]

[[features]]
event = "ticket"
ops = ["count"]
windows = ["30d", "90d"]

[[features]]
event = "plan_change"
ops = ["count"]
windows = ["30d", "90d"]
"""


def project_file(cutoffs: Sequence[datetime], corrupt: float) -> str:
    """The text of the project file.

    Parameters
    ----------
    cutoffs : sequence of datetime
        Cutoffs of the truth, in order; the last becomes the test cutoff.
    corrupt : float
        Share of corrupt rows; so many rejects are tolerated, since they were asked for.

    Examples
    --------
    >>> from datetime import UTC
    >>> text = project_file([datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 31, tzinfo=UTC)], corrupt=0.0)
    >>> [line for line in text.splitlines() if line.startswith(("train", "test"))]
    ['train = ["2024-01-01"]', 'test = ["2024-01-31"]']
    """
    *train, test = [f'"{format_instant(cutoff)}"' for cutoff in cutoffs]
    sections = [_HEAD, *[_event(*event) for event in _EVENTS], _churn(train, test), _FEATURES, _VALUE]
    if corrupt:
        # The reasons fall unevenly on the event types, and few events of a type make an uneven share.
        sections.append(f"[contract]\nmax_rejects = {min(1.0, 2 * corrupt + 0.05):g}\n")
    return "\n".join(sections)


_HEAD = """\
# A simulated subscription service. truth.parquet holds the true probabilities; no section reads it.
[project]
name = "simulated"

[customers]
path = "customers.parquet"
id = "customer_id"
since = "signup_at"
attributes = ["plan", "country"]
"""
_VALUE = """\
[value]
clv = 600
contact_cost = 10
save_rate = 0.3
"""


def _event(name: str, values: Sequence[str], categories: Sequence[str]) -> str:
    lines = [
        f"[events.{name}]",
        'path = "events/*.parquet"',
        'type = "type"',
        'customer = "customer_id"',
        'time = "time"',
        'recorded = "recorded"',
        'id = "id"',
    ]
    for key, columns in (("values", values), ("categories", categories)):
        if columns:
            lines.append(f"{key} = {json.dumps(columns)}")  # a list of texts looks the same in TOML
    return "\n".join(lines) + "\n"


def _churn(train: Sequence[str], test: str) -> str:
    return f"""\
[churn]
event = "cancel"
horizon = "30d"
every = "30d"
active = {{ events = ["login", "session"], within = "60d", at_least = 1 }}
train = [{", ".join(train)}]
test = [{test}]
"""
