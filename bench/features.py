"""Point-in-time features against a bare count, and against the same work in pandas.

At scale 1: 1 million customers, 50 million events of one year in one Parquet file, 35 window features. Both sides run
in one process on one DuckDB connection, in turn, and the medians are compared. Twelve monthly cutoffs follow, then a
tenth of the events for tenure and pandas. Nothing but ratios should be quoted from a noisy machine.

    python bench/features.py --scale 0.01
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from tenure.core.settings import ChurnSettings, FeatureSettings, RuntimeSettings
from tenure.core.time import parse_duration, window_start
from tenure.features.declare import FeatureSet, declare
from tenure.features.snapshot import Tables, open_tables, snapshot, write_snapshot
from tenure.source.engine import open_engine, read_parquet_sql
from tenure.source.history import EventTable, History

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = ("7d", "14d", "28d", "56d", "91d", "182d", "364d")
OPS = ("count", "sum", "mean", "min", "max")
CHURN = ChurnSettings(inactivity=("purchase",), horizon="28d", active={"within": "364d", "at_least": 2})


def generate(engine: duckdb.DuckDBPyConnection, customers: int, events: int, path: Path) -> Path:
    """Events spread evenly over customers and the year, ordered by time, as the source stage writes them."""
    step = (END - START) / timedelta(microseconds=1) / events
    engine.execute(
        f"""COPY (SELECT 'c' || lpad(CAST(hash(i) % {customers:d} AS VARCHAR), 9, '0') AS customer_id,
                  TIMESTAMP '2025-01-01' + to_microseconds(CAST(i * {step!r} AS BIGINT)) AS time,
                  (hash(i + 7) % 100000) / 100.0 AS amount FROM range({events:d}) t(i) ORDER BY i)
            TO '{path}' (FORMAT parquet, COMPRESSION zstd)"""
    )
    return path


def history(path: Path, customers: int, events: int) -> History:
    table = EventTable("purchase", (path,), events, customers, START, END, ("amount",), (), False, False)
    return History({"purchase": table}, None, None, path.name)


def features() -> FeatureSet:
    return declare((FeatureSettings(event="purchase", value="amount", ops=OPS, windows=WINDOWS),))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bare(engine: duckdb.DuckDBPyConnection, path: Path) -> None:
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE bare AS SELECT customer_id, count(*) FROM {read_parquet_sql([path])} GROUP BY 1"
    )


def write_one(tables: Tables, cutoff: datetime, folder: Path) -> int:
    return write_snapshot(tables, snapshot(tables, features(), CHURN, cutoff), folder / "snapshot.parquet")


def with_pandas(path: Path) -> pd.DataFrame:
    """The same 35 features in pandas: one grouped aggregation per window."""
    events = pd.read_parquet(path)
    events = events[events["time"] < END.replace(tzinfo=None)]
    parts: list[pd.DataFrame | pd.Series] = []
    for window in WINDOWS:
        start = window_start(END, parse_duration(window)).replace(tzinfo=None)
        grouped = events[events["time"] >= start].groupby("customer_id")["amount"]
        parts.append(grouped.agg(["size", "sum", "mean", "min", "max"]).add_suffix(f"_{window}"))
    activity = events.groupby("customer_id")["time"].agg(["min", "max"])
    return activity.join(parts)


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def months() -> list[datetime]:
    return [datetime(2025, month, 1, tzinfo=UTC) for month in range(2, 13)] + [END]


def compare_one(
    engine: duckdb.DuckDBPyConnection, tables: Tables, path: Path, rounds: int, folder: Path
) -> dict[str, float]:
    pairs = [
        (seconds(lambda: bare(engine, path)), seconds(lambda: write_one(tables, END, folder))) for _ in range(rounds)
    ]
    return {
        "bare_count_seconds": statistics.median(pair[0] for pair in pairs),
        "one_cutoff_seconds": statistics.median(pair[1] for pair in pairs),
        "one_cutoff_over_bare_count": statistics.median(pair[1] / pair[0] for pair in pairs),
    }


def run(scale: float, rounds: int, folder: Path) -> dict[str, float]:
    customers, events = max(100, round(1_000_000 * scale)), max(5_000, round(50_000_000 * scale))
    engine = open_engine(RuntimeSettings(memory="5GB"), folder / "workspace")
    path = generate(engine, customers, events, folder / "events.parquet")
    tables = open_tables(engine, history(path, customers, events))
    result: dict[str, float] = {"customers": customers, "events": events, "features": len(features().names)}
    result |= compare_one(engine, tables, path, rounds, folder)
    twelve = seconds(lambda: [write_one(tables, cutoff, folder) for cutoff in months()])
    result |= {"twelve_cutoffs_over_one": twelve / result["one_cutoff_seconds"], "peak_gigabytes": peak_gigabytes()}
    return result | tenth(engine, customers // 10, events // 10, rounds, folder)


def tenth(
    engine: duckdb.DuckDBPyConnection, customers: int, events: int, rounds: int, folder: Path
) -> dict[str, float]:
    path = generate(engine, customers, events, folder / "tenth.parquet")
    tables = open_tables(engine, history(path, customers, events))
    pairs = [
        (seconds(lambda: with_pandas(path)), seconds(lambda: write_one(tables, END, folder))) for _ in range(rounds)
    ]
    mine = pd.read_parquet(folder / "snapshot.parquet").set_index("customer_id").sort_index()
    theirs = with_pandas(path).loc[mine.index]
    for window in WINDOWS:
        np.testing.assert_array_equal(mine[f"purchase_count_{window}"], theirs[f"size_{window}"].fillna(0))
        np.testing.assert_allclose(mine[f"purchase_amount_sum_{window}"], theirs[f"sum_{window}"].fillna(0), rtol=1e-9)
    return {"pandas_over_tenure_on_a_tenth": statistics.median(pair[0] / pair[1] for pair in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: 1 million customers, 50 million events")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in run(options.scale, options.rounds, Path(folder)).items():
            print(f"{name:<32} {value:,.2f}")


if __name__ == "__main__":
    main()
