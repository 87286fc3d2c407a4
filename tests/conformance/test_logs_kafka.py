"""The event log in Kafka keeps every promise that the embedded one keeps, against a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tenure.testing.log import CHECKS, PARTITIONS, Opener, check_readers_share_the_partitions
from tests.kafka_broker import KafkaBroker, started_broker

SLOW = {check_readers_share_the_partitions}  # the broker waits some seconds before it shares partitions anew


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with started_broker() as running:
        yield running


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=check.__name__, marks=[pytest.mark.slow] if check in SLOW else []) for check in CHECKS],
)
def test_the_log_in_kafka_keeps_every_promise(check: Callable[[Opener], None], broker: KafkaBroker) -> None:
    check(lambda name: broker.log(PARTITIONS, url=broker.url(name)))
