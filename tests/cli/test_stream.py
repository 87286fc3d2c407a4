"""The verbs of `tenure stream`: from a file of events to fresh features, and what is refused on the way."""

from __future__ import annotations

import io
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tenure.app.place import Place
from tenure.app.stream import open_stream
from tenure.source.log import partition_of
from tenure.store.protocol import Update
from tests.cli.world import TABLE, customers, done, refused, tenure, write_project

ROOT = Path(__file__).parents[2]
SETTINGS = """\
[events.visit]
path = "history.csv"
id = "id"
values = ["minutes"]

[churn]
inactivity = ["visit"]
horizon = "14d"

[[features]]
event = "visit"
ops = ["count", "days_since_last"]
windows = ["7d", "all"]

[[features]]
event = "visit"
value = "minutes"
ops = ["sum"]
windows = ["all"]

[stream]
archive_every = "1s"

[runtime]
threads = 1
"""
HISTORY = "customer_id,time,id,minutes\nana,2026-01-01T00:00:00,h1,30\nben,2026-01-02T00:00:00,h2,20\n"
MAIN = "import sys; from tenure.cli.main import main; sys.exit(main(sys.argv[1:]))"
READY_SECONDS = 90


def visit(number: int, customer: str = "ana", **more: Any) -> dict[str, Any]:
    time = datetime(2026, 1, 3, tzinfo=UTC) + timedelta(minutes=number)
    return {"type": "visit", "id": f"v{number}", "customer_id": customer, "time": time.isoformat(), "minutes": 5} | more


def lines(path: Path, documents: Iterable[dict[str, Any] | str]) -> Path:
    texts = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path, SETTINGS, history_csv=HISTORY)


@pytest.fixture
def filled(config: Path) -> Path:
    """A project whose stream has folded forty visits of four customers."""
    names = ["ana", "ben", "cat", "dan"]
    path = lines(config.parent / "events.jsonl", [visit(n, names[n % 4]) for n in range(40)])
    done("stream", "append", path, "-c", config)
    done("stream", "--until-caught-up", "-c", config)
    return config


def total(config: Path) -> int:
    with open_stream(Place.load(config)) as (stream, _):
        return sum(end - first for first, end in stream.log.bounds().values())


def test_from_a_file_to_fresh_features(filled: Path) -> None:
    shown = done("stream", "show", "cat", "-c", filled, "--json").document
    assert shown["features"]["visit_count"] == 10
    assert shown["features"]["visit_minutes_sum"] == 50.0
    assert shown["events_from"] == "online"
    assert shown["events_age_seconds"] >= 0
    status = done("stream", "status", "-c", filled, "--json").document
    assert (status["ready"], status["lag"], status["behind_seconds"]) == (True, 0, 0.0)
    assert (status["customers"], status["events"], status["dead_letters"]) == (4, 40, {})
    assert sum(one["archived"] for one in status["partitions"]) == 40
    assert "Everything is folded." in done("stream", "status", "-c", filled).out
    assert "visit_minutes_sum" in done("stream", "show", "cat", "-c", filled).out


def test_the_same_file_twice_counts_once(filled: Path) -> None:
    done("stream", "append", filled.parent / "events.jsonl", "-c", filled)
    run = done("stream", "run", "--until-caught-up", "-c", filled, "--json").document
    assert (run["records"], run["events"], run["duplicates"]) == (40, 0, 40)
    assert done("stream", "show", "cat", "-c", filled, "--json").document["features"]["visit_count"] == 10


def test_one_bad_event_keeps_the_others_out(config: Path) -> None:
    late = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    bad = [visit(1, type="vist"), visit(2, id=None), visit(3, time=late), visit(4, minutes="long")]
    path = lines(config.parent / "events.jsonl", [visit(0), "{broken", *bad, visit(9)])
    ran = tenure("stream", "append", path, "-c", config, "--json")
    assert ran.code == 2
    assert (ran.document["read"], ran.document["appended"]) == (7, 0)
    assert ran.document["refused"] == {
        "malformed event": 1,
        "unknown type": 1,
        "missing id": 1,
        "time in the future": 1,
        "minutes is not a number": 1,
    }
    assert [one["place"] for one in ran.document["examples"]] == [f"events.jsonl, line {n}" for n in range(2, 7)]
    told = tenure("stream", "append", path, "-c", config)
    assert told.code == 2
    assert "5 of 7 events were refused" in told.out
    assert "--skip-bad" in told.out
    assert total(config) == 0
    skipped = done("stream", "append", path, "--skip-bad", "-c", config, "--json").document
    assert skipped["appended"] == total(config) == 2


