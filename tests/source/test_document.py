"""Events from Python and from files become records that the log's readers understand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError, NotFoundError
from tenure.core.time import EPOCH, parse_instant
from tenure.source import record_files
from tenure.source.document import render, to_record
from tenure.source.event_schema import EventSchema
from tenure.source.judge import Rules, judge
from tenure.source.reading import WHITESPACE
from tenure.source.record_files import Unfit, read_placed, read_records

VISIT = {"type": "visit", "customer_id": "ada", "time": "2026-01-31T12:00:00Z"}
RULES = Rules({"visit": EventSchema("visit", values=("minutes",), categories=("page",), needs_id=True)}, UTC)


def test_pythons_values_become_jsons() -> None:
    event = {
        **VISIT,
        "customer_id": np.int64(2**60),
        "time": datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))),
        "recorded": pd.NaT,
        "id": 17.0,
        "minutes": np.float32(0.5),
        "amount": Decimal("1.25"),
        "rate": float("nan"),
        "page": "Zoë",
        "new": True,
    }
    customer, payload = to_record(event)
    assert customer == str(2**60)
    assert json.loads(payload) == {
        "type": "visit",
        "customer_id": str(2**60),
        "time": "2026-01-31T12:00:00+01:00",
        "recorded": None,
        "id": "17",
        "minutes": 0.5,
        "amount": 1.25,
        "rate": None,
        "page": "Zoë",
        "new": True,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": None}, "type is None"),
        ({"customer_id": " "}, "customer_id is ' '"),
        ({"customer_id": True}, "customer_id is True"),
        ({"customer_id": 1e300}, "customer_id is 1e"),
        ({"customer_id": float("nan")}, "customer_id is None"),
        ({"customer_id": "a\0"}, "the character NUL"),
        ({"customer_id": "\ud800"}, "half a character"),
        ({"time": "soon"}, "time is 'soon'"),
        ({"time": 1_769_860_800}, "time is 1769860800"),
        ({"time": pd.NaT}, "time is None"),
        ({"recorded": "2026-02-30"}, "recorded is '2026-02-30'"),
        ({"minutes": float("inf")}, "minutes is inf"),
        ({"page": ["a"]}, r"page is \['a'\]"),
        ({"page": "x" * 1_000_000}, r"has 1,000,\d{3} bytes; at most 1,000,000"),
    ],
)
def test_what_cannot_be_an_event_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        render({**VISIT, **changes})


def test_what_is_missing_is_told_beside_what_is_there() -> None:
    with pytest.raises(InputError, match="it has no customer_id, only type, customer"):
        render({"type": "visit", "customer": "ada"})
    with pytest.raises(InputError, match="it has no type, only nothing"):
        render({})


IDS = st.one_of(st.text(min_size=1).filter(lambda text: text.strip(WHITESPACE) and "\0" not in text), st.integers())
TIMES = st.one_of(
    st.datetimes(datetime(1971, 1, 2), datetime(2025, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.dates(date(1971, 1, 2), date(2025, 1, 1)),
)
NUMBERS = st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(2**53), 2**53))


@given(customer=IDS, time=TIMES, event_id=IDS, minutes=NUMBERS, page=st.one_of(st.none(), st.text()))
def test_what_is_rendered_is_read_with_the_same_meaning(
    customer: str | int, time: date, event_id: str | int, minutes: float | None, page: str | None
) -> None:
    event = {"type": "visit", "customer_id": customer, "time": time, "id": event_id, "minutes": minutes, "page": page}
    named, payload = to_record(event)
    read = judge(payload, 10**16, RULES)
    assert (read.customer_id, read.id, read.categories) == (named, str(event_id), (page,))
    assert named == str(customer)
    assert read.values[0] == pytest.approx(float("nan") if minutes is None else minutes, rel=0, abs=0, nan_ok=True)
    assert read.time == (parse_instant(time) - EPOCH) // timedelta(microseconds=1)


def lines(path: Path, *documents: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(json.dumps(document).encode() + b"\n" for document in documents))
    return path


def zipped(path: Path, *documents: dict[str, Any]) -> Path:
    plain = lines(path.with_name("plain.jsonl"), *documents)
    target = path.with_name("visits.jsonl.gz")
    target.write_bytes(gzip.compress(plain.read_bytes()))
    return target


def parquet(path: Path, *documents: dict[str, Any]) -> Path:
    target = path.with_name("visits.parquet")
    pq.write_table(pa.Table.from_pylist(list(documents)), target, row_group_size=7)
    return target


@pytest.mark.parametrize("write", [lines, zipped, parquet])
def test_a_file_is_read_in_pieces(write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "PIECE", 10)
    documents = [{**VISIT, "customer_id": f"c{n}", "minutes": n / 2} for n in range(25)]
    pieces = list(read_records(write(tmp_path / "visits.jsonl", *documents)))
    assert [len(piece) for piece in pieces] == [10, 10, 5]
    assert [record for piece in pieces for record in piece] == [to_record(document) for document in documents]


def test_parquets_own_types_are_understood(tmp_path: Path) -> None:
    table = pa.table(
        {
            "customer_id": pa.array([17, 18], pa.int64()),
            "time": pa.array([0, 10**15], pa.timestamp("us", "UTC")),
            "minutes": pa.array([None, Decimal("1.5")], pa.decimal128(4, 2)),
            "page": pa.array(["a", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    ((one, two),) = read_records(tmp_path / "v.parquet", event_type="visit")
    assert one == (
        "17",
        b'{"customer_id":"17","time":"1970-01-01T00:00:00+00:00","minutes":null,"page":"a","type":"visit"}',
    )
    assert json.loads(two[1])["minutes"] == 1.5


def test_lines_may_be_blank_and_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "visits.ndjson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(VISIT).encode() + b"\r\n\n  \n" + json.dumps(VISIT).encode())
    assert list(read_records(path)) == [[to_record(VISIT)] * 2]
    path.write_bytes(b"")
    assert list(read_records(path)) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{broken", "line 2: This is not JSON"),
        (b"[1]", "line 2: This is no JSON object"),
        (b"\xff", "line 2: This is not JSON"),
        (b"[" * 100_000, "line 2: This is not JSON"),
        (b'{"a": 1, "a": 2}', "line 2: This is not JSON: a name is given twice"),
        (b'{"type": "visit"}', "line 2: This cannot be an event: it has no customer_id"),
        (b" " * 1_000_002, "line 2: This has more than 1,000,000 bytes"),
    ],
)
def test_a_bad_line_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "visits.jsonl"
    path.write_bytes(json.dumps(VISIT).encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=message):
        list(read_records(path))


def test_reading_goes_on_after_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "visits.jsonl"
    good = json.dumps(VISIT).encode()
    path.write_bytes(b"\n".join([b"{broken", b"x" * 3_000_000, good, b'{"type": "visit"}', good]))
    (piece,) = read_placed(path)
    assert [place for place, found in piece if isinstance(found, Unfit)] == ["line 1", "line 2", "line 4"]
    assert [(place, found) for place, found in piece if not isinstance(found, Unfit)] == [
        ("line 3", to_record(VISIT)),
        ("line 5", to_record(VISIT)),
    ]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        list(read_records(tmp_path / "visits.jsonl"))
    (tmp_path / "visits.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="neither JSON Lines nor Parquet"):
        list(read_records(tmp_path / "visits.csv"))
    for name in ("visits.parquet", "visits.jsonl.gz"):
        (tmp_path / name).write_bytes(b"something else" * 10)
        with pytest.raises(InputError, match="cannot be read"):
            list(read_records(tmp_path / name))
