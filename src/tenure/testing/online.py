"""What every online store promises (`tenure.store.protocol`), as checks.

Enters: a function that opens one place for states, empty at first, as often as it is called. Leaves: nothing, or
`AssertionError` with the promise that was broken. Invariant: the checks know only the protocol, so a store of your
own is held to exactly what SQLite, PostgreSQL and Redis are.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from threading import Event
from typing import Any

from tenure.core.errors import FencedError
from tenure.source.event_schema import LONGEST_ID_BYTES
from tenure.store.protocol import Mark, OnlineStore, Update

__all__ = ["CHECKS", "ODD_CUSTOMERS", "Opener", "check_online_store"]

Opener = Callable[[], OnlineStore]

ODD_CUSTOMERS = (
    "",
    " ",
    "0",
    "00",
    "a:b",
    "s:a",
    "mark",
    "seen:20000:0",
    "{0}",
    "*",
    "%s",
    "it's; DROP TABLE online_states",
    "nul\x00inside",
    "two\r\nlines",
    "Zoë",
    "Zoe\u0308",
    "顧客",
    "🦊",
    "x" * LONGEST_ID_BYTES,
    "é" * (LONGEST_ID_BYTES // 2),
)
ODD_BYTES = (b"", b"\x00", b"\r\n$5\r\n", bytes(range(256)), b"\xff" * 100_000)


def check_online_store(place: Callable[[], Opener]) -> None:
    """Hold an online store to every promise.

    Parameters
    ----------
    place : callable
        Gives, at each call, an opener of a place that is empty; the opener can be called many times, and what it opens
        at the same time works on the same place. The log has at least two partitions.

    Raises
    ------
    AssertionError
        A promise is broken.

    Examples
    --------
    >>> import itertools, pathlib, tempfile
    >>> from tenure.store.online import open_online
    >>> folder, numbers = tempfile.TemporaryDirectory(), itertools.count()
    >>> def place():
    ...     url = f"sqlite:///{next(numbers)}.db"
    ...     return lambda: open_online(url, pathlib.Path(folder.name), project="shop", partitions=4)
    >>> check_online_store(place)
    >>> folder.cleanup()
    """
    for check in CHECKS:
        check(place())


def check_nothing_is_known_at_first(opener: Opener) -> None:
    """A partition that was never written has neither mark nor states, and its first claim has no position."""
    with closing(opener()) as store:
        [customer] = _customers(store, 0, 1)
        _same("marks", store.marks(), {})
        _same("seen", store.seen(0), {})
        _same("states", store.states(0, [customer]), [None])
        _same("size", store.size(0), 0)
        _same("scan", store.scan(0, None, 10), ([], None))
        [kept] = store.read([customer])
        _same("kept", (kept.customer_id, kept.state, kept.row, kept.mark), (customer, None, None, None))
        _same("reading nobody", (store.read([]), store.states(0, [])), ([], []))
        mark = store.claim(0)
        _same("first claim", (mark.position, mark.note), (None, {}))
        _same("marks", store.marks(), {0: mark})


def check_a_claim_raises_the_epoch_alone(opener: Opener) -> None:
    """A claim keeps position and note, and its epoch is larger than the last."""
    note = {"layout": "a1", "ready": True, "counts": [1, 2.5, None], "Zoë": {"": "\x00"}}
    with closing(opener()) as store:
        first = store.claim(0)
        done = store.apply(0, first, Update(17, note))
        _same("mark after a write", done, Mark(first.epoch, 17, note))
        second = store.claim(0)
        _same("claim", second, Mark(second.epoch, 17, note))
        _require(first.epoch < second.epoch < store.claim(0).epoch, "the epoch did not rise")


def check_a_write_is_kept(opener: Opener) -> None:
    """States, ids, rows and mark are there for whoever opens the place, and stay when others are written."""
    with closing(opener()) as store:
        one, two, three = _customers(store, 0, 3)
        mark = store.apply(0, store.claim(0), Update(5, {}, {one: b"1", two: b"2"}, {7: b"i" * 8}))
        store.publish({one: b"r"})
        mark = store.apply(0, mark, Update(9, {"n": 2}, {two: b"22"}, {7: b"j" * 8, 8: b"k" * 8}))
        store.publish({three: b"q"})
        with closing(opener()) as other:
            _same("marks", other.marks(), {0: mark})
            _same("states", other.states(0, [three, two, one]), [None, b"22", b"1"])
            _same("seen", other.seen(0), {7: b"i" * 8 + b"j" * 8, 8: b"k" * 8})
            found = [(kept.state, kept.row, kept.partition, kept.mark) for kept in other.read([one, two, three])]
            _same("read", found, [(b"1", b"r", 0, mark), (b"22", None, 0, mark), (None, b"q", 0, mark)])
            _same("size", other.size(0), 2)


def check_who_lost_a_partition_writes_nothing(opener: Opener) -> None:
    """After somebody else's claim or reset, nothing of a write arrives."""
    with closing(opener()) as old, closing(opener()) as new:
        [customer] = _customers(old, 0, 1)
        kept = old.apply(0, old.claim(0), Update(3, {}, {customer: b"kept"}, {1: b"12345678"}))
        for take in (partial(new.claim, 0), partial(new.reset, 0, {})):
            newest = take()
            before = _content(new, 0, [customer])
            update = Update(newest.position or 4, {"x": 1}, {customer: b"lost"}, {1: b"x" * 8}, 9)
            _refused(partial(old.apply, 0, kept, update))
            _same("what is stored after a refused write", _content(new, 0, [customer]), before)
            kept = new.apply(0, newest, Update(3, {}, {customer: b"kept"}))


