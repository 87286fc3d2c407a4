"""Reasons against `shap.TreeExplainer`, on the same trees and the same rows.

A model is trained as `tenure train` would choose it: 35 features, a category of many values and one of few, trees of
depth 6, four to a round. `shap.TreeExplainer` gets the trees and the matrix that they see, so both sides start from
float32 in memory and end with one number per row and feature. They take turns, and the median of the rounds' ratios is
printed. Then one customer: what the reasons cost beyond the score itself, from the raw row to the words; also in
time of the processor, which other work on the machine disturbs less.

The largest difference between the two sides is printed too; more than 1e-4 of log odds would be another model's answer.

    python bench/explain.py --scale 0.1
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb

from tenure.core.extras import require
from tenure.features.declare import Attribute, FeatureSet
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.family_xgboost import XGBoostFamily, XGBoostModel
from tenure.model.parts import Parts
from tenure.model.protocol import Examples, Flags
from tenure.model.usual import Usual
from tenure.score.explain import Explainer

NUMBERS, TRAINING_ROWS, ROWS = 33, 20_000, 10_000


def customers(rows: int, seed: int) -> tuple[pa.Table, Flags]:
    """Numbers with gaps, a plan and a town, and who leaves."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, NUMBERS))
    plan, town = random.integers(0, 4, rows), random.integers(0, 200, rows)
    odds = values[:, :6].sum(axis=1) * 0.5 + values[:, 6] * values[:, 7] + (plan == 2) + (town < 40) - 1.5
    columns: dict[str, Any] = {
        f"x{place:02d}": pa.array(values[:, place], mask=random.random(rows) < 0.1) for place in range(NUMBERS)
    }
    columns |= {"plan": [f"plan {code}" for code in plan.tolist()], "town": [f"town {code}" for code in town.tolist()]}
    return pa.table(columns), random.random(rows) < 1 / (1 + np.exp(-odds))


def trained(rounds: int, depth: int) -> Parts:
    """A version's parts, with everything that an explanation needs."""
    table, label = customers(TRAINING_ROWS, seed=0)
    encoder = Encoder.fit(table)
    examples = Examples(encoder.transform(table), label, np.arange(len(label)), encoder.layout)
    model = XGBoostFamily().fit(examples, {"rounds": rounds, "max_depth": depth}, seed=0)
    kinds = [Attribute(name, "text" if name in {"plan", "town"} else "number") for name in table.column_names]
    features = FeatureSet(attributes=tuple(kinds))
    return Parts("xgboost", features, encoder, model, Calibration("sigmoid", slope=0.95), Usual.of(encoder, table))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def batch(parts: Parts, rows: int, rounds: int) -> dict[str, float]:
    """Reasons of many rows as numbers: both sides from the same encoded matrix."""
    model = parts.model
    if not isinstance(model, XGBoostModel):
        raise TypeError("The comparison needs trees.")
    matrix = parts.encoder.transform(customers(rows, seed=1)[0])
    seen = model.means.apply(matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = require("shap").TreeExplainer(model.booster)
    kinds = model.booster.feature_types

    def theirs() -> Any:
        return explainer.shap_values(xgb.DMatrix(seen, feature_types=kinds, enable_categorical=True))

    first = seconds(lambda: model.contributions(matrix[:1]))  # the tables are worked out once per loaded version
    ratios, own, other = [], [], []
    for _ in range(rounds):
        own.append(seconds(lambda: model.contributions(matrix)))
        other.append(seconds(theirs))
        ratios.append(other[-1] / own[-1])
    return {
        "rows": rows,
        "trees": len(model.booster.get_dump()),
        "times as fast as shap.TreeExplainer": statistics.median(ratios),
        "tenure, rows a second": rows / statistics.median(own),
        "shap, rows a second": rows / statistics.median(other),
        "largest difference, log odds": float(np.abs(model.contributions(matrix).values - theirs()).max()),
        "first explanation of a loaded version, ms": 1000 * first,
    }


def single(parts: Parts, repeats: int) -> dict[str, float]:
    """One customer from the raw row: the score alone, and the score with its reasons in words."""
    table, _ = customers(repeats, seed=2)
    explainer = Explainer(parts)
    explainer.explain(table.slice(0, 1), ["first"])
    score, reasons, processor = [], [], []
    for row in range(repeats):
        one = table.slice(row, 1)
        score.append(seconds(partial(parts.predict, one)))
        began = time.process_time()
        reasons.append(seconds(partial(explainer.explain, one, ["customer"])))
        processor.append(time.process_time() - began)
    return {
        "score of one customer, ms": 1000 * statistics.median(score),
        "its reasons, ms": 1000 * statistics.median(reasons),
        "its reasons, ms of the processor": 1000 * statistics.median(processor),
        "its reasons, 99th percentile, ms": 1000 * float(np.quantile(reasons, 0.99)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="1 explains 10,000 rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boosting-rounds", type=int, default=100)
    parser.add_argument("--depth", type=int, default=6)
    given = parser.parse_args()
    parts = trained(given.boosting_rounds, given.depth)
    found = batch(parts, max(100, int(ROWS * given.scale)), given.rounds) | single(
        parts, max(50, int(300 * given.scale))
    )
    print(json.dumps({name: round(value, 7) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