def test_events_come_from_parquet_and_standard_input(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"customer_id": ["ana", "ben"], "time": ["2026-01-05"] * 2, "id": [1, 2], "minutes": [3.5, None]})
    write_project(config.parent, SETTINGS, new_parquet=table)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(visit(7)).encode())))
    found = done("stream", "append", config.parent / "new.parquet", "-", "--type", "visit", "-c", config, "--json")
    assert found.document["appended"] == total(config) == 3


def test_dead_letters_are_listed_and_tried_again(config: Path) -> None:
    with open_stream(Place.load(config)) as (stream, _):
        stream.log.append(
            [("ana", json.dumps(visit(1)).encode()), ("ana", b"junk"), ("ana", b'{"customer_id": "ana"}')]
        )
    assert done("stream", "--until-caught-up", "-c", config, "--json").document["dead"] == 2
    found = done("stream", "dead", "list", "-c", config, "--json").document
    assert found["waiting"] == {"malformed event": 1, "missing type": 1}
    assert found["unretryable"] == 1
    assert "junk" in {letter["record"] for letter in found["letters"]}
    only = done("stream", "dead", "list", "--reason", "missing type", "--limit", 1, "-c", config, "--json").document
    assert [letter["reason"] for letter in only["letters"]] == ["missing type"]
    assert "malformed event: 1" in done("stream", "dead", "list", "-c", config).out
    again = done("stream", "dead", "retry", "-c", config, "--json").document
    assert again == {"appended": 1, "unretryable": 1}
    assert total(config) == 4
    says = ["No letter waits", "'missing type'", "malformed event"]
    refused("stream", "dead", "retry", "--reason", "missing type", "-c", config, says=says)


def test_history_fills_the_store_and_the_log_goes_on(config: Path) -> None:
    path = lines(config.parent / "events.jsonl", [visit(0), visit(1, id="h1", time="2026-01-01T00:00:00")])
    done("stream", "append", path, "-c", config)
    found = done("stream", "bootstrap", "--as-of", "2026-01-02", "-c", config, "--json").document
    assert found["as_of"] == "2026-01-02"
    assert done("stream", "show", "ana", "-c", config, "--json").document["features"]["visit_count"] == 2
    refused("stream", "show", "ben", "-c", config, says=["Nothing is known", "'ben'"])
    assert done("stream", "bootstrap", "-c", config, "--json").document["as_of"] == "2026-01-02T00:00:01Z"
    assert done("stream", "rebuild", "-c", config, "--json").document["partitions"]
    for name, count in (("ana", 2), ("ben", 1)):
        shown = done("stream", "show", name, "-c", config, "--json").document
        assert shown["features"]["visit_count"] == count
        assert shown["attributes_age_seconds"] > 0
    assert done("stream", "publish", "-c", config, "--json").document == {"as_of": "2026-01-02T00:00:01Z", "rows": 2}
    assert done("stream", "verify", "-c", config, "--json").document["equal"]


