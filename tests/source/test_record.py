"""Records become events or faults, and many at once are judged as each by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.errors import ConfigError
from tenure.source import columns
from tenure.source.event_schema import NEVER, EventRows, EventSchema
from tenure.source.instants import read_instant, read_instants
from tenure.source.judge import Rejected, Rules, judge
from tenure.source.log import Batch, partition_of, partition_rule
from tenure.source.record import parse

MANY = 2 * settings().max_examples  # of every profile's number
BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z
SCHEMAS = {
    schema.name: schema
    for schema in (
        EventSchema("purchase", values=("quantity", "amount"), categories=("store",), needs_id=True),
        EventSchema("login"),
        EventSchema("session", values=("minutes", "amount"), categories=("device",), needs_id=True),
    )
}
# One name is a number in one type and a text in another.
CLASHING = {**SCHEMAS, "visit": EventSchema("visit", values=("store",), categories=("amount",))}
GOOD: dict[str, Any] = {
    "type": "purchase",
    "customer_id": "ada",
    "time": "2026-01-31T12:00:00.5Z",
    "id": "e1",
    "quantity": 2,
    "amount": 9.5,
    "store": "north",
}


def batch_of(payloads: Sequence[bytes], partition: int = 0) -> Batch:
    rows = np.arange(len(payloads), dtype=np.int64)
    return Batch(partition, rows, np.full(len(payloads), NOW), list(payloads), [None] * len(payloads))


def written(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not ...}).encode()


def reason(payload: bytes, zone: tzinfo = UTC) -> str:
    """The reason against one record, empty where it is an event."""
    _, faults = parse(batch_of([payload]), SCHEMAS, zone)
    return faults[0].reason if faults else ""


def as_rows(events: dict[str, EventRows]) -> dict[int, tuple[Any, ...]]:
    """Every event by its row in the batch; NaN as None, so that equal is equal."""
    found: dict[int, tuple[Any, ...]] = {}
    for name, rows in events.items():
        ids = rows.id.to_pylist() if rows.id is not None else [None] * len(rows.row)
        values = zip(*([[None if math.isnan(v) else v for v in x] for x in rows.values.values()] or [ids]), strict=True)
        texts = zip(*([x.to_pylist() for x in rows.categories.values()] or [ids]), strict=True)
        parts = (rows.row.tolist(), rows.customer_id.to_pylist(), rows.time.tolist(), rows.recorded.tolist())
        for row, *rest in zip(*parts, ids, values, texts, strict=True):
            assert row not in found
            found[row] = (name, *rest)
    return found


def one_by_one(payloads: Sequence[bytes], schemas: dict[str, EventSchema], zone: tzinfo) -> dict[int, tuple[Any, ...]]:
    """What the records mean by the slow way alone; a rejected one as its reason and detail."""
    found: dict[int, tuple[Any, ...]] = {}
    for row, payload in enumerate(payloads):
        try:
            event = judge(payload, NOW, Rules(schemas, zone))
        except Rejected as why:
            found[row] = (why.reason, why.detail)
            continue
        schema = event.schema
        values = tuple(None if math.isnan(v) else v for v in event.values) if schema.values else (event.id,)
        texts = event.categories if schema.categories else (event.id,)
        found[row] = (schema.name, event.customer_id, event.time, event.recorded, event.id, values, texts)
    return found


def at_once(payloads: Sequence[bytes], schemas: dict[str, EventSchema], zone: tzinfo) -> dict[int, tuple[Any, ...]]:
    events, faults = parse(batch_of(payloads), schemas, zone)
    found = as_rows(events)
    for fault in faults:
        assert fault.row not in found
        found[fault.row] = (fault.reason, fault.detail)
    return dict(sorted(found.items()))


def test_an_event_is_read_into_columns() -> None:
    events, faults = parse(batch_of([written(), written(type="login", recorded="2026-02-01 00:00")]), SCHEMAS, BERLIN)
    assert faults == []
    purchase, login = events["purchase"], events["login"]
    assert (purchase.row.tolist(), purchase.customer_id.to_pylist()) == ([0], ["ada"])
    assert purchase.time.tolist() == [1_769_860_800_500_000]
    assert purchase.recorded.tolist() == [NEVER]
    assert purchase.id is not None
    assert purchase.id.to_pylist() == ["e1"]
    assert {name: values.tolist() for name, values in purchase.values.items()} == {"quantity": [2.0], "amount": [9.5]}
    assert purchase.categories["store"].to_pylist() == ["north"]
    assert login.id is None
    assert login.recorded.tolist() == [read_instant("2026-01-31T23:00:00Z", UTC)]
    assert len(events["session"].row) == 0


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "malformed event"),
        (b"{broken", "malformed event"),
        (b"\xef\xbb\xbf" + written(), "malformed event"),
        (written().replace(b"north", b"\xff"), "malformed event"),
        (written().replace(b"north", b"a\nb"), "malformed event"),
        (b"[1]", "malformed event"),
        (b"null", "malformed event"),
        (written() + written(), "malformed event"),
        (written() + b",", "malformed event"),
        (b'{"type": "login", ' + written()[1:], "malformed event"),
        (written()[:-1] + b', "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "malformed event"),
        (written()[:-1] + b', "x": ' + b"[" * 10_000, "malformed event"),
        (b"{}", "missing type"),
        (written(type=None), "missing type"),
        (written(type=""), "unknown type"),
        (written(type=["login"]), "unknown type"),
        (written(type="Login"), "unknown type"),
        (written(customer_id=...), "missing customer"),
        (written(customer_id=" \u3000\t"), "missing customer"),
        (written(customer_id=17), "customer is not text"),
        (written(customer_id="\ud800"), "unreadable customer"),
        (written(customer_id="a\0"), "unreadable customer"),
        (written(customer_id="x" * 2_000), ""),
        (written(customer_id="é" * 1_001), "customer is too long"),
        (written(id="x" * 2_001), "id is too long"),
        (written(time=...), "missing time"),
        (written(time=" "), "missing time"),
        (written(time=1_769_860_800), "unreadable time"),
        (written(time="2026-02-30"), "unreadable time"),
        (written(time="2026-01-31T24:00:00Z"), "unreadable time"),
        (written(time="2026-01-31 10:00 PM"), "unreadable time"),
        (written(time="1970-12-31T23:59:59.999999Z"), "time out of range"),
        (written(time="2027-01-15T08:05:00.000001Z"), "time in the future"),
        (written(recorded="2027-01-15T08:05:00.000001Z"), "recorded time in the future"),
        (written(recorded="yesterday"), "unreadable recorded time"),
        (written(recorded="1970-01-01"), "recorded time out of range"),
        (written(id=...), "missing id"),
        (written(id=""), "missing id"),
        (written(id=7), "id is not text"),
        (written(amount="9.5"), "amount is not a number"),
        (written(amount=True), "amount is not a number"),
        (written(amount=math.nan), "amount is not finite"),
        (written(amount=-math.inf), "amount is not finite"),
        (written().replace(b"9.5", b"1e400"), "amount is not finite"),
        (written().replace(b"9.5", b"1" * 5_000), "amount is not finite"),
        (written().replace(b"9.5", b"01"), "malformed event"),
        (written(store=5), "store is not text"),
        (written(store="\udfff"), "unreadable store"),
    ],
)
def test_a_record_that_is_no_event_has_its_reason(payload: bytes, expected: str) -> None:
    assert reason(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        written(),
        b" \t\r\n" + written() + b"\n",
        json.dumps(GOOD, indent=2).encode(),
        written(customer_id="顧客"),
        written(customer_id="\u3000x"),
        written(time="2027-01-15T08:05:00Z"),
        written(time="1971-01-01"),
        written(recorded=" "),
        written(amount=None, store=None, quantity=...),
        written(store="NaN {[ Infiniti \0"),
        written(other={"a": [1, {"b": "[" * 200}]}, minutes="x", device=4),
        written()[:-1] + b', "x": NaN, "x": -Infinity}',
        written()[:-1] + b', "x": ' + b"[" * 63 + b"]" * 63 + b"}",
        written(type="login", id=5),
        b'{"id": 1, "id": 2, ' + written(type="login", id=...)[1:],
    ],
)
def test_an_unusual_event_is_one_all_the_same(payload: bytes) -> None:
    assert reason(payload) == ""
    assert at_once([written(), payload], SCHEMAS, UTC) == one_by_one([written(), payload], SCHEMAS, UTC)


def test_nesting_is_limited_by_its_depth_not_by_its_brackets() -> None:
    inside = b"[" * 64
    assert reason(written()[:-1] + b', "x": ' + inside + b"]" * 64 + b"}") == "malformed event"
    assert reason(written()[:-1] + b', "x": [' + b",".join([b"[]"] * 200) + b"]}") == ""
    assert reason(written()[:-1] + b', "x": "\\"' + b'\\"[' * 200 + b'"}') == ""


def test_broken_records_that_make_sense_together_stay_broken() -> None:
    halves = [b'{"type": "login"', b',"customer_id": "a", "time": "2026-01-01"}']
    nested = [b'{"x":', b'{"y": 1}}' + written(), b'{"x": 1', b"}"]
    forged = [b'{"x":', b'{"y": 1}}{"mark 0123456789abcdef": 1,' + written()[1:], written()]
    for payloads in (halves, nested, [*halves, written()], [written()[:40], written()[40:]], forged):
        assert at_once(payloads, SCHEMAS, UTC) == one_by_one(payloads, SCHEMAS, UTC)


def test_the_detail_is_short_and_shows_what_was_found() -> None:
    (fault,) = parse(batch_of([written(time="x" * 500)]), SCHEMAS, UTC)[1]
    assert fault.detail.startswith('"xxx')
    assert len(fault.detail) < 100


def test_many_poisoned_records_keep_nobody_from_being_read() -> None:
    poison = [b"{broken", b"\xff", b"{}", written(customer_id=5), written(time="soon"), written(id=...), b""]
    payloads = [poison[n // 3 % len(poison)] if n % 3 == 0 else written(id=f"e{n}") for n in range(6_000)]
    events, faults = parse(batch_of(payloads), SCHEMAS, UTC)
    assert [fault.row for fault in faults] == list(range(0, 6_000, 3))
    assert events["purchase"].row.tolist() == [n for n in range(6_000) if n % 3]
    assert events["purchase"].id is not None
    assert events["purchase"].id.to_pylist() == [f"e{n}" for n in range(6_000) if n % 3]


def test_batches_are_cut_by_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [written(id=f"e{n}", store="s" * (n % 7 * 40)) for n in range(100)]
    whole = at_once(payloads, SCHEMAS, UTC)
    monkeypatch.setattr(columns, "MAX_ROWS", 7)
    assert at_once(payloads, SCHEMAS, UTC) == whole
    monkeypatch.setattr(columns, "MAX_BYTES", 500)
    assert at_once(payloads, SCHEMAS, UTC) == whole


def test_what_is_usual_is_not_judged_one_by_one() -> None:
    payloads = [written(id=f"e{n}", customer_id="顧客" if n % 2 else "ada") + b"\n" * (n % 3) for n in range(50)]
    payloads += [written(type="login"), written(type="session", device=None, recorded="2026-02-01T00:00:00+01:00")]
    for zone in (UTC, BERLIN):
        _, left = columns.read_columns(batch_of(payloads), Rules(SCHEMAS, zone))
        assert left.tolist() == []
    _, left = columns.read_columns(batch_of(payloads), Rules(CLASHING, UTC))
    assert left.tolist() == []


@pytest.mark.parametrize("how", ["crc32", "murmur2"])
def test_a_customer_of_another_partition_is_a_fault(how: str) -> None:
    home = partition_rule(8, how)
    payloads = [written(customer_id=f"c{n}") for n in range(40)]
    _, faults = parse(batch_of(payloads, partition=3), SCHEMAS, UTC, partitions=8, partitioner=how)
    assert {fault.reason for fault in faults} == {"wrong partition"}
    assert [fault.row for fault in faults] == [n for n in range(40) if home(f"c{n}") != 3]
    assert parse(batch_of([], partition=3), SCHEMAS, UTC, partitions=8)[1] == []


def test_partitioners_agree_with_kafkas_clients() -> None:
    # Values that the clients' own tests hold.
    assert partition_of("foobar", 2**31, "murmur2") == -790332482 & 0x7FFFFFFF
    assert partition_of("a-little-bit-longer-string", 2**31, "murmur2") == -1486304829 & 0x7FFFFFFF
    assert partition_of("123456789", 2**32) == 0xCBF43926
    with pytest.raises(ConfigError, match="Known: crc32, murmur2"):
        partition_of("a", 2, "fnv")


def test_a_field_may_not_be_called_like_one_that_all_have() -> None:
    with pytest.raises(ConfigError, match="two fields called type"):
        EventSchema("login", values=("type",))


# Anything that JSON can write, and much that it cannot.

TEXTS = st.one_of(
    st.sampled_from(["", " ", "ada", "a\nb", "\u3000", "NaN", "{", '"', "\\", "\ud800", "\0", "\ufeff", "Zoë", "顧客"]),
    st.text(max_size=6),
)
STAMPS = st.one_of(
    st.datetimes().map(str),
    st.datetimes(timezones=st.sampled_from([UTC, BERLIN])).map(lambda t: t.isoformat(" " if t.second % 2 else "T")),
    st.from_regex(r"\A[12][90][0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,10})?)?"
                  r" ?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?)?\Z"),
    st.sampled_from(["2026-03-29 02:30", "2026-10-25 02:30", "2026-01-31", " 2026-01-31T12:00Z ", "0000-01-01", "now"]),
)  # fmt: skip
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans())
ANYTHING = st.one_of(st.none(), TEXTS, STAMPS, NUMBERS, st.lists(NUMBERS, max_size=2), st.dictionaries(TEXTS, NUMBERS))


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, usual, ANYTHING, st.just(...))


DOCUMENTS = st.fixed_dictionaries(
    {
        "type": mostly(st.sampled_from([*CLASHING])),
        "customer_id": mostly(TEXTS),
        "time": mostly(STAMPS),
        "recorded": mostly(st.one_of(st.none(), STAMPS)),
        "id": mostly(TEXTS),
        "amount": mostly(NUMBERS),
        "store": mostly(TEXTS),
        "other": st.one_of(st.just(...), ANYTHING),
    }
)
LITERALS = (b"1e400", b"-0", b"1E5", b"NaN", b"Inf", b"-Infinity", b"01", b"1.", b".5", b"0x1", b"1" * 400, b"tru")


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """A record: one that is written well, or one that is damaged in some way."""
    document = {name: value for name, value in draw(DOCUMENTS).items() if value is not ...}
    text = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(text)))
    literal = draw(st.sampled_from(LITERALS))
    comma = draw(st.sampled_from([b",\n", b",\r\n", b",,", b",\t", b",\x0c", b",\xc2\xa0"]))
    damaged = (
        text[:place],
        text[place:],
        text[:place] + draw(st.binary(min_size=1, max_size=3)) + text[place:],
        text.replace(b", ", comma),
        text[:-1] + b', "amount": ' + literal + b"}",
        b'{"amount": ' + literal + b"," + text[1:],
        text + draw(st.sampled_from([b"\n", b" ", b"\0", b"{}", b"}", text])),
    )
    return draw(st.sampled_from(damaged)) if draw(st.integers(0, 3)) == 0 else text


@settings(max_examples=MANY)
@given(st.lists(payloads(), max_size=6), st.sampled_from([UTC, BERLIN]), st.sampled_from([SCHEMAS, CLASHING]))
def test_many_at_once_are_judged_as_each_by_itself(
    records: list[bytes], zone: tzinfo, schemas: dict[str, EventSchema]
) -> None:
    assert at_once(records, schemas, zone) == one_by_one(records, schemas, zone)


@settings(max_examples=MANY)
@given(st.lists(st.one_of(STAMPS, st.text(max_size=30)), max_size=8), st.sampled_from([UTC, BERLIN]))
def test_times_read_at_once_are_those_read_one_by_one(texts: list[str], zone: tzinfo) -> None:
    micros, read = read_instants(pa.array([t.encode("utf-8", "ignore").decode() for t in texts], pa.string()), zone)
    for text, one, sure in zip(texts, micros.tolist(), read.tolist(), strict=True):
        assert not sure or read_instant(text, zone) == one
