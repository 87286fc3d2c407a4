"""Reading and checking a log against merely copying it, and against the same checks in pandas.

At scale 1: 50 million events of 1 million customers, once as Parquet and once as CSV. The yardstick is DuckDB copying
the same Parquet file in order of time, with no check at all. A tenth of the events then goes through tenure and
through pandas, which has to find the same accepted rows. Memory is limited to 4 GB. Nothing but ratios should be
quoted from a noisy machine.

    python bench/ingest.py --scale 0.01
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tenure.core.config import settings_from
from tenure.core.settings import RuntimeSettings
from tenure.core.time import fixed_clock
from tenure.source.engine import open_engine, quote_literal, read_parquet_sql
from tenure.source.ingest import Ingested, ingest

NOW = "2026-02-01"
BAD = 500  # one row in so many has no customer, one has a word for an amount, one lies in the future


def generate(engine: duckdb.DuckDBPyConnection, customers: int, events: int, folder: Path, name: str) -> Path:
    """A log in no order, with three kinds of faults, as Parquet and as CSV."""
    path = folder / f"{name}.parquet"
    engine.execute(
        f"""COPY (SELECT CASE WHEN i % {BAD:d} = 1 THEN NULL ELSE 'c' || (hash(i) % {customers:d}) END AS customer_id,
                  TIMESTAMP '2025-01-01' + to_seconds((hash(i + 1) % 31000000)::BIGINT)
                      + CASE WHEN i % {BAD:d} = 2 THEN INTERVAL 10 YEAR ELSE INTERVAL 0 DAY END AS time,
                  CASE WHEN i % {BAD:d} = 3 THEN 'many' ELSE ((hash(i + 7) % 100000) / 100.0)::VARCHAR END AS amount,
                  's' || (hash(i + 3) % 300) AS shop FROM range({events:d}) t(i))
            TO {quote_literal(str(path))} (FORMAT parquet)"""
    )
    csv_sql = quote_literal(str(folder / f"{name}.csv"))
    engine.execute(f"COPY (SELECT * FROM {read_parquet_sql([path])}) TO {csv_sql} (HEADER true)")
    return path


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bare(engine: duckdb.DuckDBPyConnection, path: Path, folder: Path) -> None:
    target_sql = quote_literal(str(folder / "bare.parquet"))
    ordered_sql = f"SELECT * FROM {read_parquet_sql([path])} ORDER BY time"
    engine.execute(f"COPY ({ordered_sql}) TO {target_sql} (FORMAT parquet, COMPRESSION zstd)")


def with_tenure(folder: Path, path: str) -> Ingested:
    section: dict[str, Any] = {"path": path, "values": ["amount"], "categories": ["shop"]}
    settings = settings_from(
        {
            "events": {"order": section},
            "churn": {"inactivity": ["order"], "horizon": "28d"},
            "runtime": {"memory": "4GB"},
        }
    )
    shutil.rmtree(folder / ".tenure", ignore_errors=True)
    return ingest(settings, folder, folder / ".tenure", fixed_clock(NOW))


def with_pandas(folder: Path, name: str) -> pd.DataFrame:
    """The same checks by hand."""
    frame = pd.read_csv(folder / name, dtype=str)
    frame["time"] = pd.to_datetime(frame["time"], errors="coerce")
    frame["number"] = pd.to_numeric(frame["amount"], errors="coerce")
    known = frame["customer_id"].notna() & frame["time"].between("1971-01-01", NOW)
    accepted: pd.DataFrame = frame[known & np.isfinite(frame["number"])].sort_values("time")
    accepted.to_parquet(folder / "pandas.parquet", index=False)
    return accepted


def run(scale: float, rounds: int, folder: Path) -> dict[str, float]:
    customers, events = max(100, round(1_000_000 * scale)), max(5_000, round(50_000_000 * scale))
    with open_engine(RuntimeSettings(memory="4GB"), folder / "workspace") as engine:
        path = generate(engine, customers, events, folder, "log")
        generate(engine, customers // 10, events // 10, folder, "tenth")
        copied = statistics.median(seconds(lambda: bare(engine, path, folder)) for _ in range(rounds))
    result: dict[str, float] = {"events": events, "bare_copy_seconds": copied}
    for kind in ("parquet", "csv"):
        taken = statistics.median(seconds(partial(with_tenure, folder, f"log.{kind}")) for _ in range(rounds))
        result |= {f"{kind}_seconds": taken, f"{kind}_over_bare_copy": taken / copied}
    result["peak_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return result | tenth(folder, rounds)


def tenth(folder: Path, rounds: int) -> dict[str, float]:
    pairs = [
        (seconds(lambda: with_pandas(folder, "tenth.csv")), seconds(lambda: with_tenure(folder, "tenth.csv")))
        for _ in range(rounds)
    ]
    mine, theirs = with_tenure(folder, "tenth.csv").history.events["order"], with_pandas(folder, "tenth.csv")
    if (mine.rows, mine.customers) != (len(theirs), theirs["customer_id"].nunique()):
        raise SystemExit("pandas accepts other rows than tenure")
    return {"pandas_over_tenure_on_a_tenth_as_csv": statistics.median(pair[0] / pair[1] for pair in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1: 50 million events")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in run(options.scale, options.rounds, Path(folder)).items():
            print(f"{name:<38} {value:,.2f}")


if __name__ == "__main__":
    main()
