"""One customer from plain values to a calibrated probability, against a bare `Booster.inplace_predict` of one row.

The first side is what a live score pays: a mapping of 56 raw values goes through encoder, trees and calibration. The
other gets the finished row of float32 and asks the same booster, on one thread, which is fastest for one row and no
victim of whatever else the machine does. They take turns, so that both see the same machine; medians, 99th percentiles
and the median of the paired ratios are printed. A table of one row, the way that is made for millions, stands beside
them, and so do boosters of several sizes. Everybody gives the same answer, or it ends here.

    python bench/predict.py --scale 0.1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from tenure.features.declare import FeatureSet
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.family_xgboost import XGBoostFamily, XGBoostModel
from tenure.model.parts import Parts
from tenure.model.protocol import Examples, Matrix, sigmoid
from tenure.testing.telecom import telecom

ROWS = 8_000
CALLS = 4_000
SIZES = ((100, 3), (300, 3), (300, 6))
Given = TypeVar("Given")
Answer = TypeVar("Answer")
CALIBRATION = Calibration("sigmoid", slope=0.95, intercept=-0.05)


def measure(rounds: int, depth: int, calls: int) -> None:
    table, label = telecom(ROWS)
    encoder = Encoder.fit(table)
    examples = Examples(encoder.transform(table), label, np.arange(ROWS), encoder.layout)
    model = XGBoostFamily().fit(examples, {"rounds": rounds, "max_depth": depth}, seed=0)
    if not isinstance(model, XGBoostModel):
        raise SystemExit("The family gave a foreign model.")
    booster = model.booster.copy()
    booster.set_param({"nthread": 1})
    parts = Parts("xgboost", FeatureSet(), encoder, model, CALIBRATION)

    def ask(row: Matrix) -> Matrix:
        return np.asarray(booster.inplace_predict(row, predict_type="margin"))

    rows, seconds = table.slice(0, 200).to_pylist(), np.empty((calls, 3))
    encoded = [np.ascontiguousarray(model.means.apply(encoder.transform(table.slice(i, 1)))) for i in range(200)]
    for call in range(-50, calls):
        values, row, one = rows[call % 200], encoded[call % 200], table.slice(call % 200, 1)
        took, found = clocked(parts.predict_row, values)
        bare, margin = clocked(ask, row)
        full, among = clocked(parts.predict, one)
        if found != among[0] or found != CALIBRATION.apply(sigmoid(margin.astype(np.float64)))[0]:
            raise SystemExit("The sides differ.")
        if call >= 0:
            seconds[call] = took, bare, full
    show(f"{rounds} rounds of depth {depth}, {len(model.booster.get_dump()):,} trees", seconds)


def clocked(work: Callable[[Given], Answer], given: Given) -> tuple[float, Answer]:
    began = time.perf_counter()
    found = work(given)
    return time.perf_counter() - began, found


def show(name: str, seconds: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    print(name)
    bare = seconds[:, 1]
    for place, side in enumerate(("predict_row", "bare inplace_predict", "table of one row")):
        p50, p99 = np.quantile(seconds[:, place], [0.5, 0.99]) * 1e6
        ratio = np.median(seconds[:, place] / bare)
        print(f"  {side:<22} p50 {p50:8.1f} µs   p99 {p99:8.1f} µs   {ratio:6.2f} times the bare call")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help=f"1: {CALLS:,} calls")
    options = parser.parse_args()
    for rounds, depth in SIZES:
        measure(rounds, depth, max(100, round(CALLS * options.scale)))


if __name__ == "__main__":
    main()
