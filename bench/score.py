"""Scoring from Parquet to Parquet against `Booster.inplace_predict` over the same rows already in memory.

At scale 1: 10 million customers, 35 features, 300 trees of depth 6. The scoring side is what `tenure score` runs: read,
encode, predict, calibrate, work out money and decisions, write partitioned Parquet and the sorted contact list of
everybody who pays (no capacity, so the longest one). The other side predicts one matrix that it already holds. Each
side is a process of its own, so that the peak memory is that of scoring alone; they take turns, and the median of the
rounds' ratios is printed, in seconds and in seconds of the processors, which other work on the machine disturbs less.
Nothing but ratios should be quoted from a noisy machine.

    python bench/score.py --scale 0.01
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb

from tenure.core.settings import ValueSettings
from tenure.features.declare import FeatureSet
from tenure.model.calibrate import Calibration
from tenure.model.encode import Encoder
from tenure.model.family_xgboost import XGBoostFamily
from tenure.model.parts import Parts
from tenure.model.protocol import Examples, Matrix, sigmoid
from tenure.score.batch import Batch, score_batch
from tenure.score.predictor import Predictor
from tenure.score.rows import open_snapshot

COUNTS = [f"visit_count_{days}d" for days in (7, 14, 28, 56, 84, 168, 364)]
ACTIVE = [f"visit_active_days_{days}d" for days in (7, 14, 28, 56, 84, 168, 364)]
SUMS = [f"payment_amount_sum_{days}d" for days in (7, 14, 28, 56, 84, 168, 364)]
MEANS = [f"payment_amount_mean_{days}d" for days in (7, 14, 28, 56, 84, 168, 364)]
SPANS = ["visit_days_since_first", "visit_days_since_last", "visit_mean_gap", "visit_relative_recency", "tenure_days"]
OTHERS = ["payment_amount_mean_7d_over_28d", "plan"]
FEATURES = [*COUNTS, *ACTIVE, *SUMS, *MEANS, *SPANS, *OTHERS]
GROUP_ROWS = 122_880
AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
CALIBRATION = Calibration("sigmoid", slope=0.95, intercept=-0.05)
VALUE = ValueSettings(clv=600, contact_cost=10, save_rate=(0.1, 0.3))
TRAINING_ROWS = 60_000


def customers(first: int, rows: int) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Rows of a snapshot, and whether each customer leaves; the same rows whoever asks for them."""
    random = np.random.default_rng(first)
    rate = random.gamma(1.5, 1.0, rows)
    missing = random.random(rows) < 0.15
    columns: dict[str, Any] = {"customer_id": [f"c{number:09d}" for number in range(first, first + rows)]}
    columns |= {name: random.poisson(rate * (2 + index)) for index, name in enumerate(COUNTS)}
    columns |= {
        name: np.minimum(columns[count], 3 + 5 * i) for i, (name, count) in enumerate(zip(ACTIVE, COUNTS, strict=True))
    }
    columns |= {name: (random.gamma(1 + rate) * 40).round(2) for name in SUMS}
    columns |= {name: pa.array((random.gamma(2.0, 20, rows)).round(2), mask=missing) for name in MEANS}
    columns |= {name: pa.array(random.exponential(30, rows), mask=missing) for name in SPANS}
    columns[OTHERS[0]] = pa.array(random.lognormal(0, 0.4, rows), mask=missing)
    columns["plan"] = random.choice(["basic", "family", "plus", "student"], rows)
    odds = 1.0 - rate + 0.02 * np.asarray(columns[SUMS[0]]) / 40 + random.normal(0, 1, rows)
    return pa.table(columns), odds > 0.9


def prepare(folder: Path, rows: int, trees: int) -> None:
    """Write the snapshot in row groups as DuckDB makes them, and train the model."""
    table, label = customers(0, GROUP_ROWS)
    sample = table.select(FEATURES).slice(0, TRAINING_ROWS)
    encoder = Encoder.fit(sample)
    (folder / "encoder.json").write_text(json.dumps(encoder.to_json()))
    group = np.arange(TRAINING_ROWS)
    examples = Examples(encoder.transform(sample), label[:TRAINING_ROWS], group, encoder.layout)
    XGBoostFamily().fit(examples, {"rounds": trees, "max_depth": 6}, seed=0).save(folder)
    with pq.ParquetWriter(folder / "snapshot.parquet", table.schema, compression="zstd") as writer:
        for first in range(0, rows, GROUP_ROWS):
            writer.write_table(customers(first, GROUP_ROWS)[0].slice(0, rows - first))


def load(folder: Path) -> Parts:
    encoder = Encoder.from_json(json.loads((folder / "encoder.json").read_text()))
    return Parts("xgboost", FeatureSet(), encoder, XGBoostFamily().load(folder), CALIBRATION)


