"""What every online store promises, and what crosses its border.

Enters: the states that a consumer has folded, with the position in the log up to which it has. Leaves: states, each
with the mark of its partition. The invariant is what makes every event count exactly once:

**States, position and seen ids of a partition change together, and only for the consumer that holds the partition.**

A consumer begins with `claim`, which raises the partition's epoch. Whatever it writes afterwards carries the mark it
holds, and the store refuses it (`FencedError`) unless the stored epoch and position are those of the mark, in the
same atomic step in which it writes. Two things follow. A consumer that has lost its partition without noticing can
write nothing any more: someone else has claimed it since. And a write that was sent twice, because its answer got
lost, is applied once: the second finds another position. After *any* error a consumer therefore forgets what it
believed, claims again and goes on from the position that it is told; it is the same path as after a restart.

What was lost is noticed, never guessed: a partition without a mark has no position, and `read` says so (`Kept.mark`
is None). A server may also come back with what it knew a second ago, or hand over to a replica that is behind: states
and position go back together, and the log is read again from there, but claims of that second are forgotten, too. So
that the next claim is not taken for one of them, epochs do not rise by one but by a random number, and the first one
is random.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenure.core.errors import FencedError

__all__ = [
    "Kept",
    "Mark",
    "OnlineStore",
    "Update",
    "by_partition",
    "next_epoch",
    "note_text",
    "refuse_unless_held",
]

_FIRST_EPOCH_BITS = 40
_STRIDE_BITS = 20  # leaves room for 2^42 claims before an epoch outgrows 63 bits


@dataclass(frozen=True)
class Mark:
    """How far one partition has come, and who may move it on.

    Attributes
    ----------
    epoch : int
        Raised by every claim and reset.
    position : int or None
        Offset of the next event to fold; None where nothing has been folded.
    note : mapping
        A small JSON document that belongs to the consumer; the store does not look into it.
    """

    epoch: int
    position: int | None
    note: Mapping[str, Any]


@dataclass(frozen=True)
class Update:
    """One atomic write to a partition.

    Attributes
    ----------
    position : int or None
        Position of the partition afterwards.
    note : mapping
        Its note afterwards.
    states : mapping of str to bytes
        New states by customer; those of other customers stay.
    seen : mapping of int to bytes
        Ids that were seen, appended to what the bucket holds.
    forget : int, optional
        Buckets with a smaller number are dropped.
    """

    position: int | None
    note: Mapping[str, Any]
    states: Mapping[str, bytes] = field(default_factory=dict)
    seen: Mapping[int, bytes] = field(default_factory=dict)
    forget: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one customer.

    Attributes
    ----------
    customer_id : str
        Who it is.
    state : bytes or None
        Their state as of the mark; None where there is none.
    row : bytes or None
        Their row of the latest batch run.
    partition : int
        The partition they belong to.
    mark : Mark or None
        Its mark; None where the store knows nothing of the partition: never written, lost, or flushed.
    """

    customer_id: str
    state: bytes | None
    row: bytes | None
    partition: int
    mark: Mark | None


class OnlineStore(Protocol):
    """A place that keeps states by partition. Every method may be called from any thread.

    Every method raises `UnreachableError` where the store does not answer in time, and `StateError` where it answers
    that it cannot. After either, a write may or may not have happened: `claim` tells.
    """

    @property
    def name(self) -> str:
        """What kind of store this is, and where, without passwords."""

    @property
    def partitions(self) -> int:
        """How many partitions the log has."""

    def claim(self, partition: int) -> Mark:
        """Become the only one who may write to a partition: its epoch rises."""

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        """Claim a partition and drop its states, seen ids and position; its rows stay."""

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        """Write everything of an update, or, where the mark is not the newest, nothing (`FencedError`)."""

    def publish(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows that a batch computed, by customer; nobody has to hold a partition for that."""

    def states(self, partition: int, customers: Sequence[str]) -> list[bytes | None]:
        """The state of each customer of a partition, in the order asked for."""

    def seen(self, partition: int) -> Mapping[int, bytes]:
        """The ids that were seen, by bucket."""

    def read(self, customers: Sequence[str]) -> list[Kept]:
        """Everything kept of each customer, in the order asked for, in one round trip."""

    def marks(self) -> Mapping[int, Mark]:
        """The mark of every partition that has one."""

    def scan(self, partition: int, cursor: str | None, limit: int) -> tuple[list[tuple[str, bytes]], str | None]:
        """About `limit` customers with their states, and the cursor of the next page; None after the last.

        Whoever is there from the first page to the last is met at least once, whatever is written meanwhile; they may
        be met twice.
        """

    def size(self, partition: int) -> int:
        """How many customers have a state."""

    def close(self) -> None:
        """Give back what is open."""


def next_epoch(epoch: int | None) -> int:
    """The epoch of whoever claims next: larger, by how much is luck.

    Parameters
    ----------
    epoch : int or None
        The epoch that is stored; None where nothing is.

    Examples
    --------
    >>> next_epoch(7) > 7
    True
    >>> next_epoch(None) != next_epoch(None)
    True
    """
    return 1 + secrets.randbits(_FIRST_EPOCH_BITS) if epoch is None else epoch + 1 + secrets.randbits(_STRIDE_BITS)


def by_partition(rows: Mapping[str, bytes], place: Callable[[str], int]) -> dict[int, dict[str, bytes]]:
    """Rows of customers by the partitions that the customers are in.

    Examples
    --------
    >>> by_partition({"ana": b"a", "bo": b"b"}, len)
    {3: {'ana': b'a'}, 2: {'bo': b'b'}}
    """
    found: dict[int, dict[str, bytes]] = {}
    for customer, row in rows.items():
        found.setdefault(place(customer), {})[customer] = row
    return found


def note_text(note: Mapping[str, Any]) -> str:
    """A note as JSON text; equal notes give equal texts.

    Examples
    --------
    >>> note_text({"ready": True, "layout": "a1"})
    '{"layout":"a1","ready":true}'
    """
    return json.dumps(note, separators=(",", ":"), sort_keys=True, allow_nan=False)


def refuse_unless_held(partition: int, held: Mark, epoch: int | None, position: int | None) -> None:
    """Refuse a write unless what is stored is what the writer believes.

    Parameters
    ----------
    partition : int
        Which partition is to be written.
    held : Mark
        What the writer believes.
    epoch, position : int or None
        What is stored; an epoch of None means that nothing is.

    Raises
    ------
    FencedError
        The writer may not write.

    Examples
    --------
    >>> refuse_unless_held(0, Mark(7, 100, {}), 7, 100)
    >>> refuse_unless_held(0, Mark(7, 100, {}), 8, 100)
    Traceback (most recent call last):
        ...
    tenure.core.errors.FencedError: Partition 0 was claimed by another consumer (epoch 8, held 7); nothing was written.
    → Claim the partition again and go on from the position that it has then.
    """
    if epoch == held.epoch and position == held.position:
        return
    if epoch is None:
        what = "is no longer known to the store, which was emptied"
    elif epoch != held.epoch:
        what = f"was claimed by another consumer (epoch {epoch}, held {held.epoch})"
    else:
        what = f"is at position {position} and not at {held.position}"
    raise FencedError(
        f"Partition {partition} {what}; nothing was written.",
        hint="Claim the partition again and go on from the position that it has then.",
        partition=partition,
        epoch=epoch,
        position=position,
    )
