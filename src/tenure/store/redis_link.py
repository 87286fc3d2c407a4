"""Talking to Redis: a connection of one's own for every exchange, and which server of a cluster a key is on.

Enters: commands for a key. Leaves: their replies, or an error of tenure's family. Two invariants. A connection is
lent again only after every reply on it was read: an exchange that ended in the middle closes its connection, so that
no answer ever reaches another caller. And nothing is sent a second time on its own, except after a server said that
it did nothing because the key is elsewhere; what else to do about an error is for the caller, who knows what may be
repeated.

redis-py opens the connection (address, TLS, password, database) and hiredis reads what comes back. In between the
socket is used as it is: a read of one customer is one round trip, and a client's bookkeeping around it would cost as
much again.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tenure.core.errors import ConfigError, StateError, TenureError, UnreachableError
from tenure.core.extras import require
from tenure.store.idle import Idle

__all__ = ["Command", "Link", "Servers", "reply_error"]

Command = Sequence[str | bytes | int]

_SETTING = "[store] online"
_HINT = "Check that Redis runs and can be reached, then try again; nothing needs to be restarted here."
# Replies after which the same may succeed a little later, or on another server.
_PASSING = (
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "ASK",
    "BUSY",
    "MOVED",
    "NOREPLICAS",
    "UNBLOCKED",
)
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM")
_READ_BYTES = 1 << 18
_PIECE_BYTES = 1 << 19
_REDIRECTIONS = 3
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # Windows has no poll


class Link:
    """One connection to one server.

    Parameters
    ----------
    connection : redis.Connection
        Not yet connected; its socket times out.
    """

    def __init__(self, connection: Any) -> None:
        hiredis = require("hiredis")
        connection.connect()
        self._connection = connection  # closes its socket when it is collected
        self._socket = connection._sock  # noqa: SLF001  (redis-py has no public name for it)
        self._reader = hiredis.Reader()
        self._pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command
        self._arrivals: selectors.BaseSelector = _Selector()
        self._arrivals.register(self._socket, selectors.EVENT_READ)

    def send(self, *commands: Command) -> None:
        """Send commands without waiting for their replies; many in pieces, so that Redis begins while we still pack."""
        pack, pieces, size = self._pack, [], 0
        for command in commands:
            pieces.append(pack(tuple(command)))
            size += len(pieces[-1])
            if size > _PIECE_BYTES:
                self._socket.sendall(b"".join(pieces))
                pieces, size = [], 0
        self._socket.sendall(b"".join(pieces))

    def receive(self, count: int) -> list[Any]:
        """Read that many replies; errors among them are values."""
        reader, replies = self._reader, []
        while True:
            reply = reader.gets()
            if reply is False:
                received = self._socket.recv(_READ_BYTES)
                if not received:
                    raise ConnectionResetError("the server closed the connection")
                reader.feed(received)
                continue
            replies.append(reply)
            if len(replies) == count:
                return replies

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands and read their replies; the first error among them is raised."""
        self.send(*commands)
        replies = self.receive(len(commands))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def is_quiet(self) -> bool:
        """Nothing has arrived since the last reply: neither an unread answer nor the end of the connection."""
        return not self._arrivals.select(0)

    def close(self) -> None:
        """Close the connection."""
        self._arrivals.close()
        self._connection.disconnect()


