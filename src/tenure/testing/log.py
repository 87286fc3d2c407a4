"""What every kind of event log promises (`tenure.source.log`), as checks.

Enters: a function that opens logs by name. Leaves: nothing, or `AssertionError` with the promise that was broken.
Invariant: the checks know only the protocol, so a log of your own is held to exactly what the embedded one and Kafka
are. They wait patiently where a log may take its time, as a group of Kafka's consumers does to form.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from tenure.core.errors import StateError
from tenure.source.log import Batch, EventLog, LogReader

__all__ = ["CHECKS", "PARTITIONS", "Diary", "Opener", "check_event_log"]

PARTITIONS = 4
PATIENCE_SECONDS = 60.0
AWKWARD = (b"{}", b"", b"\n", b"two\nlines\r\n", b"\x00\xff\xfe", "Zoë 顧客 🦊".encode(), b"x" * 200_000)

Opener = Callable[[str], EventLog]
Place = tuple[int, int]


class Diary:
    """A listener that starts partitions where it left off, and keeps what it was told.

    Examples
    --------
    >>> diary = Diary()
    >>> diary.assigned([0, 2]), diary.revoked([2], lost=False), diary.mine
    ({0: 0, 2: 0}, None, {0})
    """

    def __init__(self, positions: dict[int, int] | None = None) -> None:
        self.positions = {} if positions is None else positions
        self.mine: set[int] = set()
        self.lost: list[int] = []

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Take partitions over."""
        _require(self.mine.isdisjoint(partitions), f"{list(partitions)} were assigned twice, without being revoked")
        self.mine.update(partitions)
        return {partition: self.positions.get(partition, 0) for partition in partitions}

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """Leave partitions."""
        _require(self.mine.issuperset(partitions), f"{list(partitions)} were revoked, but are not assigned")
        self.mine.difference_update(partitions)
        self.lost += list(partitions) if lost else []

    def note(self, batches: Iterable[Batch]) -> dict[Place, bytes]:
        """Move the positions behind these batches; give their records by place."""
        found: dict[Place, bytes] = {}
        for batch in batches:
            _require(batch.partition in self.mine, f"partition {batch.partition} was read without being assigned")
            self.positions[batch.partition] = int(batch.offsets[-1]) + 1
            found |= _by_place(batch)
        return found


def check_event_log(opener: Opener) -> None:
    """Hold a kind of event log to every promise.

    Parameters
    ----------
    opener : callable
        Called with a name; opens the log of that name, which has 4 partitions and is empty when the name is new.

    Raises
    ------
    AssertionError
        A promise is broken.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.source.log_sqlite import open_sqlite_log
    >>> folder = Path(tempfile.mkdtemp())
    >>> check_event_log(lambda name: open_sqlite_log(folder / f"{name}.db", PARTITIONS))
    """
    for check in CHECKS:
        check(opener)


def check_records_come_back_unchanged(opener: Opener) -> None:
    """Every byte of a record comes back, under the key that it was appended with."""
    with _fresh(opener) as log:
        customers = ["ada", "Zoë", "顧客", "o'brien", "a b", "x" * 300, "7"]
        records = list(zip(customers, AWKWARD, strict=True))
        places = log.append(records)
        _require(len(places) == len(records), f"{len(records)} records got {len(places)} places")
        for (customer, payload), (partition, offset) in zip(records, places, strict=True):
            (batch,) = log.read(partition, offset, offset + 1)
            _require(batch.payloads == [payload], f"{payload[:20]!r} came back as {batch.payloads[0][:20]!r}")
            _require(batch.keys == [customer.encode()], f"the key of {customer!r} came back as {batch.keys}")
        _require(log.append([]) == [], "appending nothing gave places")


