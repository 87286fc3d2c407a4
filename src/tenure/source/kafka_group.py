"""A member of a group of readers of a Kafka topic.

Enters: polls, and the answers of a listener about where to read. Leaves: batches. Invariants: what is handed out of a
partition begins at the position that the listener or `seek` gave and leaves nothing out; a partition is given back only
after the listener has finished with it. Kafka's own positions of the group are neither read nor written.

The broker decides who has which partition and tells this client inside `poll`, in two ways that differ. A partition
that is taken away must be finished with at once, so the listener hears of it inside the client library's callback. A
partition that arrives can wait: the callback only notes it, and the listener is asked afterwards, where its failure
(the store that knows the position does not answer) is an ordinary exception and the question is put again at the next
poll. Until there is an answer nothing of the partition is fetched.

When anything interrupts the client library in the middle (the listener fails while it finishes, a signal handler
raises), records may already have left the library's queue without having been handed out. So every poll that did not
end well makes the next one begin by going back to the positions after the last records handed out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenure.core.errors import NotFoundError
from tenure.core.extras import require
from tenure.source.kafka_address import KafkaAddress, talking
from tenure.source.kafka_read import refuse_error, refuse_outside, to_batches
from tenure.source.log import Batch, Listener

__all__ = ["KafkaReader"]

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6_000,  # a member that is killed loses its partitions after that long
    "heartbeat.interval.ms": 1_500,
    # A partition is filled within a poll, which may be long: whoever is given up meanwhile begins it all over again.
    "max.poll.interval.ms": 6 * 3_600_000,
    "auto.offset.reset": "error",  # a position that is gone is said, never skipped
    "fetch.wait.max.ms": 100,
}
_SLICE_SECONDS = 0.1  # how long a partition that arrives waits for its position


class KafkaReader:
    """A member of a group; made by `KafkaLog.reader`.

    Parameters
    ----------
    address : KafkaAddress
        The topic.
    group : str
        The group's name at the broker.
    listener : Listener
        Who is told about partitions.
    bounds : callable
        Gives first and next offset of each of the named partitions.
    """

    def __init__(
        self,
        address: KafkaAddress,
        group: str,
        listener: Listener,
        bounds: Callable[[Sequence[int]], Mapping[int, tuple[int, int]]],
    ) -> None:
        kafka = require("confluent_kafka")
        self._address, self._listener, self._bounds, self._place = address, listener, bounds, kafka.TopicPartition
        self._unasked: set[int] = set()  # the broker's word that they are ours; the listener was not told yet
        self._next: dict[int, int] = {}  # the listener's partitions: the offset after the last record handed out
        self._fetched: set[int] = set()  # those of them that the client library fetches
        self._astray = self._closed = False
        self._consumer = kafka.Consumer({**_SETTINGS, **address.client(group_id=group)})
        with talking(address, f"join the group {group!r}"):
            self._consumer.subscribe(
                [address.topic],
                on_assign=self._on_assign,
                on_revoke=lambda _, places: self._on_revoke(places, lost=False),
                on_lost=lambda _, places: self._on_revoke(places, lost=True),
            )

    def poll(self, max_records: int, timeout: float) -> list[Batch]:
        """Give the next records, at most `max_records` in all; wait up to `timeout` seconds for the first of them.

        While no broker answers there are no records, and reading goes on by itself once one does.
        """
        until = time.monotonic() + timeout
        with talking(self._address, "read"):
            while True:
                self._settle()
                left = max(until - time.monotonic(), 0.0)
                batches = to_batches(self._consume(max_records, min(left, _SLICE_SECONDS)))
                self._next |= {batch.partition: int(batch.offsets[-1]) + 1 for batch in batches}
                if batches or left <= 0:
                    return batches

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition that is the reader's from another offset."""
        if partition not in self._next:
            raise NotFoundError(
                f"Partition {partition} is not this reader's; it has {sorted(self._next)}.",
                hint="Seek only between assigned and revoked.",
            )
        with talking(self._address, "seek"):
            self._stop_fetching([partition])
        self._next[partition] = offset

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition that is the reader's."""
        return self._bounds(sorted(self._next))

    def close(self) -> None:
        """Give the partitions back; doing so twice is no mistake."""
        if not self._closed:
            self._closed = True
            with talking(self._address, "leave the group"):
                self._consumer.close()

    def _settle(self) -> None:
        """Ask for missing positions, and make the client library fetch from where the listener is."""
        if self._astray:
            self._stop_fetching(sorted(self._fetched))
            self._astray = False
        if self._unasked:
            asked = sorted(self._unasked)
            offsets = self._listener.assigned(asked)
            self._next |= {partition: offsets[partition] for partition in asked}
            self._unasked.difference_update(asked)
        idle = {partition: offset for partition, offset in self._next.items() if partition not in self._fetched}
        if idle:
            refuse_outside(self._address, idle, self._bounds(sorted(idle)))
            self._consumer.incremental_assign([self._place(self._address.topic, p, at) for p, at in idle.items()])
            self._fetched.update(idle)

    def _stop_fetching(self, partitions: Sequence[int]) -> None:
        fetched = [partition for partition in partitions if partition in self._fetched]
        self._fetched.difference_update(fetched)
        self._consumer.incremental_unassign([self._place(self._address.topic, partition) for partition in fetched])

    def _consume(self, max_records: int, wait: float) -> list[Any]:
        """Wait for one message, then take what else is there: waiting for more would make all of them late."""
        self._astray = True
        messages = self._consumer.consume(1, wait)
        if messages and max_records > 1:
            messages += self._consumer.consume(max_records - 1, 0.0)
        for message in messages:
            refuse_error(self._address, message)
        self._astray = False
        return [message for message in messages if message.error() is None and self._is_due(message)]

    def _is_due(self, message: Any) -> bool:
        """A record of a partition that was taken away meanwhile, or from before a seek, is nobody's any more."""
        return bool(message.offset() >= self._next.get(message.partition(), message.offset() + 1))

    def _on_assign(self, consumer: Any, places: Sequence[Any]) -> None:
        self._unasked.update(place.partition for place in places)
        consumer.incremental_assign([])

    def _on_revoke(self, places: Sequence[Any], *, lost: bool) -> None:
        gone = sorted(place.partition for place in places)
        known = [partition for partition in gone if partition in self._next]
        try:
            if known:
                self._listener.revoked(known, lost=lost)
        finally:
            self._unasked.difference_update(gone)
            for partition in known:
                del self._next[partition]
            self._stop_fetching(gone)
