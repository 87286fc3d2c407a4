"""A person at the command line: runs verbs in this process, and makes small logs and tables to run them on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.cli.main import main

START = datetime(2025, 1, 1)  # noqa: DTZ001 - written as text without an offset
DAYS = 120
LIGHT = '[model]\nfamily = "logistic"\nfallback = "logistic"\n[runtime]\nthreads = 1\n'
CHURN = """\
[churn]
inactivity = ["visit"]
horizon = "14d"
active = { events = ["visit"], within = "28d", at_least = 1 }
every = "14d"
"""
FEATURES = """\
[[features]]
event = "visit"
ops = ["count", "days_since_last"]
windows = ["7d", "28d"]
"""
VISITS = f'[events.visit]\npath = "log.csv"\n\n{CHURN}\n{FEATURES}\n{LIGHT}'
TABLE = f'[table]\npath = "table.parquet"\nid = "id"\nlabel = "churn"\npositive = "Yes"\n\n{LIGHT}'


@dataclass(frozen=True)
class Ran:
    """How a verb ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed: one document, or reading it fails."""
        return json.loads(self.out)


def tenure(*arguments: object) -> Ran:
    """Run the program as `tenure ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Ran(code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> Ran:
    """Run a verb that has to succeed."""
    ran = tenure(*arguments)
    assert ran.code == 0, ran.err
    return ran


def refused(*arguments: object, says: Iterable[str], code: int = 2) -> dict[str, Any]:
    """Run a verb that has to be refused, with a message that holds all of `says` and a next step; the error."""
    ran = tenure(*arguments, "--json")
    assert ran.code == code, ran.out + ran.err
    assert "Traceback" not in ran.err
    error: dict[str, Any] = ran.document["error"]
    assert set(error) == {"code", "message", "hint", "retryable"}
    assert error["hint"]
    assert error["message"] in ran.err
    assert f"→ {error['hint']}" in ran.err
    told = f"{error['message']}\n{error['hint']}"
    missing = [text for text in says if text not in told]
    assert not missing, f"{missing} not in: {told}"
    return error


def write_project(folder: Path, settings: str, **files: str | bytes | pa.Table) -> Path:
    """Write settings and files (`log_csv` becomes `log.csv`) into a folder; the path of the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, content in files.items():
        path = folder / key.replace("_", ".")
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    config = folder / "tenure.toml"
    config.write_text(settings, encoding="utf-8")
    return config


def visits(customers: int = 160, *, stay: float = 0.985, seed: int = 0, ids: Sequence[str] = ()) -> str:
    """A log as CSV: customers come on three days in ten until they leave; those named in `ids` never leave."""
    random = np.random.default_rng(seed)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["customer_id", "time"])
    for name in [*ids, *(f"c{number}" for number in range(customers))]:
        life = DAYS if name in ids else min(DAYS, int(random.geometric(1 - stay)))
        days = np.flatnonzero(random.random(life) < 0.3)
        times = (START + timedelta(days=int(day), hours=int(random.integers(24))) for day in days)
        lines.writerows([name, time.isoformat()] for time in times)
    return text.getvalue()


def customers(rows: int = 400, seed: int = 0, **more: Any) -> pa.Table:
    """A plain table in which those who leave come less often."""
    random = np.random.default_rng(seed)
    left = random.random(rows) < 0.3
    columns = {
        "id": [f"k{number}" for number in range(rows)],
        "visits": np.where(left, random.poisson(3, rows), random.poisson(6, rows)),
        "spend": random.gamma(2, 10, rows).round(2),
        "plan": random.choice(["basic", "plus", "pro"], rows),
        "churn": np.where(left, "Yes", "No"),
    }
    return pa.table(columns | more)


def has_left(table: pa.Table) -> Any:
    """Who left, as a bool array."""
    return np.asarray(table["churn"].to_pylist()) == "Yes"


def read_contacts(path: Path) -> list[dict[str, str]]:
    """The rows of a contact list."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
