"""The event log in Kafka.

Enters: `[stream]` with a `kafka://` URL. Leaves: an opened `KafkaLog`. Invariants: `append` returns once every replica
that must have a record has it; a customer's records are all in the partition that `partition_of` names, whatever the
broker's or another client's default partitioner is. Needs the extra `kafka`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tenure.core.errors import InputError, TenureError
from tenure.core.extras import require
from tenure.core.settings import StreamSettings
from tenure.source.kafka_address import KafkaAddress, kafka_error, talking
from tenure.source.kafka_group import KafkaReader
from tenure.source.kafka_read import kafka_bounds, kafka_offsets_at, kafka_read
from tenure.source.kafka_topic import Topic, find_topic
from tenure.source.log import Batch, Listener, LogReader, partition_of

__all__ = ["KafkaLog", "open_kafka_log"]

_SLICE_SECONDS = 0.01
_LARGEST = 900_000  # bytes; brokers refuse a batch of one record from about 1 MB on


class KafkaLog:
    """A topic as an event log.

    Parameters
    ----------
    address : KafkaAddress
        Where the topic is.
    topic : Topic
        What it is.
    partitioner : {"crc32", "murmur2"}
        How a customer's partition is chosen.
    """

    def __init__(self, address: KafkaAddress, topic: Topic, partitioner: str = "crc32") -> None:
        self.name, self.partitions, self.identity = address.name, topic.partitions, topic.identity
        self._address, self._partitioner = address, partitioner
        self._producer: Any = None
        self._choosing = threading.Lock()

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        """Append `(customer_id, payload)` records; give their partitions and offsets once they are durable.

        Raises
        ------
        UnreachableError
            Not every record was confirmed within the address's patience; each may be in the log or not.
        InputError
            A record is too large; then none was appended.
        """
        rows = [
            (partition_of(customer, self.partitions, self._partitioner), customer.encode(), payload)
            for customer, payload in records
        ]
        _refuse_large(rows)
        producer, deliveries = self._open_producer(), _Deliveries(len(rows))
        try:
            with talking(self._address, "append"):
                for row, record in enumerate(rows):
                    self._send(producer, deliveries, row, *record)
                while deliveries.open and not deliveries.failed:
                    producer.poll(_SLICE_SECONDS)
            self._refuse_unconfirmed(deliveries)
        except TenureError:
            self._drop_producer(producer)
            raise
        return deliveries.places

    def reader(self, group: str, listener: Listener) -> LogReader:
        """Join a group of readers."""
        return KafkaReader(self._address, group, listener, partial(kafka_bounds, self._address))

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition."""
        return kafka_bounds(self._address, range(self.partitions))

    def offsets_at(self, appended: int) -> Mapping[int, int]:
        """Of every partition, the first offset appended at or after an instant (microseconds UTC), or else its end."""
        return kafka_offsets_at(self._address, range(self.partitions), appended)

    def read(self, partition: int, first: int, end: int) -> Iterator[Batch]:
        """Read the records of one partition from `first` to before `end`, outside any group."""
        return kafka_read(self._address, partition, first, end)

    def trim(self, partition: int, before_offset: int) -> int:  # noqa: ARG002 - the broker keeps what its topic says
        """Do nothing: what is old, the topic's retention drops."""
        return self.bounds()[partition][0]

    def close(self) -> None:
        """Let go of the connections; doing so twice is no mistake."""
        with self._choosing:
            self._producer = None

    def _open_producer(self) -> Any:
        with self._choosing:
            if self._producer is None:
                settings = self._address.client(
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=1,
                    compression_type="lz4",
                    message_timeout_ms=round(self._address.patience_seconds * 1_000),
                )
                with talking(self._address, "append"):
                    self._producer = require("confluent_kafka").Producer(settings)
            return self._producer

    def _send(
        self, producer: Any, deliveries: _Deliveries, row: int, partition: int, key: bytes, payload: bytes
    ) -> None:
        confirm = partial(deliveries.confirm, row)
        while not deliveries.failed:
            try:
                producer.produce(self._address.topic, payload, key, partition, on_delivery=confirm)
            except BufferError:  # the client library's queue is full
                producer.poll(_SLICE_SECONDS)
            else:
                return

    def _drop_producer(self, producer: Any) -> None:
        """Begin anew: what is still queued would arrive after the caller has been told that it may not have."""
        producer.purge()
        producer.poll(0)
        with self._choosing:
            if self._producer is producer:
                self._producer = None

    def _refuse_unconfirmed(self, deliveries: _Deliveries) -> None:
        if deliveries.failed:
            error = kafka_error(self._address, "append", deliveries.error)
            wanted = len(deliveries.places)
            raise type(error)(
                f"{error.message} Of {wanted:,} records {wanted - deliveries.open:,} are confirmed; "
                "each of the others may be in the log or not.",
                hint=error.hint,
                confirmed=wanted - deliveries.open,
                wanted=wanted,
            )


def _refuse_large(rows: Sequence[tuple[int, bytes, bytes]]) -> None:
    for _, key, payload in rows:
        if len(key) + len(payload) > _LARGEST:
            raise InputError(
                f"An event of customer {key.decode()!r} takes {len(payload):,} bytes; "
                f"a Kafka log takes at most {_LARGEST:,} with the customer's id. Nothing was appended.",
                hint="Append smaller events.",
            )


class _Deliveries:
    """What the broker has said about the records of one append."""

    def __init__(self, records: int) -> None:
        self.places: list[tuple[int, int]] = [(-1, -1)] * records
        self.open = records
        self.error: Any = None

    @property
    def failed(self) -> bool:
        return self.error is not None

    def confirm(self, row: int, error: Any, message: Any) -> None:
        if error is not None:
            self.error = self.error or error
            return
        self.places[row] = (message.partition(), message.offset())
        self.open -= 1


def open_kafka_log(settings: StreamSettings, *, patience_seconds: float = 30.0) -> KafkaLog:
    """Open the topic that the settings name; a missing one is created where the broker allows that.

    Parameters
    ----------
    settings : StreamSettings
        `log` is `kafka://host:port[,host:port]/topic`. librdkafka's settings that start with `security.`, `ssl.`,
        `sasl.` or `client.` may follow as a query.
    patience_seconds : float
        How long a broker may stay silent before that is an error.

    Raises
    ------
    ConfigError
        The URL is not one of a topic, or the broker refuses who asks.
    NotFoundError
        There is no such topic, and it may not be created.
    UnreachableError
        No broker answers.

    Examples
    --------
    >>> open_kafka_log(StreamSettings(log="kafka://localhost:9092"))
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: The URL of the event log cannot be used: '' is no name of a topic.
    → Write it like kafka://localhost:9092/events; several brokers are separated by commas.
    """
    address = KafkaAddress.of(settings.log, patience_seconds)
    return KafkaLog(address, find_topic(address, settings.partitions), settings.partitioner)
