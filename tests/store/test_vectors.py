"""Reading refuses what it cannot speak for."""

from __future__ import annotations

import pytest

from tenure.core.errors import StateError
from tenure.store.hybrid import read_hybrid
from tenure.store.online import open_online
from tenure.store.vectors import read_vectors
from tenure.testing.stream import SMALL_FEATURES, small_stream


def test_customers_who_were_put_elsewhere_are_not_taken_for_idle() -> None:
    """The log has another number of partitions than when the store was filled: bo was in 1 and is looked for in 0."""
    with small_stream() as stream:
        layout, root = stream.rules.layout, stream.archive.folder.parent
        [kept] = stream.store.read(["bo"])
        assert kept.partition == 1
        fewer = open_online("sqlite:///online.db", root, project="small", partitions=1)
        with pytest.raises(StateError, match="no complete states of these features for partitions 0"):
            read_vectors(fewer, layout, ["bo"], clock=stream.clock)
        [row] = read_hybrid(fewer, SMALL_FEATURES, layout, ["bo"], clock=stream.clock)
        assert (row.events, row.values["pay_count_7d"]) == ("none", None)
        fewer.close()
