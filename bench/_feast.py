"""The side of `bench/online.py` that is Feast: run by an interpreter that has it, which need not have tenure.

Enters: a folder with `features.parquet`, the port of a Redis, and then calls as lines of JSON, each a list of lists of
customers. Leaves: for each line the seconds that every call took, as Feast answers and until
its answer is Python's numbers, and the values of the last one.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

VIEW, ENTITY, TIME = "customer_features", "customer_id", "event_timestamp"


def open_store(folder: Path, port: int) -> tuple[Any, list[str]]:
    """A feature store with one view in Redis, filled, and the names of its features."""
    feast, types = importlib.import_module("feast"), importlib.import_module("feast.types")
    frame = importlib.import_module("pandas").read_parquet(folder / "features.parquet")
    names = [name for name in frame.columns if name not in {ENTITY, TIME}]
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project="bench",
            registry=str(folder / "registry.db"),
            provider="local",
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"},
            offline_store={"type": "file"},
            entity_key_serialization_version=3,
        )
    )
    customer = feast.Entity(name="customer", join_keys=[ENTITY], value_type=feast.ValueType.STRING)
    view = feast.FeatureView(
        name=VIEW,
        entities=[customer],
        ttl=timedelta(days=3650),
        schema=[feast.Field(name=ENTITY, dtype=types.String)]
        + [feast.Field(name=name, dtype=types.Float64) for name in names],
        source=feast.FileSource(path=str(folder / "features.parquet"), timestamp_field=TIME),
        online=True,
    )
    store.apply([customer, view])
    store.write_to_online_store(VIEW, frame)
    return store, names


def main() -> None:
    logging.disable(logging.CRITICAL)
    store, names = open_store(Path(sys.argv[1]), int(sys.argv[2]))
    asked = [f"{VIEW}:{name}" for name in names]
    print("{}", flush=True)
    for line in sys.stdin:
        seconds, as_values = [], []
        for customers in json.loads(line):
            rows = [{ENTITY: customer} for customer in customers]
            started = time.perf_counter()
            response = store.get_online_features(features=asked, entity_rows=rows)
            seconds.append(time.perf_counter() - started)
            values = response.to_dict()
            as_values.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds, "seconds_to_values": as_values, "values": values}), flush=True)


if __name__ == "__main__":
    main()