def test_parity_says_no_where_a_state_is_wrong(filled: Path) -> None:
    equal = done("stream", "verify", "--sample", 3, "--seed", 7, "-c", filled, "--json").document
    assert (equal["customers"], equal["differences"], equal["equal"]) == (3, [], True)
    with open_stream(Place.load(filled)) as (stream, _):
        [ana] = stream.store.read(["ana"])
        assert ana.mark is not None
        emptied = stream.store.reset(ana.partition, ana.mark.note)
        stream.store.apply(ana.partition, emptied, Update(position=ana.mark.position, note=ana.mark.note))
    ran = tenure("stream", "verify", "--customer", "ana", "-c", filled, "--json")
    assert ran.code == 3
    wrong = {one["feature"]: (one["online"], one["history"]) for one in ran.document["differences"]}
    assert wrong["visit_count"] == (0.0, 10)
    told = tenure("stream", "verify", "--customer", "ana", "-c", filled)
    assert told.code == 3
    assert "features differ" in told.out
    others = [name for name in ("ben", "cat", "dan") if partition_of(name, 4) != ana.partition]
    assert done("stream", "verify", "--customer", others[0], "-c", filled, "--json").document["customers"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["append", "no.jsonl"], ["no.jsonl"]),
        (["append", "history.csv"], ["neither JSON Lines nor Parquet"]),
        (["append", "events.jsonl", "--type", "vist"], ["'vist'", "Did you mean 'visit'?"]),
        (["status", "--set", "stream.log=mysql://x"], ["mysql://", "kafka://"]),
        (["status", "--set", "store.online=mysql://x"], ["'mysql'", "redis"]),
        (["status", "--set", "stream.partitions=8"], ["4 partitions", "8"]),
        (["status", "--over", "soon"], ["'soon'"]),
        (["bootstrap", "--as-of", "2199-01-01"], ["2199-01-01", "future"]),
        (["bootstrap", "--as-of", "2001-01-01"], ["before the data", "2026-01-01"]),
        (["publish", "--as-of", "2199-01-01"], ["future"]),
        (["show", "ana", "--as-of", "2199-01-01"], ["future"]),
        (["show", "ana", "--as-of", "2026-01-01"], ["cannot speak for 2026-01-01", "tenure features"]),
        (["show", "anna"], ["Nothing is known", "'anna'"]),
        (["verify", "--set", "store.online=sqlite:///other.db"], ["nothing to compare", "--until-caught-up"]),
        (["dead", "list", "--reason", "bad"], ["'bad'"]),
        (["stats"], ["'stats'"]),
    ],
)
def test_what_is_refused(filled: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: list[str]) -> None:
    monkeypatch.chdir(filled.parent)
    refused("stream", *arguments, says=says)


def test_a_server_that_does_not_answer(filled: Path) -> None:
    away = "store.online=redis://127.0.0.1:1/0"
    error = refused("stream", "status", "--set", away, "-c", filled, says=["127.0.0.1:1"], code=1)
    assert (error["code"], error["retryable"]) == ("unreachable", True)


def test_a_store_that_is_not_filled_is_no_unknown_customer(filled: Path) -> None:
    other = "store.online=sqlite:///other.db"
    refused("stream", "show", "ana", "--set", other, "-c", filled, says=["not filled", "tenure stream"], code=1)
    assert "Not filled yet." in done("stream", "status", "--set", other, "-c", filled).out


def test_a_plain_table_has_no_stream(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers(60))
    for verb in (["--until-caught-up"], ["status"], ["append", tmp_path / "table.parquet"], ["rebuild"]):
        refused("stream", *verb, "-c", config, says=["plain table", "[events]"])


def test_options_before_the_verb_are_not_dropped_in_silence(config: Path) -> None:
    refused("stream", "-c", config, "status", says=["behind the verb", "tenure stream status"])


def start(config: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", MAIN, "stream", "--json", "-c", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def next_reading(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stderr is not None
    ready, _, _ = select.select([process.stderr], [], [], READY_SECONDS)
    assert ready, "the consumer said nothing"
    reading: dict[str, Any] = json.loads(process.stderr.readline())
    return reading


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_consumer_well(config: Path, how: signal.Signals) -> None:
    done("stream", "append", lines(config.parent / "e.jsonl", [visit(n) for n in range(30)]), "-c", config)
    process = start(config)
    try:
        while next_reading(process)["lag"] != 0:
            continue
        done("stream", "append", lines(config.parent / "f.jsonl", [visit(99)]), "-c", config)
        while next_reading(process)["events"] != 31:
            continue
        process.send_signal(how)
        out, err = process.communicate(timeout=READY_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    summary = json.loads(out)
    assert (summary["events"], summary["dead"], summary["lag"]) == (31, 0, 0)
    status = done("stream", "status", "-c", config, "--json").document
    assert sum(one["archived"] for one in status["partitions"]) == 31
    assert done("stream", "--until-caught-up", "-c", config, "--json").document["records"] == 0


def test_the_commands_of_the_page_run_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/stream.md").read_text(encoding="utf-8")
    for name in ("history.csv", "tenure.toml", "events.jsonl"):
        match = re.search(rf"`{name}`:?\n\n```\w*\n(.*?)```", page, re.DOTALL)
        assert match is not None, name
        (tmp_path / name).write_text(match[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    match = re.search(r"```\n(tenure stream append .*?)```", page, re.DOTALL)
    assert match is not None
    ran = [shlex.split(line, comments=True)[1:] for line in match[1].splitlines()]
    assert len(ran) == 5
    for arguments in ran:
        assert done(*arguments).out
