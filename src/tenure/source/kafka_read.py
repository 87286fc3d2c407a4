"""Reading a Kafka topic outside any group: where it begins and ends, what it held when, and any stretch of it.

Enters: an address. Leaves: bounds, offsets of an instant, batches. Invariant: no answer rests on a broker's word alone
where reading can confirm it. Brokers that speak Kafka's protocol differ in how they count: one reports the start of the
last batch as the end of the partition, and answers every question for an instant with offset 0. So the end is where
reading from the reported end stops, and the first record at or after an instant is looked at, with the one before it,
before it is believed; where it is wrong, it is searched by bisection. Against an honest broker this costs two fetches.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tenure.core.errors import StateError, UnreachableError
from tenure.core.extras import require
from tenure.source.kafka_address import KafkaAddress, kafka_error, talking
from tenure.source.log import Batch

__all__ = ["kafka_bounds", "kafka_offsets_at", "kafka_read", "refuse_error", "refuse_outside", "to_batches"]

_SETTINGS = {
    "group.id": "tenure-outside",  # a name is required; nothing is ever committed or subscribed under it
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "fetch.wait.max.ms": 10,
}
_GLANCE = {"fetch.message.max.bytes": 65_536}  # for a look at single records
_CHUNK = 10_000
_SLICE_SECONDS = 0.1
_END_SECONDS = 3.0  # under steady traffic an end moves on; what was seen by then is an end that was true
_EOF = "_PARTITION_EOF"


def to_batches(messages: Iterable[Any]) -> list[Batch]:
    """Group messages by partition, in the order of their offsets.

    Parameters
    ----------
    messages : iterable of confluent_kafka.Message
        Without errors among them.

    Examples
    --------
    >>> to_batches([])
    []
    """
    grouped: dict[int, list[Any]] = defaultdict(list)
    for message in messages:
        grouped[message.partition()].append(message)
    return [_batch(partition, grouped[partition]) for partition in sorted(grouped)]


def _batch(partition: int, messages: Sequence[Any]) -> Batch:
    milliseconds = np.array([message.timestamp()[1] for message in messages], dtype=np.int64)
    return Batch(
        partition=partition,
        offsets=np.array([message.offset() for message in messages], dtype=np.int64),
        appended=milliseconds * 1_000,
        payloads=[message.value() or b"" for message in messages],  # a record without payload is unreadable, not absent
        keys=[message.key() for message in messages],
    )


def refuse_error(address: KafkaAddress, message: Any) -> None:
    """Raise what an error that came in place of a record means; transient ones pass, the client tries again by itself.

    Raises
    ------
    StateError
        The position is not in the log, or the broker does not let it be read.
    """
    error = message.error()
    if error is None or error.retriable() or error.name() in {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_MAX_POLL_EXCEEDED"}:
        return
    if error.name() in {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}:
        raise StateError(
            f"Partition {message.partition()} of {address.name} does not hold the position that is wanted of it.",
            hint="Its oldest records were deleted, or the topic was made anew: rebuild the online store.",
            partition=message.partition(),
        )
    raise kafka_error(address, "read", error)


@contextmanager
def _outside(address: KafkaAddress, settings: Mapping[str, object] = _SETTINGS) -> Iterator[Any]:
    consumer = require("confluent_kafka").Consumer({**settings, **address.client()})
    try:
        yield consumer
    finally:
        consumer.close()


def _assign(consumer: Any, address: KafkaAddress, offsets: Mapping[int, int]) -> None:
    place = require("confluent_kafka").TopicPartition
    consumer.assign([place(address.topic, partition, offset) for partition, offset in offsets.items()])


def kafka_read(address: KafkaAddress, partition: int, first: int, end: int) -> Iterator[Batch]:
    """Records of one partition with offsets in `[first, end)`, in order; it ends early where the partition does.

    Raises
    ------
    UnreachableError
        The broker is silent for longer than the address's patience.
    StateError
        `first` is before what the log still holds, or beyond its end.
    """
    with talking(address, "read"), _outside(address) as consumer:
        refuse_outside(address, {partition: first}, _bounds(consumer, address, [partition]))
        _assign(consumer, address, {partition: first})
        silent_since = time.monotonic()
        while first < end:
            messages = consumer.consume(1, _SLICE_SECONDS)
            messages += consumer.consume(_CHUNK - 1, 0.0) if messages else []
            records = [message for message in messages if _is_record(address, message)]
            yield from to_batches(message for message in records if message.offset() < end)
            if len(records) < len(messages):  # the end of the partition
                return
            if records:
                first, silent_since = records[-1].offset() + 1, time.monotonic()
            _refuse_silence(address, silent_since)


def refuse_outside(address: KafkaAddress, offsets: Mapping[int, int], bounds: Mapping[int, tuple[int, int]]) -> None:
    """Raise where an offset to read from is not within what the log holds.

    Raises
    ------
    StateError
        Records between the offset and the log are missing: they were deleted, or this is another log.

    Examples
    --------
    >>> refuse_outside(KafkaAddress.of("kafka://localhost:9092/events"), {0: 7}, {0: (7, 7)})
    """
    for partition, offset in offsets.items():
        first, end = bounds[partition]
        if not first <= offset <= end:
            raise StateError(
                f"Partition {partition} of {address.name} is to be read from offset {offset}, "
                f"but it holds {first} to before {end}.",
                hint="Its oldest records were deleted, or the topic was made anew: rebuild the online store.",
                partition=partition,
                offset=offset,
                bounds=(first, end),
            )


def _is_record(address: KafkaAddress, message: Any) -> bool:
    if message.error() is None:
        return True
    if message.error().name() != _EOF:
        refuse_error(address, message)
    return False


def _refuse_silence(address: KafkaAddress, since: float) -> None:
    if time.monotonic() - since > address.patience_seconds:
        raise UnreachableError(
            f"No answer from {address.name} for {address.patience_seconds:g} seconds while reading.",
            hint="Is a Kafka broker running there? Once it answers, the same call works again.",
        )


def kafka_bounds(address: KafkaAddress, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
    """First offset and next offset of each partition.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    with talking(address, "ask for the bounds"), _outside(address, _SETTINGS | _GLANCE) as consumer:
        return _bounds(consumer, address, partitions)


