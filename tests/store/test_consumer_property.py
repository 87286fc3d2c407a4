"""Whatever is delivered twice, late or out of order, and whenever the consumer is killed: online equals offline."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tenure.app.stream import check_parity, rebuild
from tests.features.test_compile_property import expected_row
from tests.features.translate import FEWER, FEWEST, SHRINKING, declared, differences
from tests.oracle import logs
from tests.oracle.features import DAY, MICROSECOND, Event, known
from tests.store.streamed import Fate, Record, Site, deliveries, impatient, once, write_history

pytestmark = SHRINKING

FATES = st.builds(
    Fate,
    die_at=st.none() | st.integers(1, 40),
    fail_at=st.frozensets(st.integers(1, 40), max_size=3),
)


@contextmanager
def site(world: logs.Log, *, ids: bool = True, batch: int = 3) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        yield Site(Path(folder), declared(world.blocks), ids=ids, batch=batch)


def wrong(place: Site, world: logs.Log, events: Sequence[Event], as_of: datetime) -> list[object]:
    """Every (customer, column, found, expected) in which what is online is not what the oracle finds."""
    customers = everybody(world)
    found = place.read(customers, as_of)
    return [
        (as_of.isoformat(), customer, name, *pair)
        for customer in customers
        for name, pair in differences(found[customer], expected_row(events, world.blocks, customer, as_of)).items()
    ]


def unequal(place: Site, world: logs.Log, as_of: datetime) -> list[object]:
    """What differs between the online store and the queries of training, over the archive and the log."""
    customers = everybody(world)
    place.now = max(place.now, as_of)
    with place.stream() as stream:
        return list(check_parity(stream, place.features, sample=0, seed=0, customers=customers).differences)


def until(records: Sequence[Record], instant: datetime) -> int:
    return sum(one.appended <= instant for one in records)


@FEWER
@given(logs.feature_logs(), st.data(), st.booleans(), st.integers(1, 7))
def test_every_event_counts_once_at_every_cutoff(world: logs.Log, data: st.DataObject, ids: bool, batch: int) -> None:
    """The log grows until a cutoff; consumers are killed at any deed, or lose answers; then it is read."""
    records = data.draw(deliveries(world.events, ids=ids))
    with site(world, ids=ids, batch=batch) as place:
        done = 0
        for as_of in world.cutoffs:
            due = until(records, as_of)
            place.append(records[done:due])
            for fate in data.draw(st.lists(FATES, max_size=3)):
                place.fold(fate, commits=data.draw(st.integers(1, 4)))
            place.fold()
            done = due
            events = [one.event for one in records[:done]]
            assert wrong(place, world, once(events) if ids else events, as_of) == []


@FEWEST
@given(logs.feature_logs(), st.data())
def test_online_is_what_duckdb_finds(world: logs.Log, data: st.DataObject) -> None:
    """Beside the oracle, the expressions of training over the archive and the end of the log; then all is rebuilt."""
    records = data.draw(deliveries(world.events))
    as_of = max([*world.cutoffs, *(one.appended for one in records)])
    with site(world) as place:
        place.archive_every = data.draw(st.sampled_from((0 * DAY, 40 * DAY)))
        place.append(records)
        place.fold(data.draw(FATES), commits=data.draw(st.integers(1, 4)))
        place.fold()
        assert unequal(place, world, as_of) == []
        with place.stream() as stream, impatient(Fate()):
            stated = rebuild(stream)
        assert all(one.ready and one.lag == 0 for one in stated)
        assert wrong(place, world, once([one.event for one in records]), as_of) == []


@FEWEST
@given(logs.feature_logs(), st.data(), st.sampled_from(("idle", "while folding", "other features")))
def test_lost_states_are_noticed_and_refilled(world: logs.Log, data: st.DataObject, how: str) -> None:
    """The store is emptied under a consumer that has nothing to do, or much; or holds states of other features."""
    records = data.draw(deliveries(world.events))
    as_of = max([*world.cutoffs, *(one.appended for one in records)])
    cut = data.draw(st.integers(0, len(records)))
    with site(world) as place:
        place.append(records[:cut])
        if how == "other features":
            place.features = declared((replace(world.blocks[0], ops=("count",), value=None, trends=()),))
        place.fold()
        place.features = declared(world.blocks)
        place.append(records[cut:])
        if how == "idle":
            place.fold()
        if how == "other features":
            place.fold()
        else:
            place.fold_through_a_loss()
        assert wrong(place, world, once([one.event for one in records]), as_of) == []


@FEWEST
@given(logs.feature_logs(), st.data(), st.integers(1, 100))
def test_going_through_idle_customers_loses_nothing(world: logs.Log, data: st.DataObject, days: int) -> None:
    """Whoever is silent is gone through on a later day, which another customer's event brings."""
    records = data.draw(deliveries(world.events))
    last = max([*world.cutoffs, *(one.appended for one in records)])
    with site(world) as place:
        place.append(records)
        place.fold()
        later = last + days * DAY
        others = [Record(other_customer(n, later), later) for n in range(4)]
        place.append(others)
        place.fold(data.draw(FATES))
        place.fold()
        place.sweep()
        events = [one.event for one in (*records, *others)]
        for as_of in (later, later + DAY):
            assert wrong(place, world, once(events), as_of + MICROSECOND) == []


