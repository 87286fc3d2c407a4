"""A Kafka log keeps its promises against a real broker: places, order, groups, kills, silence."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition, admin

from tenure.core.errors import ConfigError, InputError, NotFoundError, StateError, TenureError, UnreachableError
from tenure.core.settings import StreamSettings
from tenure.source.kafka_address import KafkaAddress, kafka_error
from tenure.source.log import Batch, LogReader, partition_of
from tenure.source.log_kafka import KafkaLog, open_kafka_log
from tenure.source.logs import open_log
from tests.architecture.tree import ROOT
from tests.fault.stream_member import SOAK
from tests.kafka_broker import KafkaBroker, started_broker

PATIENCE_SECONDS = 60.0  # for what must happen some time; a group needs seconds to settle
Place = tuple[int, int]


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with started_broker() as running:
        yield running


@pytest.fixture
def log(broker: KafkaBroker) -> Iterator[KafkaLog]:
    opened = broker.log()
    yield opened
    opened.close()


class Store:
    """Where members keep positions; it counts what was folded, and who owns what."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.positions: dict[int, int] = {}
        self.folded: Counter[Place] = Counter()
        self.owner: dict[int, str] = {}
        self.told: list[tuple[str, str, tuple[int, ...]]] = []

    def fold(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            assert batch.offsets[0] >= self.positions.get(batch.partition, self.start)
            assert list(batch.offsets) == sorted(batch.offsets)
            self.positions[batch.partition] = int(batch.offsets[-1]) + 1
            self.folded.update((batch.partition, int(offset)) for offset in batch.offsets)


class Member:
    """A member of a group that lives in the test's own thread."""

    def __init__(self, name: str, store: Store) -> None:
        self.name, self.store = name, store

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self.store.told.append((self.name, "assigned", tuple(partitions)))
        for partition in partitions:
            assert partition not in self.store.owner, "somebody else still has it"
            self.store.owner[partition] = self.name
        return {partition: self.store.positions.get(partition, self.store.start) for partition in partitions}

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        self.store.told.append((self.name, "lost" if lost else "revoked", tuple(partitions)))
        for partition in partitions:
            assert self.store.owner.pop(partition) == self.name


def some_records(n: int, seed: int = 0) -> list[tuple[str, bytes]]:
    draw = random.Random(seed)
    return [(f"customer-{draw.randrange(n)} é", b"%d:%d" % (seed, row)) for row in range(n)]


def everything(log: KafkaLog) -> dict[Place, tuple[bytes | None, bytes]]:
    return {
        (batch.partition, int(offset)): (key, payload)
        for partition, (first, end) in log.bounds().items()
        for batch in log.read(partition, first, end)
        for offset, key, payload in zip(batch.offsets, batch.keys, batch.payloads, strict=True)
    }


def poll_until(done: Callable[[], bool], step: Callable[[], object]) -> None:
    """Step until it is done; what never happens fails."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < give_up, "it did not happen"
        step()


def next_batches(reader: LogReader, max_records: int) -> list[Batch]:
    """What the next poll that gives anything gives."""
    batches: list[Batch] = []
    poll_until(lambda: bool(batches), lambda: batches.extend(reader.poll(max_records, 0.2)))
    return batches


def read_all(reader: LogReader, store: Store, places: Sequence[Place]) -> None:
    poll_until(lambda: set(places) <= set(store.folded), lambda: store.fold(reader.poll(700, 0.5)))


def test_a_record_is_where_append_said_with_its_key(log: KafkaLog) -> None:
    records = some_records(3_000)
    places = log.append(records[:1_000]) + log.append(records[1_000:])
    assert [partition for partition, _ in places] == [partition_of(customer, 4) for customer, _ in records]
    assert everything(log) == {
        place: (customer.encode(), payload) for place, (customer, payload) in zip(places, records, strict=True)
    }
    for partition in range(4):
        offsets = [offset for p, offset in places if p == partition]
        assert offsets == list(range(len(offsets)))
        assert log.bounds()[partition] == (0, len(offsets))


def test_java_partitions_are_kept_to(broker: KafkaBroker) -> None:
    log = open_kafka_log(StreamSettings(log=broker.url(), partitions=7, partitioner="murmur2"))
    records = some_records(100)
    assert [p for p, _ in log.append(records)] == [partition_of(customer, 7, "murmur2") for customer, _ in records]


def test_appends_of_several_threads_are_all_confirmed(log: KafkaLog) -> None:
    places: list[list[Place]] = [[] for _ in range(4)]

    def work(number: int) -> None:
        for row in range(20):
            places[number] += log.append([(f"customer-{row}", b"%d" % number)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = everything(log)
    assert len(held) == 80
    assert all(held[place][1] == b"%d" % number for number in range(4) for place in places[number])


def test_an_empty_append_asks_for_nothing(log: KafkaLog) -> None:
    assert log.append([]) == []
    assert set(log.bounds().values()) == {(0, 0)}


def test_a_record_that_is_too_large_keeps_all_others_out(log: KafkaLog) -> None:
    with pytest.raises(InputError, match=r"'big' takes 1,000,000 bytes"):
        log.append([("small", b"x"), ("big", b"x" * 1_000_000)])
    assert set(log.bounds().values()) == {(0, 0)}


def test_the_first_record_of_an_instant_is_found(log: KafkaLog) -> None:
    for part in range(4):
        log.append(some_records(200, part))
        time.sleep(0.03)
    held = {p: next(log.read(p, first, end)) for p, (first, end) in log.bounds().items()}
    instants = sorted({int(at) for batch in held.values() for at in batch.appended})
    assert len(instants) > 3
    for instant in [0, instants[1], instants[len(instants) // 2], instants[-1], instants[-1] + 1]:
        expected = {p: int((batch.appended < instant).sum()) for p, batch in held.items()}
        assert log.offsets_at(instant) == expected


def test_reading_a_span_stops_at_both_its_ends(log: KafkaLog) -> None:
    log.append([("one", b"%d" % row) for row in range(100)])
    partition = partition_of("one", 4)

    def payloads(first: int, end: int) -> list[bytes]:
        return [payload for batch in log.read(partition, first, end) for payload in batch.payloads]

    assert payloads(10, 13) == [b"10", b"11", b"12"]
    assert payloads(98, 1_000) == [b"98", b"99"]
    assert payloads(100, 1_000) == payloads(5, 5) == []
    with pytest.raises(StateError, match="from offset 101, but it holds 0 to before 100"):
        next(log.read(partition, 101, 1_000))


def test_a_topic_that_exists_is_taken_as_it_is(broker: KafkaBroker, log: KafkaLog) -> None:
    again = broker.log(9, url=log.name)
    assert (again.partitions, again.identity) == (4, log.identity)
    assert broker.log().identity != log.identity


def test_a_topic_that_keeps_the_clocks_of_producers_is_refused(broker: KafkaBroker) -> None:
    new_topic = vars(admin)["NewTopic"]
    client = admin.AdminClient({"bootstrap.servers": broker.servers})
    stamped = new_topic("their-clocks", 1, 1, config={"message.timestamp.type": "CreateTime"})
    client.create_topics([stamped])["their-clocks"].result(10)
    with pytest.raises(ConfigError, match=r"'their-clocks' at .* keeps the times of its producers' clocks") as caught:
        broker.log(url=broker.url("their-clocks"))
    assert "--entity-name their-clocks --add-config message.timestamp.type=LogAppendTime" in caught.value.hint


def test_the_settings_open_it(broker: KafkaBroker, tmp_path: Path) -> None:
    log = open_log(StreamSettings(log=broker.url(), partitions=3), tmp_path)
    assert isinstance(log, KafkaLog)
    assert log.partitions == 3
    with pytest.raises(ConfigError, match="begins with 'redis://me'; there are sqlite:/// and kafka://") as caught:
        open_log(StreamSettings(log="redis://me:secret@host/0"), tmp_path)
    assert "secret" not in str(caught.value)


def test_readers_begin_where_the_listener_says_and_go_where_they_are_told(log: KafkaLog) -> None:
    places = log.append(some_records(2_000))
    store = Store(start=100)
    reader = log.reader(log.name.rpartition("/")[2], Member("only", store))
    read_all(reader, store, [(p, offset) for p, offset in places if offset >= 100])
    assert set(store.folded.values()) == {1}
    assert min(offset for _, offset in store.folded) == 100
    assert reader.bounds() == log.bounds()
    assert reader.poll(10, 0) == []
    for partition, offset in ((0, 7), (3, 400), (0, 0), (1, 1)):
        reader.seek(partition, offset)
        batches = next_batches(reader, 5)
        assert {batch.partition for batch in batches} == {partition}
        assert list(batches[0].offsets) == list(range(offset, offset + 5))
        reader.seek(partition, reader.bounds()[partition][1])
    with pytest.raises(NotFoundError, match="Partition 4 is not this reader's"):
        reader.seek(4, 0)
    reader.close()
    reader.close()
    assert store.owner == {}
    assert store.told == [("only", "assigned", (0, 1, 2, 3)), ("only", "revoked", (0, 1, 2, 3))]


def test_a_position_that_the_log_does_not_hold_is_said(log: KafkaLog) -> None:
    places = log.append(some_records(100))
    store = Store(start=5_000)
    reader = log.reader(log.name.rpartition("/")[2], Member("only", store))
    with pytest.raises(StateError, match=r"Partition \d of kafka://\S+ is to be read from offset 5000"):
        poll_until(lambda: False, lambda: reader.poll(10, 0.5))
    for partition in range(4):
        reader.seek(partition, 0)
    store.start = 0
    read_all(reader, store, places)
    reader.close()


def test_a_listener_that_fails_is_asked_again_and_nothing_is_left_out(log: KafkaLog) -> None:
    places = log.append(some_records(500))
    store = Store()

    class Failing(Member):
        failures = 3

        def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
            if self.failures:
                self.failures -= 1
                raise UnreachableError("The store does not answer.")
            return super().assigned(partitions)

    member = Failing("only", store)
    reader = log.reader(log.name.rpartition("/")[2], member)

    def one_failure() -> None:
        with pytest.raises(UnreachableError, match="The store does not answer"):
            poll_until(lambda: False, lambda: store.fold(reader.poll(10, 0.5)))

    for _ in range(3):
        one_failure()
    assert not store.folded
    read_all(reader, store, places)
    assert set(store.folded.values()) == {1}
    reader.close()


def test_a_poll_that_is_interrupted_loses_no_record(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    places = log.append(some_records(1_000))
    store = Store()
    reader: Any = log.reader(log.name.rpartition("/")[2], Member("only", store))
    poll_until(lambda: bool(store.folded), lambda: store.fold(reader.poll(50, 0.5)))
    consumer = reader._consumer

    def taken_and_interrupted(count: int, timeout: float) -> list[Any]:
        consumer.consume(count, timeout)
        raise KeyboardInterrupt

    monkeypatch.setattr(reader, "_consumer", SimpleNamespace(consume=taken_and_interrupted))
    with pytest.raises(KeyboardInterrupt):
        reader.poll(50, 0.5)
    monkeypatch.undo()
    read_all(reader, store, places)
    assert set(store.folded.values()) == {1}
    reader.close()


def test_a_listener_that_cannot_finish_says_so_and_its_partitions_are_free(log: KafkaLog) -> None:
    log.append(some_records(100))
    group, store = log.name.rpartition("/")[2], Store()

    class Stuck(Member):
        def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
            super().revoked(partitions, lost=lost)
            raise UnreachableError("The store does not answer.")

    reader = log.reader(group, Stuck("first", store))
    store.fold(next_batches(reader, 50))
    with pytest.raises(UnreachableError, match="The store does not answer"):
        reader.close()
    assert store.owner == {}
    second = log.reader(group, Member("second", store))
    poll_until(lambda: set(store.owner.values()) == {"second"}, lambda: store.fold(second.poll(50, 0.2)))
    second.close()


def test_records_of_a_partition_that_goes_in_the_middle_of_a_poll_are_not_handed_out(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(some_records(1_000))
    store = Store()
    reader: Any = log.reader(log.name.rpartition("/")[2], Member("only", store))
    store.fold(next_batches(reader, 4))
    consumer, gone = reader._consumer, TopicPartition(reader._address.topic, 2)

    def taken_and_revoked(count: int, timeout: float) -> list[Any]:
        messages: list[Any] = consumer.consume(count, timeout)
        if count > 1 and 2 in reader._next:
            reader._on_revoke([gone], lost=True)
        return messages

    doubles = SimpleNamespace(consume=taken_and_revoked, incremental_unassign=consumer.incremental_unassign)
    monkeypatch.setattr(reader, "_consumer", doubles)
    store.fold(next_batches(reader, 1_000))
    assert ("only", "lost", (2,)) in store.told
    poll_until(lambda: len({p for p, _ in store.folded} - {2}) == 3, lambda: store.fold(reader.poll(1_000, 0.2)))
    assert store.positions.get(2, 0) <= 4
    monkeypatch.undo()
    reader.close()


@pytest.mark.slow
def test_members_that_come_and_go_read_every_record_once(broker: KafkaBroker) -> None:
    log = broker.log(6)
    group, store = log.name.rpartition("/")[2], Store()
    readers = {"a": log.reader(group, Member("a", store))}
    places: list[Place] = []

    def step() -> None:
        places.extend(log.append(some_records(20, len(places))))
        for reader in readers.values():
            store.fold(reader.poll(100, 0.05))

    def settled() -> bool:
        share = Counter(store.owner.values())
        return (
            set(share) == set(readers) and sum(share.values()) == 6 and max(share.values()) <= 1 + min(share.values())
        )

    poll_until(settled, step)
    for name in ("b", "c"):
        readers[name] = log.reader(group, Member(name, store))
        poll_until(settled, step)
    readers.pop("a").close()
    poll_until(settled, step)
    read_all(readers["b"], store, [place for place in places if store.owner[place[0]] == "b"])
    read_all(readers["c"], store, [place for place in places if store.owner[place[0]] == "c"])
    assert set(store.folded) == set(places)
    assert set(store.folded.values()) == {1}
    assert {what for _, what, _ in store.told} == {"assigned", "revoked"}
    for reader in readers.values():
        reader.close()
    assert store.owner == {}


class Process:
    """A member that is a process."""

    def __init__(self, log: KafkaLog, folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.source.kafka_member",
            log.name,
            log.name.rpartition("/")[2],
            str(folder),
        ]
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        environment = {**os.environ, "PYTHONPATH": path}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        self.partitions: set[int] = set()
        self.places: list[Place] = []
        self.lost: set[int] = set()
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            self._said.put(json.loads(line))

    def hear(self) -> None:
        while not self._said.empty():
            said = self._said.get()
            self.partitions |= set(said.get("assigned", ()))
            self.partitions -= set(said.get("revoked", ()))
            self.lost |= set(said.get("revoked", ())) if said.get("lost") else set()
            self.places += [(partition, offset) for partition, offset in said.get("read", ())]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def two_members(log: KafkaLog, folder: Path) -> Iterator[tuple[Process, Process]]:
    """Two processes that have settled on two partitions each."""
    with ExitStack() as stack:
        members = []
        for _ in range(2):
            member = Process(log, folder)
            stack.callback(member.end)
            members.append(member)
        poll_until(lambda: all(len(m.partitions) == 2 for m in members), lambda: hear(members))
        yield members[0], members[1]


def hear(members: Sequence[Process]) -> None:
    time.sleep(0.05)
    for member in members:
        member.hear()


@pytest.mark.slow
def test_the_partitions_of_a_killed_member_move(log: KafkaLog, tmp_path: Path) -> None:
    with two_members(log, tmp_path) as (first, second):
        places = log.append(some_records(400))
        poll_until(lambda: len(first.places) + len(second.places) == 400, lambda: hear([first, second]))
        first.process.kill()
        places += log.append(some_records(400, 1))
        poll_until(lambda: len(second.partitions) == 4, lambda: hear([second]))
        poll_until(lambda: set(places) <= {*first.places, *second.places}, lambda: hear([first, second]))
        assert set(Counter([*first.places, *second.places]).values()) == {1}


@pytest.mark.slow
@pytest.mark.skipif(
    not SOAK, reason="make soak: which minute a group gives a sleeping member up in is the broker's affair"
)
def test_a_member_that_was_asleep_learns_that_it_lost_its_partitions(log: KafkaLog, tmp_path: Path) -> None:
    with two_members(log, tmp_path) as (sleeper, other):
        slept = set(sleeper.partitions)
        sleeper.process.send_signal(signal.SIGSTOP)
        places = log.append(some_records(400))
        poll_until(lambda: len(other.partitions) == 4, lambda: hear([other]))
        poll_until(lambda: set(places) <= set(other.places), lambda: hear([other]))
        sleeper.process.send_signal(signal.SIGCONT)
        poll_until(lambda: sleeper.lost == slept, lambda: hear([sleeper, other]))
        poll_until(lambda: len(sleeper.partitions) == len(other.partitions) == 2, lambda: hear([sleeper, other]))
        assert not sleeper.partitions & other.partitions


@pytest.mark.slow
def test_a_broker_that_falls_silent_costs_time_and_no_record() -> None:
    with started_broker() as broker:
        log, hasty = broker.log(2), None
        hasty = broker.log(2, url=log.name, patience_seconds=3.0)  # enough for a broker that is awake but busy
        store = Store()
        reader = log.reader("group", Member("only", store))
        confirmed = log.append(some_records(100))
        read_all(reader, store, confirmed)
        with broker.paused():
            with pytest.raises(UnreachableError, match="Of 50 records 0 are confirmed; each of the others may be in"):
                hasty.append(some_records(50, 1))
            with pytest.raises(UnreachableError, match="Could not ask for the bounds at kafka://127"):
                hasty.bounds()
            with pytest.raises(UnreachableError):
                broker.log(url=log.name, patience_seconds=1.0)
            waiting = threading.Thread(target=lambda: confirmed.extend(log.append(some_records(100, 2))))
            waiting.start()
            assert reader.poll(100, 5.0) == []
        waiting.join()
        confirmed += hasty.append(some_records(100, 3))
        assert len(set(confirmed)) == 300
        assert set(confirmed) <= set(everything(log))
        read_all(reader, store, confirmed)
        assert set(store.folded.values()) == {1}
        reader.close()


def test_nobody_there_is_said_in_time_and_only_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnreachableError, match=r"Could not look for the topic at kafka://127.0.0.1:1/events") as caught:
        open_kafka_log(StreamSettings(log="kafka://127.0.0.1:1/events"), patience_seconds=0.3)
    assert caught.value.retryable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka:///events", "it names no broker"),
        ("kafka://host:9092", "'' is no name of a topic"),
        ("kafka://host:9092/a/b", "'a/b' is no name of a topic"),
        ("kafka://host:9092,/events", "it names no broker"),
        ("redis://host:9092/events", "it names no broker"),
        ("kafka://host/events?acks=0", "'acks' cannot be set here"),
        ("kafka://me:secret@host/events?enable.idempotence=false", "'enable.idempotence' cannot be set here"),
    ],
)
def test_a_url_that_is_none_of_a_topic_is_refused(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        KafkaAddress.of(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_used_and_never_shown() -> None:
    address = KafkaAddress.of("kafka://me:se%40cret@a:1,[::1]:2/events?security.protocol=SASL_SSL&sasl.mechanism=PLAIN")
    assert address.client()["sasl.password"] == "se@cret"
    assert address.client()["bootstrap.servers"] == "a:1,[::1]:2"
    assert "se@cret" not in f"{address} {address.name}"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TIMED_OUT, UnreachableError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError._AUTHENTICATION, ConfigError),
        (KafkaError.MSG_SIZE_TOO_LARGE, InputError),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError.INVALID_RECORD, StateError),
    ],
)
def test_what_a_broker_says_becomes_the_error_that_it_means(code: int, kind: type[TenureError]) -> None:
    error = kafka_error(KafkaAddress.of("kafka://a/events"), "append", KafkaError(code))
    assert type(error) is kind


def failed(code: int) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(KafkaException(KafkaError(code)))
    return future


class Admin:
    """An administrator's client of a broker that lets nobody create a topic, and has no ids for those there are."""

    refusal = KafkaError.TOPIC_AUTHORIZATION_FAILED

    def __init__(self, configuration: Mapping[str, object]) -> None:
        self.servers = configuration["bootstrap.servers"]

    def list_topics(self, timeout: float) -> SimpleNamespace:
        partition = SimpleNamespace(leader=1)
        topics = {"orders": SimpleNamespace(error=None, partitions={0: partition, 1: partition})}
        return SimpleNamespace(topics=topics, cluster_id="here", timeout=timeout)

    def create_topics(self, topics: Sequence[Any]) -> dict[str, Future[Any]]:
        return {topic.topic: failed(self.refusal) for topic in topics}

    def describe_topics(self, topics: Any) -> dict[str, Future[Any]]:
        return {name: failed(KafkaError._UNSUPPORTED_FEATURE) for name in topics.topic_names}

    def describe_configs(self, resources: Sequence[Any]) -> dict[Any, Future[Any]]:
        return {resource: failed(self.refusal) for resource in resources}


def test_a_topic_that_may_not_be_created_is_named_with_the_command_that_creates_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin, "AdminClient", Admin)
    with pytest.raises(NotFoundError, match=r"no topic 'events' at a:9092.*there are: orders") as caught:
        open_kafka_log(StreamSettings(log="kafka://a:9092/events", partitions=3))
    assert "--create --topic events --partitions 3" in caught.value.hint


def test_a_broker_without_ids_of_topics_still_has_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "AdminClient", Admin)
    log = open_kafka_log(StreamSettings(log="kafka://a:9092/orders"))
    assert (log.partitions, log.identity) == (2, "here/orders")
