"""Parity while a consumer is at work: what it archives meanwhile is compared once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from tenure.features.declare import Feature, FeatureSet
from tenure.features.series import Layout
from tenure.source.event_schema import EventSchema
from tenure.store import verify as verify_module
from tenure.store.archive import Archive
from tenure.store.consumer import Consumer, caught_up
from tenure.store.folding import Rules
from tenure.store.restore import begin
from tenure.store.stream import Stream
from tenure.store.truth import open_truth
from tenure.store.verify import Parity, verify
from tenure.testing.stream import SMALL_FEATURES, small_stream

COUNT = FeatureSet((Feature("visit", "count"),))


def visits(stream: Stream, folder: Path) -> Stream:
    """The same log with three events that have no ids, and nothing else that is known."""
    schemas = {"visit": EventSchema("visit")}
    event = {"type": "visit", "customer_id": "ana", "time": "2026-01-30T12:00:00Z"}
    stream.log.append([("ana", json.dumps(event).encode())] * 3)
    rules = Rules(Layout.of(COUNT), schemas, UTC, stream.log.partitions)
    return replace(stream, rules=rules, archive=Archive(folder, schemas, stream.clock))


def test_states_tell_themselves_what_they_count() -> None:
    """Where partitions begin is written down anew, by a bootstrap that was killed then, or with a new database."""
    with small_stream() as stream:
        begin(stream, stream.clock())
        assert verify(stream, SMALL_FEATURES, ["ana", "bo"]).equal
        with stream.database.begin() as connection:
            connection.exec_driver_sql("DELETE FROM stream_origins")
        assert verify(stream, SMALL_FEATURES, ["ana", "bo"]).equal


def test_what_is_archived_during_a_comparison_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Parity] = []
    with small_stream(folded=False) as small:
        stream = visits(small, tmp_path / "archive")
        consumer = Consumer(stream)

        def flushed(engine: Any, truth: Any, customers: Sequence[str] | None = None) -> dict[str, str]:
            for partition, mark in stream.store.marks().items():
                stream.archive.flush(partition, mark.position or 0)
            return open_truth(engine, truth, customers)

        def stop() -> bool:
            if not caught_up(stream):
                return False
            with monkeypatch.context() as patch:
                patch.setattr(verify_module, "open_truth", flushed)
                found.append(verify(stream, COUNT, ["ana"]))
            return True

        consumer.run(stop, poll_seconds=0.0)
    assert found[0].differences == ()