def check_a_customer_has_one_partition(opener: Opener) -> None:
    """A customer's records are in one partition, in the order in which they were appended; no partition stays empty."""
    with _fresh(opener) as log:
        records = [(f"customer {n % 50}", str(n).encode()) for n in range(500)]
        places = [place for piece in _pieces(records, 60) for place in log.append(piece)]
        homes: dict[str, set[int]] = {}
        for (customer, _), (partition, _) in zip(records, places, strict=True):
            homes.setdefault(customer, set()).add(partition)
        _require(all(len(found) == 1 for found in homes.values()), "a customer's records are in several partitions")
        _require(set.union(*homes.values()) == set(range(PARTITIONS)), "50 customers leave a partition empty")
        found = _everything(log)
        for partition in range(PARTITIONS):
            offsets = [offset for where, offset in places if where == partition]
            _require(offsets == sorted(set(offsets)), f"the offsets of partition {partition} do not rise")
        _require(found == dict(zip(places, (p for _, p in records), strict=True)), "records moved or went missing")


def check_bounds_and_spans(opener: Opener) -> None:
    """An empty log has empty bounds; a span is what lies from its first offset to before its end."""
    with _fresh(opener) as log:
        _require(log.partitions == PARTITIONS, f"the log has {log.partitions} partitions instead of {PARTITIONS}")
        _require(all(first == end for first, end in log.bounds().values()), f"a new log has bounds {log.bounds()}")
        places = log.append([("ada", str(n).encode()) for n in range(20)])
        partition, (first, end) = places[0][0], log.bounds()[places[0][0]]
        _require(set(log.bounds()) == set(range(PARTITIONS)), f"bounds are told of {sorted(log.bounds())} only")
        _require(first == places[0][1] and end > places[-1][1], f"bounds ({first}, {end}) do not hold {places}")
        span = [payload for batch in log.read(partition, places[3][1], places[7][1]) for payload in batch.payloads]
        _require(span == [b"3", b"4", b"5", b"6"], f"a span of four records gave {span}")
        _require(list(log.read(partition, end, end)) == [], "an empty span gave records")


def check_time_runs_forward(opener: Opener) -> None:
    """`appended` never runs backwards in a partition, and tells where to begin."""
    with _fresh(opener) as log:
        for n in range(10):
            log.append([(f"customer {m}", b"{}") for m in range(n, n + 5)])
            time.sleep(0.002)
        for partition, (first, end) in log.bounds().items():
            batches = list(log.read(partition, first, end))
            stamps = [int(stamp) for batch in batches for stamp in batch.appended]
            offsets = [int(offset) for batch in batches for offset in batch.offsets]
            _require(stamps == sorted(stamps), f"appended runs backwards in partition {partition}")
            for stamp in stamps:
                found, expected = log.offsets_at(stamp)[partition], offsets[stamps.index(stamp)]
                _require(found == expected, f"what was appended from {stamp} on begins at {expected}, not {found}")
            if stamps:
                _require(log.offsets_at(stamps[-1] + 10**12)[partition] == end, "the future does not begin at the end")


def check_a_reader_reads_everything_once(opener: Opener) -> None:
    """A reader begins where its listener says, reads what is there and what comes, and can go back."""
    with _fresh(opener) as log:
        before = log.append([(f"customer {n}", str(n).encode()) for n in range(100)])
        diary = Diary()
        diary.positions.update({before[0][0]: before[0][1] + 1})  # the first record is known already
        with closing(log.reader(_name(), diary)) as reader:
            found = _drain(log, [(reader, diary)], at_most=7)
            _require(found == {p: b for p, b in _everything(log).items() if p != before[0]}, "not everything was read")
            after = log.append([("later", b"later")])
            _require(_drain(log, [(reader, diary)]) == {after[0]: b"later"}, "what came later was not read")
            _require(dict(reader.bounds()) == dict(log.bounds()), "the reader's bounds are not those of the log")
            reader.seek(*after[0])
            diary.positions[after[0][0]] = after[0][1]
            _require(_drain(log, [(reader, diary)]) == {after[0]: b"later"}, "seeking back did not read again")
            _require(reader.poll(10, 0.0) == [], "records came twice")
        _require(not diary.mine, "a closed reader did not revoke its partitions")
        _require(not diary.lost, "partitions that were given back are called lost")