def check_a_write_is_applied_once(opener: Opener) -> None:
    """The same write a second time, or one that expects another position, is refused."""
    with closing(opener()) as store:
        [customer] = _customers(store, 0, 1)
        mark = store.claim(0)
        update = Update(10, {}, {customer: b"one"}, {1: b"12345678"})
        done = store.apply(0, mark, update)
        for wrong in (mark, Mark(mark.epoch, 9, {}), Mark(mark.epoch - 1, 10, {}), Mark(mark.epoch + 1, 10, {})):
            _refused(partial(store.apply, 0, wrong, Update(20, {}, {customer: b"two"}, {1: b"87654321"})))
        _same("states", store.states(0, [customer]), [b"one"])
        _same("seen", store.seen(0), {1: b"12345678"})
        _same("position", store.apply(0, done, Update(11, {})).position, 11)
        _refused(partial(store.apply, 1, Mark(1, None, {}), Update(1, {})))


def check_a_reset_leaves_rows(opener: Opener) -> None:
    """After a reset states, ids and position are gone, rows and other partitions are not."""
    with closing(opener()) as store:
        [customer], [neighbour] = _customers(store, 0, 1), _customers(store, 1, 1)
        store.publish({customer: b"r"})
        mark = store.apply(0, store.claim(0), Update(3, {}, {customer: b"s"}, {1: b"12345678"}))
        other = store.apply(1, store.claim(1), Update(4, {}, {neighbour: b"t"}, {1: b"87654321"}))
        reset = store.reset(0, {"ready": False})
        _same("mark after a reset", reset, Mark(reset.epoch, None, {"ready": False}))
        _require(reset.epoch > mark.epoch, "the epoch did not rise")
        _same("what is left", _content(store, 0, [customer]), (reset, [None], {}, [b"r"], 0))
        _same("another partition", _content(store, 1, [neighbour]), (other, [b"t"], {1: b"87654321"}, [None], 1))
        _same("position", store.apply(0, reset, Update(0, {}, {customer: b"u"})).position, 0)
        fresh = store.reset(0, {})
        claimed = store.claim(0)
        _same("claim after a reset", claimed, Mark(claimed.epoch, None, {}))
        _require(claimed.epoch > fresh.epoch, "the epoch did not rise")


def check_ids_are_appended_and_forgotten(opener: Opener) -> None:
    """Ids come back by bucket, all of them in their order, until the bucket is forgotten."""
    sizes = [1, 500, 3, 0, 2_500, 1, 1, 20_000, 2, 1_000, 1_100]
    with closing(opener()) as store:
        mark, expected, number = store.claim(0), dict.fromkeys((3, 19_999, 20_000), b""), itertools.count()
        for position, size in enumerate(sizes):
            seen = {day: b"".join(struct.pack("<Q", next(number)) for _ in range(size)) for day in expected}
            expected = {day: held + seen[day] for day, held in expected.items()}
            mark = store.apply(0, mark, Update(position, {}, seen=seen))
        _require(store.seen(0) == expected, "ids differ from those that were written, or their order does")
        mark = store.apply(0, mark, Update(100, {}, seen={20_001: b"z" * 8, 4: b"old!old!"}, forget=20_000))
        _require(
            store.seen(0) == {20_000: expected[20_000], 20_001: b"z" * 8}, "buckets were not forgotten, or others were"
        )
        _same("size", store.size(0), 0)
        store.apply(0, mark, Update(101, {}, seen={20_001: b"y" * 8}))
        _require(store.seen(0)[20_001] == b"z" * 8 + b"y" * 8, "ids after forgetting are not those that were written")


