"""Whatever consumers do in whatever order: a store holds what a dictionary would."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import FencedError
from tenure.store.online import open_online
from tenure.store.protocol import Mark, OnlineStore, Update
from tests.redis_server import RedisServer, running

NAMES = ("a", "b", "s:a", "mark", "顧客")
values = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=20), max_size=3)
ids = st.dictionaries(st.integers(0, 3), st.binary(max_size=3).map(lambda text: text * 8), max_size=2)
updates = st.builds(Update, st.integers(0, 99), st.just({}), values, ids, st.none() | st.integers(0, 4))
# Who acts, and what: claim, reset, or write with the mark that they hold, which may be an old one.
steps = st.lists(st.tuples(st.sampled_from(["one", "other"]), st.none() | st.just("reset") | updates), max_size=12)


@dataclass
class Expected:
    """What one partition should hold."""

    mark: Mark | None = None
    states: dict[str, bytes] = field(default_factory=dict)
    seen: dict[int, bytes] = field(default_factory=dict)

    def write(self, update: Update) -> None:
        self.states.update(update.states)
        for bucket, more in update.seen.items():
            if more:
                self.seen[bucket] = self.seen.get(bucket, b"") + more
        self.seen = {bucket: held for bucket, held in self.seen.items() if bucket >= (update.forget or 0)}


def act(store: OnlineStore, expected: Expected, held: dict[str, Mark], who: str, what: Update | str | None) -> None:
    """One step on the store, and the same on what is expected."""
    if isinstance(what, Update):
        mark = held.get(who, Mark(1, None, {}))
        allowed = expected.mark is not None and (mark.epoch, mark.position) == (
            expected.mark.epoch,
            expected.mark.position,
        )
        if not allowed:
            with pytest.raises(FencedError):
                store.apply(0, mark, what)
            return
        held[who] = expected.mark = store.apply(0, mark, what)
        expected.write(what)
    else:
        before = expected.mark
        held[who] = expected.mark = store.reset(0, {}) if what else store.claim(0)
        assert before is None or held[who].epoch > before.epoch
        if what:
            expected.states, expected.seen = {}, {}
        assert held[who].position == (before.position if before and not what else None)


def judge(store: OnlineStore, trial: list[tuple[str, Update | str | None]]) -> None:
    expected, held = Expected(), dict[str, Mark]()
    for who, what in trial:
        act(store, expected, held, who, what)
        found = store.read(NAMES)
        assert [(kept.state, kept.mark) for kept in found] == [
            (expected.states.get(name), expected.mark) for name in NAMES
        ]
        assert dict(store.seen(0)) == expected.seen
        assert dict(store.scan(0, None, 100)[0]) == expected.states
        assert store.size(0) == len(expected.states)


numbers = itertools.count()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@given(steps)
def test_sqlite_holds_what_a_dictionary_would(trial: list[tuple[str, Update | str | None]]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_online("sqlite:///a.db", Path(folder), project="shop", partitions=1)) as store,
    ):
        judge(store, trial)


@given(trial=steps)
def test_redis_holds_what_a_dictionary_would(
    redis_server: RedisServer, trial: list[tuple[str, Update | str | None]]
) -> None:
    with closing(open_online(redis_server.url, project=f"p{next(numbers)}", partitions=1)) as store:
        judge(store, trial)