def check_readers_share_the_partitions(opener: Opener) -> None:
    """Readers of one group have no partition in common; who is left reads all; another group reads for itself."""
    with _fresh(opener) as log, ExitStack() as stack:
        log.append([(f"customer {n}", str(n).encode()) for n in range(40)])
        positions: dict[int, int] = {}
        one, two, other, group = Diary(positions), Diary(positions), Diary(), _name()
        first = stack.enter_context(closing(log.reader(group, one)))
        found = _drain(log, [(first, one)])
        second = stack.enter_context(closing(log.reader(group, two)))
        pair: list[tuple[LogReader, Diary]] = [(first, one), (second, two)]
        _settle(pair, lambda: len(one.mine) == len(two.mine) == PARTITIONS // 2, found)
        _require(one.mine.isdisjoint(two.mine), f"{one.mine & two.mine} have two readers")
        log.append([(f"customer {n}", b"more") for n in range(40)])
        found |= _drain(log, pair)
        _require(found == _everything(log), "two readers together did not read everything once")
        second.close()
        _settle(pair[:1], lambda: len(one.mine) == PARTITIONS, found)
        log.append([(f"customer {n}", b"last") for n in range(40)])
        _require(found | _drain(log, pair[:1]) == _everything(log), "the reader that is left did not read everything")
        alone = stack.enter_context(closing(log.reader(_name(), other)))
        _require(_drain(log, [(alone, other)]) == _everything(log), "another group did not read everything for itself")


def check_a_listener_that_fails_is_asked_again(opener: Opener) -> None:
    """An error of the listener comes out of `poll`, and a later `poll` asks again."""

    class Moody(Diary):
        failures = 1

        def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the store is not there")
            return super().assigned(partitions)

    with _fresh(opener) as log:
        log.append([("ada", b"{}")])
        diary = Moody()
        with closing(log.reader(_name(), diary)) as reader:
            until = time.monotonic() + PATIENCE_SECONDS
            heard = False
            while not heard:
                _require(time.monotonic() < until, "the listener's error did not come out of poll")
                try:
                    reader.poll(10, 0.1)
                except ConnectionError:
                    heard = True
            _require(len(_drain(log, [(reader, diary)])) == 1, "a listener that failed once was not asked again")


def check_places_outside_are_refused(opener: Opener) -> None:
    """Reading from beyond the end is an error that names the place and the bounds, never silence."""
    with _fresh(opener) as log:
        ((partition, offset),) = log.append([("ada", b"{}")])
        _refused(lambda: list(log.read(partition, offset + 1_000, offset + 2_000)), str(offset + 1_000))
        with closing(log.reader(_name(), Diary({partition: offset + 1_000}))) as reader:
            until = time.monotonic() + PATIENCE_SECONDS

            def poll_until_refused() -> None:
                while time.monotonic() < until:
                    reader.poll(10, 0.1)

            _refused(poll_until_refused, str(offset + 1_000))


def check_threads_append_together(opener: Opener) -> None:
    """Records that several threads append at once all arrive, once, and those of a thread in its order."""
    with _fresh(opener) as log, ThreadPoolExecutor(8) as pool:

        def work(thread: int) -> list[Place]:
            return [place for n in range(20) for place in log.append([(f"t{thread}", f"{thread} {n}".encode())])]

        places = list(pool.map(work, range(8)))
        found = _everything(log)
        _require(len(found) == 160, f"160 records were appended, {len(found)} are there")
        for thread, mine in enumerate(places):
            order = [found[place] for place in sorted(mine)]
            _require(
                order == [f"{thread} {n}".encode() for n in range(20)], f"thread {thread}'s records are out of order"
            )


def check_trimming_keeps_what_is_young(opener: Opener) -> None:
    """Trimming drops at most what lies before the offset, and says where the records begin that are kept."""
    with _fresh(opener) as log:
        places = log.append([("ada", str(n).encode()) for n in range(20)])
        partition = places[0][0]
        kept = log.trim(partition, 5)
        _require(kept <= 5, f"trimming before offset 5 dropped what lies before {kept}")
        _require(log.bounds()[partition] == (kept, 20), f"the bounds after trimming are {log.bounds()[partition]}")
        left = {offset for at, offset in _everything(log) if at == partition}
        _require(left == set(range(kept, 20)), f"the offsets that are left are {sorted(left)}")


def check_a_log_is_found_again(opener: Opener) -> None:
    """What was appended is there for whoever opens the log next, under the same identity; another log has another."""
    name = _name()
    with closing(opener(name)) as log:
        log.append([("ada", b"kept")])
        identity, kept = log.identity, _everything(log)
        with closing(opener(name)) as again:
            _require(again.identity == identity, "a log that was opened twice has two identities")
            _require(_everything(again) == kept, "a log that was opened twice shows different records")
    with closing(opener(name)) as later, _fresh(opener) as other:
        _require(_everything(later) == kept, "records are gone after the log was closed")
        _require(later.identity == identity != other.identity, "two logs have one identity")
        _require(_everything(other) == {}, "a new log is not empty")
        later.close()
        later.close()


CHECKS: tuple[Callable[[Opener], None], ...] = (
    check_trimming_keeps_what_is_young,
    check_records_come_back_unchanged,
    check_a_customer_has_one_partition,
    check_bounds_and_spans,
    check_time_runs_forward,
    check_a_reader_reads_everything_once,
    check_readers_share_the_partitions,
    check_a_listener_that_fails_is_asked_again,
    check_places_outside_are_refused,
    check_threads_append_together,
    check_a_log_is_found_again,
)


def _name() -> str:
    return f"check-{uuid.uuid4().hex[:12]}"


def _fresh(opener: Opener) -> closing[EventLog]:
    return closing(opener(_name()))


def _pieces(records: Sequence[tuple[str, bytes]], size: int) -> Iterable[Sequence[tuple[str, bytes]]]:
    return (records[start : start + size] for start in range(0, len(records), size))


def _by_place(batch: Batch) -> dict[Place, bytes]:
    offsets = [int(offset) for offset in batch.offsets]
    _require(all(a < b for a, b in itertools.pairwise(offsets)), "the offsets of a batch do not rise")
    lengths = {len(offsets), len(batch.appended), len(batch.payloads), len(batch.keys)}
    _require(len(lengths) == 1, f"the sequences of a batch have different lengths: {sorted(lengths)}")
    return dict(zip(((batch.partition, offset) for offset in offsets), batch.payloads, strict=True))


def _everything(log: EventLog) -> dict[Place, bytes]:
    found: dict[Place, bytes] = {}
    for partition, (first, end) in log.bounds().items():
        for batch in log.read(partition, first, end):
            found |= _by_place(batch)
    return found


def _drain(log: EventLog, readers: Sequence[tuple[LogReader, Diary]], at_most: int = 1_000) -> dict[Place, bytes]:
    """Poll until the positions of the readers' partitions, all together, are at the end of the log."""
    found: dict[Place, bytes] = {}

    def done() -> bool:
        mine = {partition: diary.positions.get(partition, 0) for _, diary in readers for partition in diary.mine}
        bounds = log.bounds()
        return len(mine) == PARTITIONS and all(bounds[partition][1] <= at for partition, at in mine.items())

    _settle(readers, done, found, at_most)
    return found


def _settle(
    readers: Sequence[tuple[LogReader, Diary]],
    done: Callable[[], bool],
    found: dict[Place, bytes],
    at_most: int = 1_000,
) -> None:
    """Poll all readers until something holds."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not done():
        _require(time.monotonic() < until, f"after {PATIENCE_SECONDS:g} seconds: {[d.mine for _, d in readers]}")
        for reader, diary in readers:
            batches = reader.poll(at_most, 0.05)
            count = sum(len(batch.payloads) for batch in batches)
            _require(count <= at_most, f"a poll for at most {at_most} records gave {count}")
            new = diary.note(batches)
            _require(found.keys().isdisjoint(new), f"{sorted(found.keys() & new)} were read twice")
            found |= new


def _refused(act: Callable[[], object], named: str) -> None:
    try:
        act()
    except StateError as error:
        _require(named in error.message, f"the error does not name the offset {named}: {error.message}")
    else:
        raise AssertionError(f"reading from offset {named}, beyond the end, is no error")


def _require(kept: bool, problem: str) -> None:
    if not kept:
        raise AssertionError(problem)
