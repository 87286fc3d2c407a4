"""A small simulated business for the tests of training and evaluation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from tenure.model.frame import Frame
from tenure.model.split import Split

CUTOFFS = tuple(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=28 * step) for step in range(4))
SPLIT = Split(train=CUTOFFS[:3], test=CUTOFFS[3:])


def world(customers: int = 300, *, seed: int = 0, cutoffs: tuple[datetime, ...] = CUTOFFS) -> Frame:
    """The same customers at several cutoffs: those who visit seldom are lost more often."""
    random = np.random.default_rng(seed)
    parts = len(cutoffs)
    rate = np.tile(random.gamma(2, 2, customers), parts)
    visits = random.poisson(rate)
    label = random.random(customers * parts) < 1 / (1 + np.exp(0.6 * (rate - 2)))
    features = {
        "visits": visits,
        "plan": np.where(rate > 4, "plus", "basic"),
        "spend": np.where(visits > 0, visits * random.lognormal(2, 0.5, len(visits)), np.nan),
        "site": np.full(len(visits), "main"),
    }
    activity = pa.table(
        {
            "_days_since_last": 30 / (1 + visits + random.random(len(visits))),
            "_count": visits,
            "_relative_recency": random.random(len(visits)),
        }
    )
    times = np.repeat(np.array([c.replace(tzinfo=None) for c in cutoffs], dtype="datetime64[us]"), customers)
    ids = np.tile([f"c{i}" for i in range(customers)], parts)
    return Frame.of(ids, label, pa.table(features), times, activity)
