"""States in Redis: one hash for each partition of the log.

Enters: updates of a partition. Leaves: states with the mark of their partition. The hash `tenure:{project:partition}`
holds `mark`, a field `s:…` for every customer's state and fields `seen:<bucket>:<n>` with ids that were seen. What
stands in braces decides the slot of a Redis Cluster, so everything of a partition is on one server. States and mark
are in one key on purpose: whatever loses a key, an eviction or a flush, loses both together, and it is noticed. Rows
are in a second hash in the same slot, `…:rows`, which outlives a reset.

How a write is fenced. `WATCH` the hash and read its mark; refuse if it is not the writer's; send the whole write
between `MULTI` and `EXEC`. Redis carries it out as one step, and not at all if anybody has touched the hash since the
`WATCH`: in that case the mark is read again, and then usually says that the partition was lost. It costs one round
trip more than a script and less time: Redis takes 20,000 states a quarter faster as plain arguments than through
Lua's stack. A server that is killed in the middle finds either all of the transaction in its append-only file or
ignores it.

Ids that were seen grow by a few at a time. A field that is not yet full is therefore replaced by one that holds the
new ids as well, and the mark's document knows how many fields a bucket has, so that they are found without a search.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tenure.core.errors import ConfigError, StateError, UnreachableError
from tenure.store.protocol import Kept, Mark, Update, by_partition, next_epoch, note_text, refuse_unless_held
from tenure.store.redis_link import Command, Link, Servers

__all__ = ["RedisStore"]

_STATE = b"s:"
_PAIRS = 500  # of a field and a value in one command
_FULL_BYTES = 1 << 14
_RACES = 1_000
_POLICY_HINT = "Set it with: redis-cli CONFIG SET maxmemory-policy noeviction"


@dataclass(frozen=True)
class _Document:
    """What the field `mark` holds: the mark, and of every bucket the number of its fields and the bytes in the last."""

    mark: Mark
    seen: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def text(self) -> bytes:
        held = {"epoch": self.mark.epoch, "position": self.mark.position, "note": self.mark.note, "seen": self.seen}
        return note_text(held).encode()

    def fields(self, bucket: int) -> list[bytes]:
        return [_seen_field(bucket, number) for number in range(self.seen[bucket][0])]


# What a write makes of what it finds: the new document, and the commands that go with it.
_Change = Callable[[Link, _Document | None], tuple[_Document, list[Command]]]


class RedisStore:
    """States in Redis or in a Redis Cluster.

    Parameters
    ----------
    url : str
        `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `rediss+cluster://`.
    project : str
        Name of the project, which keeps its keys apart from those of others.
    partitions : int
        Partitions of the log.
    place : callable
        The partition of a customer.
    timeout : float
        Seconds to wait for an answer.

    Raises
    ------
    ConfigError
        The URL or the password is wrong, or Redis may throw away keys of its own choice (`maxmemory-policy`).
    UnreachableError
        No server answers.
    """

    def __init__(self, url: str, project: str, partitions: int, place: Callable[[str], int], timeout: float) -> None:
        self._servers = Servers(url, timeout)
        self.partitions = partitions
        self._place = place
        tag = quote(project, safe="")
        self._keys = [f"tenure:{{{tag}:{partition}}}".encode() for partition in range(partitions)]
        self._row_keys = [key + b":rows" for key in self._keys]
        self._parsed: dict[int, tuple[bytes, _Document]] = {}
        self.name = f"redis{'+cluster' if self._servers.is_cluster else ''} at {self._servers.shown}"
        self._refuse_eviction()

    def claim(self, partition: int) -> Mark:
        """Raise the epoch of a partition."""

        def change(_: Link, found: _Document | None) -> tuple[_Document, list[Command]]:
            if found is None:
                return _Document(Mark(next_epoch(None), None, {})), []
            mark = found.mark
            return _Document(Mark(next_epoch(mark.epoch), mark.position, mark.note), found.seen), []

        return self._change(partition, change)

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        """Raise the epoch of a partition and drop everything but rows."""

        def change(_: Link, found: _Document | None) -> tuple[_Document, list[Command]]:
            epoch = next_epoch(found.mark.epoch if found else None)
            return _Document(Mark(epoch, None, dict(note))), [("UNLINK", self._keys[partition])]

        return self._change(partition, change)

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        """Write an update in one step, if the mark is still the newest."""

        def change(link: Link, found: _Document | None) -> tuple[_Document, list[Command]]:
            stored = (found.mark.epoch, found.mark.position) if found else (None, None)
            refuse_unless_held(partition, mark, *stored)
            return self._applied(link, partition, found or _Document(mark), update)

        return self._change(partition, change)

    def publish(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows of a batch, partition by partition."""
        for partition, own in by_partition(rows, self._place).items():
            key = self._row_keys[partition]
            self._servers.ask_all([(key, command) for command in _sets(key, b"", own)])

    def states(self, partition: int, customers: Sequence[str]) -> list[bytes | None]:
        """The states of customers of one partition."""
        if not customers:
            return []
        key = self._keys[partition]
        fields = [_STATE + customer.encode() for customer in customers]
        [found] = self._servers.ask_all([(key, ("HMGET", key, *fields))])
        return list(found)

    def seen(self, partition: int) -> Mapping[int, bytes]:
        """The ids that were seen, by bucket."""
        key = self._keys[partition]
        with self._servers.lend_for(key) as link:
            document = self._document(partition, link.ask(("WATCH", key), ("HGET", key, "mark"))[1])
            if document is None or not document.seen:
                link.ask(("UNWATCH",))
                return {}
            commands: list[Command] = [("HMGET", key, *document.fields(bucket)) for bucket in document.seen]
            found = link.ask(("MULTI",), *commands, ("EXEC",))[-1]
        if found is None:  # somebody wrote in between
            return self.seen(partition)
        return {bucket: b"".join(_whole(parts, partition)) for bucket, parts in zip(document.seen, found, strict=True)}

    def read(self, customers: Sequence[str]) -> list[Kept]:
        """Everything kept of each customer, in one round trip."""
        groups: dict[int, list[int]] = {}
        for number, customer in enumerate(customers):
            groups.setdefault(self._place(customer), []).append(number)
        requests: list[tuple[bytes, Command]] = []
        for partition, numbers in groups.items():
            names = [customers[number].encode() for number in numbers]
            key, rows = self._keys[partition], self._row_keys[partition]
            requests.append((key, ("HMGET", key, "mark", *[_STATE + name for name in names])))
            requests.append((rows, ("HMGET", rows, *names)))
        replies = iter(self._servers.ask_all(requests) if requests else ())
        kept: dict[int, Kept] = {}
        for (partition, numbers), (text, *states), rows in zip(groups.items(), replies, replies, strict=True):
            document = self._document(partition, text)
            mark = document.mark if document else None
            for number, state, row in zip(numbers, states, rows, strict=True):
                kept[number] = Kept(customers[number], state if mark else None, row, partition, mark)
        return [kept[number] for number in range(len(customers))]

    def marks(self) -> Mapping[int, Mark]:
        """The marks of all partitions."""
        texts = self._servers.ask_all([(key, ("HGET", key, "mark")) for key in self._keys])
        documents = (self._document(partition, text) for partition, text in enumerate(texts))
        return {partition: document.mark for partition, document in enumerate(documents) if document}

    def scan(self, partition: int, cursor: str | None, limit: int) -> tuple[list[tuple[str, bytes]], str | None]:
        """One page of customers and states."""
        key = self._keys[partition]
        command = ("HSCAN", key, cursor or "0", "MATCH", _STATE + b"*", "COUNT", max(limit, 1))
        [[following, found]] = self._servers.ask_all([(key, command)])
        names = [name[len(_STATE) :].decode() for name in found[::2]]
        return list(zip(names, found[1::2], strict=True)), None if following == b"0" else following.decode()

    def size(self, partition: int) -> int:
        """How many customers have a state."""
        key = self._keys[partition]
        with self._servers.lend_for(key) as link:
            fields, text = link.ask(("MULTI",), ("HLEN", key), ("HGET", key, "mark"), ("EXEC",))[-1]
        document = self._document(partition, text)
        return int(fields) - 1 - sum(count for count, _ in document.seen.values()) if document else 0

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def _change(self, partition: int, change: _Change) -> Mark:
        """Change a partition in one step, from what nobody has changed since it was read."""
        key = self._keys[partition]
        for _ in range(_RACES):
            with self._servers.lend_for(key) as link:
                found = self._document(partition, link.ask(("WATCH", key), ("HGET", key, "mark"))[1])
                document, commands = change(link, found)
                commands.append(("HSET", key, "mark", document.text()))
                if link.ask(("MULTI",), *commands, ("EXEC",))[-1] is not None:
                    return document.mark
        raise UnreachableError(
            f"Partition {partition} in Redis was changed by others {_RACES} times while it was to be changed.",
            hint="Make sure that not many consumers of one group fight for the same partition, then try again.",
        )

    def _applied(self, link: Link, partition: int, found: _Document, update: Update) -> tuple[_Document, list[Command]]:
        key = self._keys[partition]
        commands = [*_sets(key, _STATE, update.states)]
        seen = dict(found.seen)
        for bucket, ids in update.seen.items():
            if ids:
                seen[bucket], fields = self._grown(link, key, bucket, seen.get(bucket, (0, 0)), ids)
                commands.append(("HSET", key, *fields))
        for bucket in [bucket for bucket in seen if update.forget is not None and bucket < update.forget]:
            count, _ = seen.pop(bucket)
            commands.append(("HDEL", key, *[_seen_field(bucket, number) for number in range(count)]))
        return _Document(Mark(found.mark.epoch, update.position, dict(update.note)), seen), commands

    def _grown(
        self, link: Link, key: bytes, bucket: int, held: tuple[int, int], ids: bytes
    ) -> tuple[tuple[int, int], list[bytes]]:
        """A bucket with more ids: its new size, and the field and value to set."""
        count, last_bytes = held
        if count and last_bytes + len(ids) <= _FULL_BYTES:
            [[last]] = link.ask(("HMGET", key, _seen_field(bucket, count - 1)))
            return (count, last_bytes + len(ids)), [_seen_field(bucket, count - 1), (last or b"") + ids]
        return (count + 1, len(ids)), [_seen_field(bucket, count), ids]

    def _document(self, partition: int, text: bytes | None) -> _Document | None:
        """The document in a field; the last one is remembered, for between two writes every read finds the same."""
        if text is None:
            return None
        parsed = self._parsed.get(partition)
        if parsed is None or parsed[0] != text:
            parsed = self._parsed[partition] = (text, _parse(text, partition))
        return parsed[1]

    def _refuse_eviction(self) -> None:
        """A server that may throw away any key would throw away customers."""
        for pool in self._servers.primaries():
            with self._servers.lend(pool) as link:
                [information] = link.ask(("INFO", "memory"))
            lines = dict(line.split(":", 1) for line in bytes(information).decode().splitlines() if ":" in line)
            policy = lines.get("maxmemory_policy", "noeviction")
            if policy.startswith("allkeys"):
                self.close()
                raise ConfigError(
                    f"Redis at {self._servers.shown} has maxmemory-policy {policy}: when its memory is full it would "
                    "throw away the states of customers. noeviction and the volatile- policies are safe.",
                    hint=_POLICY_HINT,
                    policy=policy,
                )