def _bounds(consumer: Any, address: KafkaAddress, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
    place = require("confluent_kafka").TopicPartition
    said = {
        partition: consumer.get_watermark_offsets(place(address.topic, partition), timeout=address.patience_seconds)
        for partition in partitions
    }
    ends = _ends(consumer, address, {p: end - 1 for p, (first, end) in said.items() if end > first})
    return {p: (first, max(end, ends.get(p, end))) for p, (first, end) in said.items()}


def _ends(consumer: Any, address: KafkaAddress, last: Mapping[int, int]) -> dict[int, int]:
    """Read from the last known records to where there are no more."""
    _assign(consumer, address, last)
    ends, unread = {partition: offset + 1 for partition, offset in last.items()}, set(last)
    give_up = time.monotonic() + _END_SECONDS
    while unread and time.monotonic() < give_up:
        for message in consumer.consume(1, _SLICE_SECONDS) + consumer.consume(_CHUNK, 0.0):
            if _is_record(address, message):
                ends[message.partition()] = message.offset() + 1
            else:
                unread.discard(message.partition())
    return ends


def kafka_offsets_at(address: KafkaAddress, partitions: Sequence[int], appended: int) -> dict[int, int]:
    """First offset of each partition whose record was appended at or after an instant; the end where there is none.

    Parameters
    ----------
    address : KafkaAddress
        The topic.
    partitions : sequence of int
        Which of its partitions.
    appended : int
        Microseconds UTC; the log keeps milliseconds.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    stamp = -(-appended // 1_000)  # a record counts once its whole millisecond is at or after the instant
    place = require("confluent_kafka").TopicPartition
    with talking(address, "ask for the records of an instant"), _outside(address, _SETTINGS | _GLANCE) as consumer:
        bounds = _bounds(consumer, address, partitions)
        asked = [place(address.topic, partition, max(stamp, 0)) for partition in partitions]
        said = consumer.offsets_for_times(asked, timeout=address.patience_seconds)
        answers = {p.partition: p.offset if p.offset >= 0 else bounds[p.partition][1] for p in said}
        right = _confirmed(consumer, address, answers, bounds, stamp)
        wrong = {partition: bounds[partition] for partition in partitions if partition not in right}
        return right | _searched(consumer, address, wrong, stamp)


def _confirmed(
    consumer: Any, address: KafkaAddress, answers: Mapping[int, int], bounds: Mapping[int, tuple[int, int]], stamp: int
) -> dict[int, int]:
    """The answers whose record is late enough, and whose predecessor is not."""
    held = {p: offset for p, offset in answers.items() if offset < bounds[p][1]}
    late = {p: found[1] >= stamp for p, found in _looked_at(consumer, address, held).items()}
    before = {p: offset - 1 for p, offset in answers.items() if offset > bounds[p][0]}
    early = {p: found[1] < stamp for p, found in _looked_at(consumer, address, before).items()}
    return {p: offset for p, offset in answers.items() if late.get(p, p not in held) and early.get(p, p not in before)}


def _searched(
    consumer: Any, address: KafkaAddress, bounds: Mapping[int, tuple[int, int]], stamp: int
) -> dict[int, int]:
    """Bisection, all partitions at once: `low` is never after the answer and `high` never before it."""
    low, high = {p: first for p, (first, _) in bounds.items()}, {p: end for p, (_, end) in bounds.items()}
    while middle := {p: (low[p] + high[p]) // 2 for p in bounds if low[p] < high[p]}:
        found = _looked_at(consumer, address, middle)
        for partition, offset in middle.items():
            if partition in found and found[partition][1] < stamp:
                low[partition] = found[partition][0] + 1
            else:
                high[partition] = offset
    return low


def _looked_at(consumer: Any, address: KafkaAddress, offsets: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Offset and milliseconds of the first record at or after each offset; nothing where the partition ends."""
    _assign(consumer, address, offsets)
    found: dict[int, tuple[int, int]] = {}
    unread, since = set(offsets), time.monotonic()
    while unread:
        for message in consumer.consume(1, _SLICE_SECONDS) + consumer.consume(_CHUNK, 0.0):
            if _is_record(address, message):
                found.setdefault(message.partition(), (message.offset(), message.timestamp()[1]))
            unread.discard(message.partition())
        _refuse_silence(address, since)
    return found