class Servers:
    """The servers behind one URL: one, or those of a cluster.

    Parameters
    ----------
    url : str
        As redis-py takes it; `redis+cluster://` and `rediss+cluster://` name one server of a cluster.
    timeout : float
        Seconds to connect, and to wait for an answer, unless the URL says otherwise.
    setting : str
        Where the URL is written, for whoever has to correct it.

    Raises
    ------
    ConfigError
        The URL is not understood.

    Examples
    --------
    >>> Servers("rediss+cluster://shop.example:7000?password=secret", 1.0).shown
    'shop.example:7000'
    """

    def __init__(self, url: str, timeout: float, setting: str = _SETTING) -> None:
        redis = require("redis")
        require("hiredis")
        self._redis_error: type[Exception] = redis.exceptions.RedisError
        self._slot_of: Callable[[bytes], int] = require("redis.crc").key_slot
        self._setting = setting
        self.is_cluster = "+cluster:" in url
        try:
            options = dict(redis.connection.parse_url(url.replace("+cluster:", ":")))
            self._class = options.pop("connection_class", redis.Connection)
            fixed = {"protocol": 2, "driver_info": None, "decode_responses": False}
            self._options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **options, **fixed}
            self._class(**self._options)  # connects to nobody yet, but knows which options there are
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{setting} is not a Redis URL: {error}.", hint=_URL_HINT) from None
        self._address = (str(options.get("host", "localhost")), int(options.get("port", 6379)))
        self.shown = f"{self._address[0]}:{self._address[1]}" if "path" not in options else str(options["path"])
        self._pools: dict[tuple[str, int], Idle[Link]] = {}
        self._home = self._pool(self._address)
        self._slots: list[tuple[int, int, Idle[Link]]] = []

    def pool_of(self, key: bytes) -> Idle[Link]:
        """Connections to the server that has a key."""
        if not self.is_cluster:
            return self._home
        slot = self._slot_of(key)
        for first, last, pool in self._slots or self.learn():
            if first <= slot <= last:
                return pool
        raise UnreachableError(f"No server of the Redis Cluster at {self.shown} has slot {slot}.", hint=_HINT)

    def primaries(self) -> list[Idle[Link]]:
        """Connections to every server that is written to."""
        if not self.is_cluster:
            return [self._home]
        return list({id(pool): pool for _, _, pool in self.learn()}.values())

    def learn(self) -> list[tuple[int, int, Idle[Link]]]:
        """Ask which server has which slots: the one in the URL, else any that was known before."""
        failure: TenureError | None = None
        for pool in list(self._pools.values()):
            try:
                with self.lend(pool) as link:
                    [ranges] = link.ask(("CLUSTER", "SLOTS"))
            except UnreachableError as error:
                failure = error
                continue
            slots = [(first, last, self._pool(self._named(node))) for first, last, node, *_ in ranges]
            self._slots = slots  # another thread may forget them at any moment
            return slots
        raise failure or UnreachableError(f"The Redis Cluster at {self.shown} does not answer.", hint=_HINT)

    def ask_all(self, requests: Sequence[tuple[bytes, Command]]) -> list[Any]:
        """Reading commands with their keys, in one round trip to every server concerned; replies in the same order."""
        for _ in range(_REDIRECTIONS):
            replies = self._round_trip(requests)
            errors = [reply for reply in replies if isinstance(reply, Exception)]
            if not errors:
                return replies
            if not self._is_elsewhere(errors[0]):
                break
            self.learn()
        raise reply_error(errors[0], self.shown, self._setting)

    @contextmanager
    def lend(self, pool: Idle[Link]) -> Iterator[Link]:
        """A connection that is given back if all goes well, and closed if anything does not."""
        link = self._take(pool)
        try:
            yield link
        except BaseException as error:
            link.close()
            if (known := self._known(error)) is not None:
                raise known from error
            raise
        pool.give(link)

    @contextmanager
    def lend_for(self, key: bytes) -> Iterator[Link]:
        """A connection to the server that has a key; learns where it is when it has moved."""
        try:
            with self.lend(self.pool_of(key)) as link:
                yield link
        except UnreachableError as error:
            if self.is_cluster:
                self._slots = []  # asked for again before the next exchange: it may be a failover, or a key that moved
            raise error from error.__cause__

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()

    def _round_trip(self, requests: Sequence[tuple[bytes, Command]]) -> list[Any]:
        if not self.is_cluster:
            return self._exchange({self._home: range(len(requests))}, requests)
        groups: dict[Idle[Link], list[int]] = {}
        for number, (key, _) in enumerate(requests):
            groups.setdefault(self.pool_of(key), []).append(number)
        return self._exchange(groups, requests)

    def _exchange(
        self, groups: Mapping[Idle[Link], Sequence[int]], requests: Sequence[tuple[bytes, Command]]
    ) -> list[Any]:
        """Send to all, then hear all."""
        links: list[tuple[Idle[Link], Link, Sequence[int]]] = []
        replies: list[Any] = [None] * len(requests)
        try:
            for pool, numbers in groups.items():
                links.append((pool, self._take(pool), numbers))
                links[-1][1].send(*[requests[number][1] for number in numbers])
            for _, link, numbers in links:
                for number, reply in zip(numbers, link.receive(len(numbers)), strict=True):
                    replies[number] = reply
        except BaseException as error:
            for _, link, _ in links:
                link.close()
            self._slots = []
            if (known := self._known(error)) is not None:
                raise known from error
            raise
        for pool, link, _ in links:
            pool.give(link)
        return replies

    def _take(self, pool: Idle[Link]) -> Link:
        try:
            return pool.take()
        except (self._redis_error, OSError) as error:
            raise self._known(error) or error from error

    def _known(self, error: BaseException) -> TenureError | None:
        """The error of tenure's family for what went wrong on a connection; None where it is not about Redis."""
        if isinstance(error, TimeoutError):
            return UnreachableError(
                f"Redis at {self.shown} did not answer within {self._options['socket_timeout']:g} seconds.", hint=_HINT
            )
        if isinstance(error, OSError):
            return UnreachableError(f"Redis at {self.shown} cannot be reached: {error}.", hint=_HINT)
        if isinstance(error, self._redis_error) or type(error).__module__.startswith("hiredis"):
            return reply_error(error, self.shown, self._setting)
        return None

    def _is_elsewhere(self, error: Exception) -> bool:
        return self.is_cluster and str(error).startswith("MOVED ")

    def _pool(self, address: tuple[str, int]) -> Idle[Link]:
        if address not in self._pools:
            own = {} if address == self._address else {"host": address[0], "port": address[1]}
            self._pools[address] = Idle(lambda: Link(self._class(**{**self._options, **own})), Link.is_quiet)
        return self._pools[address]

    def _named(self, node: Sequence[Any]) -> tuple[str, int]:
        """The address of a node as a cluster tells it; a node that does not know its own is the one we asked."""
        host = bytes(node[0] or b"").decode()
        return (host or self._address[0], int(node[1]))