@FEWEST
@given(logs.feature_logs(), st.data(), st.booleans())
def test_history_and_the_log_are_joined_without_gap_or_overlap(world: logs.Log, data: st.DataObject, ids: bool) -> None:
    """A warehouse that is ahead of the log or behind it, in any way, until the instant of the handover."""
    records = data.draw(deliveries(known_within_two_days(world.events), ids=ids))
    cutoff = data.draw(st.sampled_from(world.cutoffs))
    as_of = max([*world.cutoffs, *(one.appended for one in records)])
    in_history = once([one.event for one in records if data.draw(st.booleans())])
    in_log = [one for one in records if data.draw(st.integers(0, 3))]
    events = joined(in_history, in_log, cutoff, ids=ids)
    with site(world, ids=ids) as place:
        place.history = write_history(in_history, place.folder / "history", ids=ids)
        before = until(in_log, cutoff)
        place.append(in_log[:before])
        if data.draw(st.booleans()):
            place.fold()  # a consumer was there before anything was bootstrapped
        place.bootstrap(cutoff)
        place.append(in_log[before:])
        for fate in data.draw(st.lists(FATES, max_size=2)):
            place.fold(fate, commits=2)
        place.fold()
        assert wrong(place, world, events, as_of) == []
        if data.draw(st.integers(0, 3)) == 0:
            assert unequal(place, world, as_of) == []
        place.lose()
        place.fold()
        assert wrong(place, world, events, as_of) == []


def joined(in_history: Sequence[Event], in_log: Sequence[Record], cutoff: datetime, *, ids: bool) -> list[Event]:
    """What counts: history as of the cutoff, and of the log from 72 hours before it what history did not know.

    Where ids tell, that is every event with another id; but what came to the log before the cutoff and was more than
    48 hours late is history's to know. Without ids, history knows whatever counted at the cutoff.
    """
    brought = [event for event in in_history if known(event, cutoff)]
    for one in in_log:
        event, at_cutoff = one.event, known(one.event, cutoff)
        if ids:
            at_cutoff = at_cutoff and one.appended <= cutoff and event["time"] < cutoff - 5 * DAY
        if one.appended >= cutoff - 3 * DAY and not at_cutoff:
            brought.append(event)
    return once(brought)


def known_within_two_days(events: Sequence[Event]) -> list[Event]:
    """Events that are recorded too late to tell them from history without a long memory are recorded at once."""
    found = []
    for event in events:
        recorded = event["recorded"]
        late = recorded is not None and recorded - event["time"] > 0 * DAY
        found.append(logs.without_recorded(event) if late else event)
    return found


def everybody(world: logs.Log) -> list[str]:
    return sorted({event["customer_id"] for event in world.events} | {"nobody"})


def other_customer(number: int, time: datetime) -> Event:
    """Somebody of each partition, so that all of them move on."""
    return Event(
        customer_id=f"other {number}",
        time=time,
        recorded=None,
        type="login",
        values=dict.fromkeys(logs.VALUES),
        categories={logs.CATEGORY: None},
        id=f"other {number}",
    )
