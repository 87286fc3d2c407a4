"""Many records at once, as far as they are beyond doubt.

Enters: a batch. Leaves: events by type, as columns, and the rows that must be judged one by one. Invariant: what is
read here is read as `tenure.source.judge` reads it; any record that looks unusual in any way is left to that.

The records are put together, each with a mark, into one text that Arrow's JSON reader reads. The mark is the
record's number under a name that nobody knows in advance. If the marks come back complete and in order, every
record was an object by itself: two broken records that only together make sense, or one that holds two objects,
would disturb them. Where Arrow refuses the text, one of the records is to blame: the text is cut into pieces, and
what is in a piece that is refused again is judged one by one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from tenure.source.event_schema import LONGEST_ID_BYTES, NEVER, EventRows, EventSchema
from tenure.source.instants import read_instants
from tenure.source.judge import DEEPEST, EARLIEST_MICROS, TOLERANCE_MICROS, Rules
from tenure.source.log import Batch
from tenure.source.reading import WHITESPACE

__all__ = ["read_columns"]

MARK = f"mark {secrets.token_hex(8)}"
MAX_ROWS, MAX_BYTES = 100_000, 64 * 2**20
PIECES, SMALLEST = 16, 1_500  # into how many a refused text is cut, and when it no longer is
# Arrow knows these as numbers, JSON does not; and its lines end where JSON has mere white space.
_DOUBTFUL = (b"NaN", b"Inf", b"\r", b"\n")
JSON_SPACE = b" \t\r\n"
_prefixes: list[bytes] = []

Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def read_columns(batch: Batch, rules: Rules) -> tuple[dict[str, list[EventRows]], Longs]:
    """Read what is beyond doubt.

    Returns
    -------
    events : dict of list of EventRows
        By type, in pieces.
    left : int64 array
        The rows to judge one by one, in no order.
    """
    events: dict[str, list[EventRows]] = {name: [] for name in rules.schemas}
    left: list[Longs] = []
    for rows in _spans(batch.payloads):
        for schemas, part in _apart(batch, rows, tuple(rules.schemas.values()), left):
            _read(batch, part, rules, schemas, (events, left))
    return events, np.concatenate([np.empty(0, dtype=np.int64), *left])


def _spans(payloads: Sequence[bytes]) -> Iterator[Longs]:
    """Rows that are read together: not too many, nor too large."""
    sizes = np.cumsum(np.fromiter(map(len, payloads), dtype=np.int64, count=len(payloads)))
    start = 0
    while start < len(payloads):
        before = int(sizes[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(sizes, before + MAX_BYTES, side="right")))
        end = min(end, start + MAX_ROWS)
        yield np.arange(start, end, dtype=np.int64)
        start = end


def _apart(
    batch: Batch, rows: Longs, schemas: tuple[EventSchema, ...], left: list[Longs]
) -> Iterator[tuple[tuple[EventSchema, ...], Longs]]:
    """Types among which one name is a number and a text cannot be read at once: then each is read by itself."""
    values = {name for schema in schemas for name in schema.values}
    if values.isdisjoint(name for schema in schemas for name in schema.categories):
        yield schemas, rows
        return
    safe, doubtful = _sift(batch.payloads, rows)
    left.append(doubtful)
    pending = [safe]
    while pending:
        part = pending.pop()
        table = _table(batch.payloads, part, [pa.field("type", pa.string())]) if len(part) else None
        if table is None:
            left.append(part) if len(part) <= SMALLEST else pending.extend(np.array_split(part, PIECES))
            continue
        kinds = pc.index_in(table["type"], pa.array([schema.name for schema in schemas], pa.string()))
        codes = kinds.fill_null(-1).to_numpy()
        left.append(part[codes < 0])
        yield from (((schema,), part[codes == code]) for code, schema in enumerate(schemas))


def _read(
    batch: Batch,
    rows: Longs,
    rules: Rules,
    schemas: tuple[EventSchema, ...],
    into: tuple[dict[str, list[EventRows]], list[Longs]],
) -> None:
    events, left = into
    safe, doubtful = _sift(batch.payloads, rows)
    left.append(doubtful)
    if not len(safe):
        return
    table = _table(batch.payloads, safe, _fields(schemas))
    if table is not None:
        left.append(safe[_sort(table, batch, safe, rules, schemas, events)])
    elif len(safe) <= SMALLEST:
        left.append(safe)
    else:
        for piece in np.array_split(safe, PIECES):
            _read(batch, piece, rules, schemas, into)


def _sift(payloads: Sequence[bytes], rows: Longs) -> tuple[Longs, Longs]:
    """Rows that Arrow may read, and those that it would read differently or that are no object at all."""
    picked = [payloads[row] for row in rows.tolist()]
    good = np.ones(len(picked), dtype=bool)
    joined = b"\0".join(picked)
    begun = joined.count(b"\0{") + joined.startswith(b"{")
    if not begun == joined.count(b"\0") + 1 == len(picked) or b"{}" in joined:
        good &= np.fromiter(
            (text.startswith(b"{") and not text.startswith(b"{}") for text in picked), bool, len(picked)
        )
    for token in _DOUBTFUL:
        if token in joined:
            good &= np.fromiter((token not in text.rstrip(JSON_SPACE) for text in picked), bool, len(picked))
    if joined.count(b"{") + joined.count(b"[") > len(picked) + DEEPEST - 1:
        good &= np.fromiter((text.count(b"{") + text.count(b"[") <= DEEPEST for text in picked), bool, len(picked))
    return rows[good], rows[~good]


def _fields(schemas: Sequence[EventSchema]) -> list[pa.Field]:
    texts = dict.fromkeys(name for schema in schemas for name in schema.categories)
    numbers = dict.fromkeys(name for schema in schemas for name in schema.values)
    named = ["type", "customer_id", "time", "recorded"]
    if any(schema.needs_id for schema in schemas):
        named.append("id")
    return [pa.field(name, pa.string()) for name in (*named, *texts)] + [
        pa.field(name, pa.float64()) for name in numbers
    ]


def _table(payloads: Sequence[bytes], rows: Longs, fields: list[pa.Field]) -> Mapping[str, pa.Array] | None:
    """Read the fields of these records; None where they cannot be read as one object each."""
    _prefixes.extend(b'\n{"%s":%d,' % (MARK.encode(), number) for number in range(len(_prefixes), len(rows)))
    tails = [payloads[row][1:].rstrip(JSON_SPACE) for row in rows.tolist()]
    text = b"".join([part for pair in zip(_prefixes, tails, strict=False) for part in pair])
    schema = pa.schema([pa.field(MARK, pa.int64()), *fields])
    try:
        if not text.isascii():
            text.decode()
        table = pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    columns = {name: table[name].combine_chunks() for name in schema.names}
    marks = columns.pop(MARK)
    if marks.null_count or not np.array_equal(marks.to_numpy(), np.arange(len(rows))):
        return None
    return columns


def _sort(
    table: Mapping[str, pa.Array],
    batch: Batch,
    rows: Longs,
    rules: Rules,
    schemas: Sequence[EventSchema],
    events: dict[str, list[EventRows]],
) -> Mask:
    """Put the events of each type into columns of their own; give which ones are in doubt after all."""
    kinds = pc.index_in(table["type"], pa.array([schema.name for schema in schemas], pa.string()))
    codes = kinds.fill_null(-1).to_numpy()
    latest = batch.appended[rows] + TOLERANCE_MICROS
    time, sound = _instants(table["time"], latest, rules)
    recorded, known = _instants(table["recorded"], latest, rules)
    unrecorded = table["recorded"].is_null().to_numpy(zero_copy_only=False)
    recorded[unrecorded] = NEVER
    sound &= (known | unrecorded) & (codes >= 0) & _usable(table["customer_id"])
    if rules.home is not None:
        sound &= _at_home(table["customer_id"], rules.home, rules.partition)
    for code, schema in enumerate(schemas):
        mine = codes == code
        numbers = {name: table[name].to_numpy(zero_copy_only=False) for name in schema.values}
        for values in numbers.values():
            sound &= ~(mine & np.isinf(values))
        if schema.needs_id:
            sound &= _usable(table["id"]) | ~mine
        if len(picked := np.flatnonzero(mine & sound)):
            texts = {
                name: table[name].take(pa.array(picked))
                for name in ("customer_id", "id", *schema.categories)
                if name in table
            }
            events[schema.name].append(
                EventRows(
                    rows[picked],
                    texts["customer_id"],
                    time[picked],
                    recorded[picked],
                    texts["id"] if schema.needs_id else None,
                    {name: values[picked] for name, values in numbers.items()},
                    {name: texts[name] for name in schema.categories},
                )
            )
    return ~sound


def _instants(texts: pa.StringArray, latest: Longs, rules: Rules) -> tuple[Longs, Mask]:
    micros, read = read_instants(texts, rules.zone)
    return micros, read & (micros >= EARLIEST_MICROS) & (micros <= latest)


def _usable(texts: pa.StringArray) -> Mask:
    """Whether each is there, not blank, not too long, and without the character that databases cannot keep."""
    first = pc.binary_slice(texts.cast(pa.binary()), 0, 1) if len(texts) else texts.cast(pa.binary())
    visible = pc.and_(pc.greater_equal(first, b"!"), pc.less(first, b"\x7f")).fill_null(False)
    usable: Mask = visible.to_numpy(zero_copy_only=False)
    if not usable.all():
        rest = np.flatnonzero(~usable)
        trimmed = pc.utf8_trim(texts.take(pa.array(rest)), WHITESPACE)
        usable = usable.copy()
        usable[rest] = pc.not_equal(trimmed, "").fill_null(False).to_numpy(zero_copy_only=False)
    broken: Mask = pc.match_substring(texts, "\0").fill_null(False).to_numpy(zero_copy_only=False)
    short: Mask = (
        pc.less_equal(pc.binary_length(texts), LONGEST_ID_BYTES).fill_null(False).to_numpy(zero_copy_only=False)
    )
    return usable & short & ~broken


def _at_home(customers: pa.StringArray, home: Callable[[str], int], partition: int) -> Mask:
    """Whether each customer belongs to the partition of the batch; every customer is asked about once."""
    encoded = customers.dictionary_encode()
    known = np.fromiter(
        (home(customer) for customer in encoded.dictionary.to_pylist()), np.int64, len(encoded.dictionary)
    )
    codes = encoded.indices.fill_null(0).to_numpy()
    at_home: Mask = known[codes] == partition if len(known) else np.zeros(len(customers), dtype=bool)
    return at_home
