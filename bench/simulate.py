"""How fast a simulated log is made and written, beside bare numpy and pyarrow.

Both sides make the same number of rows, in files and row groups of the same size, in the same number of threads, and
flush them to disk. The bare side draws every column at random and knows no customers, no law and no truth, so its speed
is a bound for anything that writes such a log in Python. Rounds alternate between the sides; the fastest round of each
counts.

    python bench/simulate.py --scale 1
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.files import atomic_folder
from tenure.source.simulate import SimulationSpec, simulate
from tenure.source.simulation.blocks import BLOCK_SEATS
from tenure.source.simulation.service import equilibrium

CUSTOMERS = 50_000
KINDS = pa.array(["login", "session", "payment"])


@dataclass(frozen=True)
class Round:
    """One side's work in one round."""

    rows: int
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.rows:>12,} rows  {self.seconds:7.2f} s  {self.rows / self.seconds:>12,.0f} rows/s"
            f"  {self.rows / self.cpu_seconds:>12,.0f} rows per CPU second"
        )


def timed(work: Callable[[], int]) -> Round:
    wall, cpu = time.perf_counter(), time.process_time()
    rows = work()
    return Round(rows, time.perf_counter() - wall, time.process_time() - cpu)


def simulated(spec: SimulationSpec, out: Path, threads: int) -> int:
    # The pilot run that settles the churn rate belongs to the price of a simulation.
    equilibrium.cache_clear()
    return simulate(spec, out, overwrite=True, threads=threads).rows


def bare(rows: int, parts: int, groups: int, out: Path, threads: int) -> int:
    size = math.ceil(rows / (parts * groups))
    with atomic_folder(out, replace=out.exists()) as folder, ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: bare_part(size, groups, part, folder / f"part-{part}.parquet"), range(parts)))
    return size * parts * groups


def bare_part(size: int, groups: int, part: int, path: Path) -> None:
    rng = np.random.default_rng(part)
    names = pa.array([f"c{number:09d}" for number in range(BLOCK_SEATS)])
    writer = None
    for _ in range(groups):
        table = random_rows(size, names, rng)
        writer = writer or pq.ParquetWriter(path, table.schema, use_dictionary=["customer_id", "type"])
        writer.write_table(table, row_group_size=size)
    if writer:
        writer.close()


def random_rows(size: int, names: pa.Array, rng: np.random.Generator) -> pa.Table:
    times = rng.integers(0, 30 * 86_400_000_000, size)
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(rng.integers(0, len(names), size, dtype=np.int32), names),
            "time": pa.array(times, type=pa.timestamp("us", tz="UTC")),
            "id": np.arange(size),
            "type": pa.DictionaryArray.from_arrays(rng.integers(0, len(KINDS), size, dtype=np.int8), KINDS),
            "minutes": rng.random(size),
            "amount": rng.random(size),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help=f"multiple of {CUSTOMERS:,} customers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--faults", type=float, default=0.0, help="share of late, duplicate and corrupt events each")
    options = parser.parse_args()
    faults = options.faults
    customers = max(100, int(CUSTOMERS * options.scale))
    spec = SimulationSpec(customers=customers, late=faults, duplicates=faults, corrupt=faults)
    parts = math.ceil(customers / BLOCK_SEATS)
    rounds: dict[str, list[Round]] = {"simulate": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            ours = timed(partial(simulated, spec, Path(folder) / "simulated", options.threads))
            theirs = timed(partial(bare, ours.rows, parts, spec.months, Path(folder) / "bare", options.threads))
            rounds["simulate"].append(ours)
            rounds["bare"].append(theirs)
    best = {side: min(results, key=lambda result: result.seconds) for side, results in rounds.items()}
    print(f"{customers:,} customers, {spec.months} months, {options.threads} threads on {os.cpu_count()} cores")
    for side, result in best.items():
        print(f"{side:>9} {result}")
    ours, theirs = best["simulate"], best["bare"]
    print(f"simulate / bare: {ours.seconds / theirs.seconds:.2f} of the time, ", end="")
    print(f"{ours.cpu_seconds / ours.rows / (theirs.cpu_seconds / theirs.rows):.2f} of the CPU time")


if __name__ == "__main__":
    main()
