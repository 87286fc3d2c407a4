from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS
from tenure.store.seen import SPAN_DAYS, Seen, bucket_of, id_hashes

small = st.integers(0, 40)
batches = st.lists(
    st.tuples(st.integers(0, 2), st.lists(small, max_size=30), st.sampled_from(["go on", "load", "forget"])),
    max_size=12,
)


def numbers(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(values, dtype=np.uint64)


def firsts(values: list[int], known: set[int]) -> list[bool]:
    """What a set says: whether each value is met for the first time."""
    met = set(known)
    told = []
    for value in values:
        told.append(value not in met)
        met.add(value)
    return told


@given(batches)
def test_it_tells_what_a_set_tells(steps: list[tuple[int, list[int], str]]) -> None:
    seen, day = Seen(), 0
    kept: dict[int, set[int]] = {}
    stored: dict[int, bytes] = {}
    for days, values, then in steps:
        day += days
        expected = firsts(values, set().union(*kept.values()))
        new = seen.fresh(numbers(values))
        assert new.tolist() == expected
        blob = seen.add(day, numbers(values)[new])
        kept.setdefault(day, set()).update(values[i] for i in np.flatnonzero(new))
        stored[day] = stored.get(day, b"") + blob
        if then == "load":
            seen = Seen.load(stored)
        if then == "forget":
            seen.forget(day - 1)
            kept, stored = ({d: held for d, held in m.items() if d >= day - 1} for m in (kept, stored))  # type: ignore[assignment]
        assert len(seen) == sum(len(held) for held in kept.values())


def test_many_runs_are_merged_and_none_is_lost() -> None:
    values = np.random.default_rng(5).permutation(np.arange(100_000, dtype=np.uint64))
    seen = Seen()
    for part in np.array_split(values, 333):
        seen.add(0, part)
    (runs,) = seen._runs.values()
    assert len(runs) < 20
    assert not seen.fresh(values).any()
    seen.add(1, numbers([200_000]))
    assert [len(runs) for runs in seen._runs.values()] == [1, 1]
    assert seen.fresh(numbers([99_999, 100_000, 200_000, 200_001])).tolist() == [False, True, False, True]
    assert len(seen) == 100_001


def test_the_largest_and_the_smallest_number_are_found() -> None:
    ends = numbers([0, 2**64 - 1])
    seen = Seen()
    assert seen.fresh(ends).all()
    seen.add(0, ends)
    assert not seen.fresh(ends).any()


def test_what_a_store_kept_may_come_in_any_order_and_twice() -> None:
    blob = np.array([9, 3, 9, 5], dtype="<u8").tobytes()
    seen = Seen.load({7: blob + blob, 8: b""})
    assert seen.fresh(numbers([3, 4, 5, 9])).tolist() == [False, True, False, False]


def test_a_damaged_blob_is_refused() -> None:
    with pytest.raises(StateError, match=r"day 7 are damaged: 9 bytes"):
        Seen.load({7: bytes(9)})


def test_nothing_is_added_for_nothing() -> None:
    seen = Seen()
    assert seen.add(3, numbers([])) == b""
    assert seen.fresh(numbers([])).tolist() == []
    assert len(seen) == 0


@given(st.integers(0, 10 * DAY_MICROS), st.integers(0, 72 * DAY_MICROS // 24))
def test_an_id_is_remembered_for_72_hours(appended: int, later: int) -> None:
    seen = Seen()
    seen.add(bucket_of(appended), numbers([1]))
    seen.forget(bucket_of(appended + later) - SPAN_DAYS)
    assert not seen.fresh(numbers([1]))[0]


def test_an_id_is_forgotten_in_the_end() -> None:
    seen = Seen()
    seen.add(bucket_of(0), numbers([1]))
    seen.forget(bucket_of(5 * DAY_MICROS) - SPAN_DAYS)
    assert seen.fresh(numbers([1]))[0]
    assert len(seen) == 0


@given(st.text(st.characters(codec="utf-8")), st.lists(st.text(st.characters(codec="utf-8"))))
def test_an_id_is_hashed_with_its_type(event_type: str, ids: list[str]) -> None:
    said = [hashlib.blake2b(f"{event_type}\0{one}".encode(), digest_size=8).digest() for one in ids]
    expected = [int.from_bytes(digest, "little") for digest in said]
    assert id_hashes(event_type, ids).tolist() == expected
    assert id_hashes(event_type, pa.array(ids, pa.string())).tolist() == expected
    assert id_hashes(event_type, ids).dtype == np.uint64