def check_any_bytes_are_kept(opener: Opener) -> None:
    """States and rows may hold any bytes, and any number of them."""
    with closing(opener()) as store:
        customers = _customers(store, 0, len(ODD_BYTES))
        values = dict(zip(customers, ODD_BYTES, strict=True))
        store.apply(0, store.claim(0), Update(1, {}, values))
        store.publish(values)
        _require(store.states(0, customers) == list(ODD_BYTES), "states differ from what was written")
        found = [(kept.state, kept.row) for kept in store.read(customers)]
        _require(found == [(value, value) for value in ODD_BYTES], "what is read differs from what was written")


def check_any_customer_is_kept(opener: Opener) -> None:
    """Customers are told apart by every character of their id."""
    with closing(opener()) as store:
        groups: dict[int, list[str]] = {}
        for kept in store.read(ODD_CUSTOMERS):
            groups.setdefault(kept.partition, []).append(kept.customer_id)
        for partition, customers in groups.items():
            values = {customer: b"%d" % ODD_CUSTOMERS.index(customer) for customer in customers}
            store.apply(partition, store.claim(partition), Update(1, {}, values))
            store.publish(values)
            _same("states", store.states(partition, customers), list(values.values()))
            _same("scan", dict(_pages(store, partition, 3)), values)
        expected = [b"%d" % number for number in range(len(ODD_CUSTOMERS))]
        found = store.read(ODD_CUSTOMERS)
        _same("read", [(kept.state, kept.row) for kept in found], [(value, value) for value in expected])


def check_many_are_read_in_order(opener: Opener) -> None:
    """Answers are in the order of the question, with everybody who was asked for, as often as they were."""
    with closing(opener()) as store:
        everybody = [f"customer-{number}" for number in range(2_500)]
        places = {kept.customer_id: kept.partition for kept in store.read(everybody)}
        for partition in range(store.partitions):
            states = {name: name.encode() for name in everybody[::2] if places[name] == partition}
            store.apply(partition, store.claim(partition), Update(1, {}, states))
            _require(store.size(partition) == len(states), "the size is not the number of states")
        asked = [*reversed(everybody), *everybody[:10]]
        known = {name: name.encode() for name in everybody[::2]}
        _require([kept.customer_id for kept in store.read(asked)] == asked, "answers are in another order")
        _require(
            [kept.state for kept in store.read(asked)] == [known.get(name) for name in asked], "states are others'"
        )
        mine = [name for name in asked if places[name] == 0]
        _require(store.states(0, mine) == [known.get(name) for name in mine], "states are others'")


def check_a_scan_meets_everybody(opener: Opener) -> None:
    """Who is there from the first page to the last is met, although states change and customers come meanwhile."""
    with closing(opener()) as store:
        *customers, late = _customers(store, 0, 1_201)
        mark = store.apply(0, store.claim(0), Update(0, {}, dict.fromkeys(customers, b"0")))
        met, position = set(), 0
        for customer, _ in _pages(store, 0, 100):
            met.add(customer)
            if len(met) % 50 == 0:
                position += 1
                changed = {customers[position % 1_200]: b"%d" % position, f"{late}-{position}": b"new"}
                mark = store.apply(0, mark, Update(position, {}, changed))
        _require(met.issuperset(customers), f"{len(set(customers) - met)} customers were not met")
        _require(position > 0, "nothing was written during the scan")


def check_state_and_mark_fit(opener: Opener) -> None:
    """Whatever is read while a consumer writes: a state is the one that belongs to its mark."""
    with closing(opener()) as store, closing(opener()) as reader, ThreadPoolExecutor(2) as threads:
        customers = [*_customers(store, 0, 20), *_customers(store, 1, 20)]
        marks = {partition: store.claim(partition) for partition in (0, 1)}
        stop = Event()
        found = [threads.submit(_watch, reader, customers[at:] + customers[:at], stop) for at in (0, 20)]
        try:
            for position in range(60):
                for partition, mine in ((0, customers[:20]), (1, customers[20:])):
                    update = Update(position, {}, dict.fromkeys(mine, b"%d" % position))
                    marks[partition] = store.apply(partition, marks[partition], update)
        finally:
            stop.set()
        for future in found:
            _same("states that do not fit their mark", future.result(), [])