def score_once(folder: Path) -> Callable[[], dict[str, float]]:
    ready = Predictor("v1", "0f", tuple(FEATURES), load(folder).predict)
    snapshot = open_snapshot([folder / "snapshot.parquet"], "0f")

    began: dict[str, float] = {}

    def watch(stage: str, done: float) -> None:
        if not done:
            began[stage] = time.perf_counter()

    def run() -> dict[str, float]:
        shutil.rmtree(folder / "workspace", ignore_errors=True)
        started = time.perf_counter()
        summary = score_batch(Batch(snapshot, ready, VALUE, AS_OF), folder / "workspace", progress=watch)
        seconds = time.perf_counter() - started
        return {
            "seconds": seconds,
            "contact_list_seconds": began["publish"] - began["contacts"],
            "contacts": summary.contacts.contacts,
            "churners": summary.tally.expected_churners,
        }

    return run


def predict_once(folder: Path) -> Callable[[], dict[str, float]]:
    encoder = load(folder).encoder
    booster = xgb.Booster(model_file=folder / "model.ubj")
    matrix = in_memory(encoder, folder / "snapshot.parquet")

    def run() -> dict[str, float]:
        started = time.perf_counter()
        margin = booster.inplace_predict(matrix, predict_type="margin")
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "churners": float(CALIBRATION.apply(sigmoid(margin.astype(np.float64))).sum())}

    return run


def in_memory(encoder: Encoder, path: Path) -> Matrix:
    """All rows as one matrix, column by column in memory, which is the layout that predicts fastest here."""
    file = pq.ParquetFile(path)
    matrix = np.empty((file.metadata.num_rows, len(FEATURES)), dtype=np.float32, order="F")
    row = 0
    for batch in file.iter_batches(GROUP_ROWS, columns=FEATURES):
        matrix[row : row + batch.num_rows] = encoder.transform(pa.Table.from_batches([batch]))
        row += batch.num_rows
    return matrix


def serve(side: str, folder: Path) -> None:
    """Run one side once for every line that comes in, and answer with what it took."""
    run = score_once(folder) if side == "score" else predict_once(folder)
    print("{}", flush=True)
    for _ in sys.stdin:
        before = time.process_time()
        answer = run()
        answer["cpu_seconds"] = time.process_time() - before
        answer["peak_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(answer), flush=True)


class Side:
    """A process that runs one side when it is asked."""

    def __init__(self, side: str, folder: Path) -> None:
        command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> dict[str, float]:
        if self.process.stdout is None or not (line := self.process.stdout.readline()):
            raise SystemExit("A side of the benchmark ended early.")
        found: dict[str, float] = json.loads(line)
        return found

    def once(self) -> dict[str, float]:
        """Run it and wait for what it says."""
        print("once", file=self.process.stdin, flush=True)
        return self._answer()


def compare(folder: Path, rounds: int) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    score, predict = Side("score", folder), Side("predict", folder)
    for _ in range(rounds):
        yield score.once(), predict.once()
    for side in (score, predict):
        side.process.communicate()


def measure(scale: float, rounds: int, trees: int, folder: Path) -> dict[str, float]:
    rows = max(1_000, round(10_000_000 * scale))
    # In a process of its own: whoever starts the sides should not hold memory that they would inherit.
    options = ["--side", "prepare", "--folder", str(folder), "--rows", str(rows), "--trees", str(trees)]
    subprocess.run([sys.executable, __file__, *options], check=True)
    pairs = list(compare(folder, rounds))
    score, predict = pairs[-1]
    np.testing.assert_allclose(score["churners"], predict["churners"], rtol=1e-6)
    return {
        "customers": rows,
        "contacts": score["contacts"],
        "snapshot_gigabytes": (folder / "snapshot.parquet").stat().st_size / 2**30,
        "predict_seconds": statistics.median(pair[1]["seconds"] for pair in pairs),
        "score_seconds": statistics.median(pair[0]["seconds"] for pair in pairs),
        "of_which_contact_list": statistics.median(pair[0]["contact_list_seconds"] for pair in pairs),
        "score_over_predict": statistics.median(pair[0]["seconds"] / pair[1]["seconds"] for pair in pairs),
        "the_same_in_cpu_seconds": statistics.median(pair[0]["cpu_seconds"] / pair[1]["cpu_seconds"] for pair in pairs),
        "score_peak_gigabytes": score["peak_gigabytes"],
        "predict_peak_gigabytes": predict["peak_gigabytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: 10 million customers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--side", choices=["prepare", "score", "predict"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "prepare":
        prepare(options.folder, options.rows, options.trees)
    elif options.side:
        serve(options.side, options.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name, value in measure(options.scale, options.rounds, options.trees, Path(folder)).items():
                print(f"{name:<24} {value:,.2f}")


if __name__ == "__main__":
    main()
