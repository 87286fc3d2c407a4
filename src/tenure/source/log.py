"""The event log: what every kind of it offers, and which of its partitions a customer's events are in.

Enters: records (a customer's id and the bytes of one event). Leaves: batches of records, in the order of their
offsets. Invariant: a record has one place, its partition and offset, for ever; a customer's records are all in one
partition, so that their order is the order in which they were appended; what `append` returned is durable.

A log is read in two ways. `EventLog.read` gives any span of one partition to anybody who asks. A `LogReader` is a
member of a group: the members share the partitions, and each is told through its `Listener` which ones have become
its own, so that it can say where to read on. The log keeps no positions: whoever folds events into a store keeps
the position there, in the same atomic write, and a position that is lost with the store is lost together with what
it speaks for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tenure.core.errors import ConfigError

__all__ = ["PARTITIONERS", "Batch", "EventLog", "Listener", "LogReader", "murmur2", "partition_of", "partition_rule"]


@dataclass(frozen=True)
class Batch:
    """Records of one partition that follow each other; row `i` of all sequences speaks of the same record.

    Attributes
    ----------
    partition : int
        Counted from 0.
    offsets : int64 array, shape (n,)
        Ascending; a log may leave gaps.
    appended : int64 array, shape (n,)
        When the log took the record, microseconds since 1970 in UTC.
    payloads : list of bytes
        The events as they were appended.
    keys : list of bytes or None
        The customers' ids as the log has them, None where a record came without one.
    """

    partition: int
    offsets: npt.NDArray[np.int64]
    appended: npt.NDArray[np.int64]
    payloads: list[bytes]
    keys: list[bytes | None]


class Listener(Protocol):
    """Who is told which partitions a reader may read; called inside `LogReader.poll` and `LogReader.close`."""

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Answer, for each of these partitions that are now the reader's, the offset to read from.

        What is raised here gives the partitions back, comes out of `poll`, and is asked again at a later `poll`.
        """

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """Finish with these partitions; where they are `lost`, another reader may have them already."""


class LogReader(Protocol):
    """One member of a group that shares the partitions of a log. Used by one thread at a time."""

    def poll(self, max_records: int, timeout: float) -> list[Batch]:
        """Give the next records, at most `max_records` in all; wait up to `timeout` seconds for the first of them.

        Raises
        ------
        StateError
            The place to read from lies before the first record that is kept, or beyond the end.
        UnreachableError
            The log does not answer.
        """

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition that is the reader's from another offset."""

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition that is the reader's."""

    def close(self) -> None:
        """Give the partitions back; doing so twice is no mistake."""


class EventLog(Protocol):
    """An append-only, partitioned log. Its methods may be called by several threads."""

    name: str
    partitions: int

    @property
    def identity(self) -> str:
        """What tells this log from any other, also from an emptied one of the same name."""

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        """Append `(customer_id, payload)` records; give their partitions and offsets once they are durable.

        Raises
        ------
        StateError
            The log could not take the records; try again. Where even that is uncertain, the message says so.
        """

    def reader(self, group: str, listener: Listener) -> LogReader:
        """Join a group of readers."""

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition."""

    def offsets_at(self, appended: int) -> Mapping[int, int]:
        """Of every partition, the first offset appended at or after an instant (microseconds UTC), or else its end."""

    def read(self, partition: int, first: int, end: int) -> Iterator[Batch]:
        """Read the records of one partition from `first` to before `end`, outside any group.

        Raises
        ------
        StateError
            `first` lies before the first record that is kept, or beyond the end.
        """

    def trim(self, partition: int, before_offset: int) -> int:
        """Drop the records of a partition before an offset, and give the first that is kept.

        A log whose servers drop what is old by their own rules does nothing.
        """

    def close(self) -> None:
        """Let go of files and connections; doing so twice is no mistake."""


def murmur2(key: bytes) -> int:
    """The hash by which Kafka's Java client chooses a partition: 32 bits, murmur2 with its seed.

    References
    ----------
    Austin Appleby, MurmurHash2; seed 0x9747b28c as in `org.apache.kafka.common.utils.Utils.murmur2`.

    Examples
    --------
    >>> murmur2(b"21"), murmur2(b"foobar")
    (3321034988, 3504634814)
    """
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    digest = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        digest = (digest * factor & mask) ^ word
    if whole < len(key):
        digest = (digest ^ int.from_bytes(key[whole:], "little")) * factor & mask
    digest = (digest ^ digest >> 13) * factor & mask
    return digest ^ digest >> 15


# The Java client drops the sign of its hash before it divides. Customers come again, and this hash is slow in Python.
PARTITIONERS: Mapping[str, Callable[[bytes], int]] = {
    "crc32": zlib.crc32,
    "murmur2": lru_cache(maxsize=2**17)(lambda key: murmur2(key) & 0x7FFFFFFF),
}


def partition_of(customer_id: str, partitions: int, how: str = "crc32") -> int:
    """The partition that a customer's events are in.

    Parameters
    ----------
    customer_id : str
        Hashed as UTF-8, as Kafka's clients hash a record's key.
    partitions : int
        How many the log has.
    how : {"crc32", "murmur2"}
        `crc32` is librdkafka's partitioner `consistent`, `murmur2` that of Kafka's Java client.

    Raises
    ------
    ConfigError
        There is no such partitioner.

    Examples
    --------
    >>> partition_of("customer-1", 4), partition_of("customer-1", 4, "murmur2")
    (1, 1)
    """
    return partition_rule(partitions, how)(customer_id)


def partition_rule(partitions: int, how: str = "crc32") -> Callable[[str], int]:
    """`partition_of` for one log, for those who ask about many customers.

    Raises
    ------
    ConfigError
        There is no such partitioner.

    Examples
    --------
    >>> partition_rule(4)("customer-1")
    1
    """
    digest = PARTITIONERS.get(how)
    if digest is None:
        raise ConfigError(
            f"The partitioner {how!r} is unknown. Known: {', '.join(PARTITIONERS)}.",
            hint="Set [stream] partitioner to one of them.",
        )
    return lambda customer_id: digest(customer_id.encode()) % partitions