def check_one_of_many_gets_the_partition(opener: Opener) -> None:
    """Every claim of a race has an epoch of its own, and none is left out."""
    count, each = 4, 12
    with _several(opener, count) as stores, ThreadPoolExecutor(count) as threads:
        first = stores[0].claim(0).epoch
        races = [threads.submit(_claims, store, each) for store in stores]
        found = [race.result() for race in races]
        epochs = {epoch for race in found for epoch in race}
        _same("number of different epochs", len(epochs), count * each)
        _require(min(epochs) > first, "an epoch did not rise")
        _require(all(race == sorted(race) for race in found), "an epoch did not rise")
        _same("newest epoch", stores[0].marks()[0].epoch, max(epochs))


def check_rivals_count_everything_once(opener: Opener) -> None:
    """Consumers that take a partition from each other all the time still lose no write and repeat none."""
    count, each = 3, 15
    with _several(opener, count) as stores, ThreadPoolExecutor(count) as threads:
        [customer] = _customers(stores[0], 0, 1)
        for race in [threads.submit(_count_up, store, customer, each) for store in stores]:
            race.result()
        _same("count", stores[0].states(0, [customer]), [b"%d" % (count * each)])
        _same("position", stores[0].claim(0).position, count * each)
        _require(len(stores[0].seen(0)[1]) == 8 * count * each, "an id is missing or was written twice")


CHECKS: tuple[Callable[[Opener], None], ...] = (
    check_nothing_is_known_at_first,
    check_a_claim_raises_the_epoch_alone,
    check_a_write_is_kept,
    check_who_lost_a_partition_writes_nothing,
    check_a_write_is_applied_once,
    check_a_reset_leaves_rows,
    check_ids_are_appended_and_forgotten,
    check_any_bytes_are_kept,
    check_any_customer_is_kept,
    check_many_are_read_in_order,
    check_a_scan_meets_everybody,
    check_state_and_mark_fit,
    check_one_of_many_gets_the_partition,
    check_rivals_count_everything_once,
)


def _customers(store: OnlineStore, partition: int, count: int) -> list[str]:
    """Customers of one partition."""
    names = (f"customer-{number}" for number in itertools.count())
    mine: list[str] = []
    while len(mine) < count:
        asked = list(itertools.islice(names, 4 * count))
        mine += [kept.customer_id for kept in store.read(asked) if kept.partition == partition]
    return mine[:count]


def _content(store: OnlineStore, partition: int, customers: Sequence[str]) -> tuple[Any, ...]:
    rows = [kept.row for kept in store.read(customers)]
    states = store.states(partition, customers)
    return store.marks()[partition], states, dict(store.seen(partition)), rows, store.size(partition)


def _pages(store: OnlineStore, partition: int, limit: int) -> Iterator[tuple[str, bytes]]:
    cursor = None
    while True:
        page, cursor = store.scan(partition, cursor, limit)
        yield from page
        if cursor is None:
            return


def _watch(store: OnlineStore, customers: Sequence[str], stop: Event) -> list[tuple[bytes | None, int | None]]:
    """Read until told to stop: the states that are not what their mark says."""
    wrong = []
    while not stop.is_set():
        for kept in store.read(customers):
            position = kept.mark.position if kept.mark else None
            if kept.state != (None if position is None else b"%d" % position):
                wrong.append((kept.state, position))
    return wrong


def _claims(store: OnlineStore, times: int) -> list[int]:
    return [store.claim(0).epoch for _ in range(times)]


def _count_up(store: OnlineStore, customer: str, times: int) -> None:
    """Take the partition and add one, until it was added that often."""
    done = 0
    while done < times:
        mark = store.claim(0)
        value = int((store.states(0, [customer])[0] or b"0").decode()) + 1
        ids = struct.pack("<Q", value)
        try:
            store.apply(0, mark, Update((mark.position or 0) + 1, {}, {customer: b"%d" % value}, {1: ids}))
        except FencedError:
            continue
        done += 1


@contextmanager
def _several(opener: Opener, count: int) -> Iterator[list[OnlineStore]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(opener())) for _ in range(count)]


def _refused(write: Callable[[], object]) -> None:
    try:
        write()
    except FencedError:
        return
    raise AssertionError("a write was accepted that had to be refused")


def _same(what: str, found: object, expected: object) -> None:
    if isinstance(found, Mapping):
        found = dict(found)
    _require(found == expected, f"{what}: {found!r} instead of {expected!r}")


def _require(kept: bool, problem: str) -> None:
    if not kept:
        raise AssertionError(problem)
