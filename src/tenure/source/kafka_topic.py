"""The topic behind a Kafka log.

Enters: an address and the number of partitions that a new topic gets. Leaves: how many partitions there are, and what
tells this topic from any other, even from one of the same name that was deleted before. Invariant: a topic that exists
is taken as it is, its number of partitions being the broker's word and not the settings', or refused: one whose records
carry their producers' clocks cannot be judged by them. A producer whose clock runs a year ahead would make the ids of
everybody forgotten and every window empty.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tenure.core.errors import ConfigError, NotFoundError, UnreachableError
from tenure.core.extras import require
from tenure.source.kafka_address import KafkaAddress, talking

__all__ = ["Topic", "find_topic"]

# The broker's own clock stamps the records, so that `appended` means the same whoever appends.
_STAMP = "message.timestamp.type"
_STAMPED = {_STAMP: "LogAppendTime"}
_UNTOLD = {
    "_UNSUPPORTED_FEATURE",
    "UNSUPPORTED_VERSION",
    "TOPIC_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
}
_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Topic:
    """A topic that exists.

    Parameters
    ----------
    partitions : int
        How many it has.
    identity : str
        Cluster, name and, from brokers that give one, the topic's own id.

    Examples
    --------
    >>> Topic(4, "cluster/events/id").partitions
    4
    """

    partitions: int
    identity: str


def find_topic(address: KafkaAddress, partitions: int) -> Topic:
    """Look the topic up, and create it where it is missing and the broker allows that.

    Parameters
    ----------
    address : KafkaAddress
        Where it is.
    partitions : int
        How many a new topic gets.

    Raises
    ------
    ConfigError
        Producers stamp its records, and not the broker.
    NotFoundError
        It is missing and may not be created.
    UnreachableError
        No broker answers within the address's patience.
    """
    admin_client = require("confluent_kafka.admin").AdminClient
    with talking(address, "look for the topic"):
        admin = admin_client(address.client())
        known = admin.list_topics(timeout=address.patience_seconds).topics
        if address.topic not in known:
            _create(admin, address, partitions, sorted(known))
        count, cluster = _settled(admin, address)
        _refuse_producers_clocks(admin, address)
        return Topic(count, "/".join(filter(None, (cluster, address.topic, _topic_id(admin, address)))))


def _create(admin: Any, address: KafkaAddress, partitions: int, known: list[str]) -> None:
    kafka, new_topic = require("confluent_kafka"), require("confluent_kafka.admin").NewTopic
    wanted = new_topic(address.topic, partitions, -1, config=_STAMPED)  # -1: as many replicas as the broker's default
    try:
        admin.create_topics([wanted])[address.topic].result(address.patience_seconds)
    except kafka.KafkaException as error:
        if error.args[0].name() == "TOPIC_ALREADY_EXISTS":  # another process was faster
            return
        if error.args[0].retriable() or error.args[0].code() < 0:
            raise
        raise NotFoundError(
            f"There is no topic {address.topic!r} at {address.servers}, and the broker does not let it be created "
            f"({error.args[0].str()}); there are: {', '.join(known[:12]) or 'none'}.",
            hint=f"Create it with: kafka-topics.sh --bootstrap-server {address.servers} --create --topic "
            f"{address.topic} --partitions {partitions} --config {_STAMP}=LogAppendTime",
            topic=address.topic,
            known=known,
        ) from error


def _settled(admin: Any, address: KafkaAddress) -> tuple[int, str]:
    """Partitions and cluster, once every partition has a leader; a new topic needs a moment."""
    give_up = time.monotonic() + address.patience_seconds
    while True:
        metadata = admin.list_topics(timeout=address.patience_seconds)
        topic = metadata.topics.get(address.topic)
        if topic and not topic.error and topic.partitions and all(p.leader >= 0 for p in topic.partitions.values()):
            return len(topic.partitions), str(metadata.cluster_id or "")
        if time.monotonic() > give_up:
            raise UnreachableError(
                f"The topic {address.topic!r} at {address.servers} has partitions without a leader "
                f"after {address.patience_seconds:g} seconds.",
                hint="Look whether all brokers of the cluster are up.",
            )
        time.sleep(_AGAIN_SECONDS)


def _refuse_producers_clocks(admin: Any, address: KafkaAddress) -> None:
    """Refuse a topic that says so of itself; one that the broker does not describe is taken."""
    kafka, described = require("confluent_kafka"), require("confluent_kafka.admin")
    resource = described.ConfigResource(described.ConfigResource.Type.TOPIC, address.topic)
    try:
        found = admin.describe_configs([resource])[resource].result(address.patience_seconds)
    except kafka.KafkaException as error:
        if error.args[0].name() in _UNTOLD:
            return
        raise
    if _STAMP in found and found[_STAMP].value == "CreateTime":
        raise ConfigError(
            f"The topic {address.topic!r} at {address.servers} keeps the times of its producers' clocks "
            f"({_STAMP}=CreateTime); events are judged by when the log took them.",
            hint=f"Change it with: kafka-configs.sh --bootstrap-server {address.servers} --alter --entity-type topics "
            f"--entity-name {address.topic} --add-config {_STAMP}=LogAppendTime",
            topic=address.topic,
        )


def _topic_id(admin: Any, address: KafkaAddress) -> str:
    """The broker's own id of the topic; empty from brokers that have none."""
    kafka = require("confluent_kafka")
    names = kafka.TopicCollection([address.topic])
    try:
        described = admin.describe_topics(names)[address.topic].result(address.patience_seconds)
    except kafka.KafkaException as error:
        if error.args[0].name() in _UNTOLD:
            return ""
        raise
    return str(described.topic_id or "")