_URL_HINT = 'Use "redis://host:6379/0", "rediss://…", "redis+cluster://host:7000" or "unix:///path/redis.sock".'


def reply_error(error: BaseException, shown: str, setting: str = _SETTING) -> TenureError:
    """What Redis refused, as an error that says what to do.

    Parameters
    ----------
    error : BaseException
        Its text begins with Redis's own word for the error, or is redis-py's.
    shown : str
        Which server said so.
    setting : str
        Where its URL is written.

    Examples
    --------
    >>> reply_error(ValueError("LOADING Redis is loading the dataset in memory"), "localhost:6379").code
    'unreachable'
    >>> reply_error(ValueError("OOM command not allowed when used memory > 'maxmemory'."), "localhost:6379").code
    'state'
    """
    text, kind = str(error).rstrip("."), type(error).__name__
    word = text.partition(" ")[0]
    if word in _REFUSED or kind in {"AuthenticationError", "AuthenticationWrongNumberOfArgsError", "NoPermissionError"}:
        return ConfigError(
            f"Redis at {shown} refused us: {text}.", hint=f"Check the user name and password in {setting}."
        )
    if word in _PASSING or kind in {"ConnectionError", "TimeoutError", "BusyLoadingError"}:
        return UnreachableError(f"Redis at {shown} cannot answer now: {text}.", hint=_HINT)
    return StateError(f"Redis at {shown} refused a command: {text}.", hint="See what Redis says about it in its log.")