def _seen_field(bucket: int, number: int) -> bytes:
    return b"seen:%d:%d" % (bucket, number)


def _sets(key: bytes, prefix: bytes, values: Mapping[str, bytes]) -> Iterator[Command]:
    pairs = [part for customer, value in values.items() for part in (prefix + customer.encode(), value)]
    for start in range(0, len(pairs), 2 * _PAIRS):
        yield ("HSET", key, *pairs[start : start + 2 * _PAIRS])


def _whole(parts: Sequence[bytes | None], partition: int) -> list[bytes]:
    found = [part for part in parts if part is not None]
    if len(found) != len(parts):
        raise StateError(
            f"Ids that partition {partition} has seen are missing in Redis; duplicates could not be told any more.",
            hint="Somebody has deleted fields. Rebuild the store with: tenure stream rebuild",
            partition=partition,
        )
    return found


def _parse(text: bytes, partition: int) -> _Document:
    try:
        held = json.loads(text)
        seen = {int(bucket): (int(count), int(size)) for bucket, (count, size) in held["seen"].items()}
        return _Document(Mark(int(held["epoch"]), held["position"], held["note"]), seen)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"The mark of partition {partition} in Redis is unreadable: {text[:80]!r}.",
            hint="Somebody else writes to the same keys. Give the project another name, or empty the keys `tenure:*`.",
        ) from error
