"""Events that are posted are in a Kafka log once, too, also where the broker falls silent on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.core.errors import StateError
from tests.kafka_broker import KafkaBroker, started_broker
from tests.serve.intakes import PATIENT, again, opened, paid, payloads, take

ITEMS = [paid(1), paid(2, time="soon"), paid(3), {"type": "visit", "customer_id": "c1", "time": "2026-01-31"}]


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with started_broker() as running:
        yield running


def test_every_event_is_where_its_result_says(broker: KafkaBroker, tmp_path: Path) -> None:
    with opened(tmp_path, log=broker.log(2), patience_seconds=PATIENT) as (intake, log):
        first = take(intake, *ITEMS, key="k")
        assert (first.accepted, first.refused, first.results[1].field) == (3, 1, "time")
        for item, result in zip(ITEMS, first.results, strict=True):
            if result.partition is not None and result.offset is not None:
                (batch,) = log.read(result.partition, result.offset, result.offset + 1)
                assert json.loads(batch.payloads[0]).get("id") == item.get("id")
        assert take(intake, *ITEMS, key="k") == first.again()
        assert len(payloads(log)) == 3


def test_what_a_silent_broker_takes_later_is_not_appended_again(broker: KafkaBroker, tmp_path: Path) -> None:
    with opened(tmp_path, log=broker.log(2), patience_seconds=2.0) as (intake, log):
        with broker.paused(), pytest.raises(StateError, match="did not confirm the events"):
            take(intake, *ITEMS, key="k")
        taken = again(intake, *ITEMS, key="k")
        assert (taken.accepted, taken.replayed) == (3, True)
        assert len(payloads(log)) == 3
