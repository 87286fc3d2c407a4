"""Opening an online store by its URL.

Enters: the URL of `[store] online`, and how the log places customers. Leaves: a store behind one protocol. Invariant:
what cannot be used says so now, with the URL's own words and without its password, and not at the first event.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tenure.core.errors import ConfigError, did_you_mean
from tenure.source.log import partition_rule
from tenure.store.online_postgres import PostgresStore
from tenure.store.online_redis import RedisStore
from tenure.store.online_sqlite import SqliteStore
from tenure.store.protocol import OnlineStore

__all__ = ["SCHEMES", "open_online"]

SCHEMES = (
    "sqlite",
    "redis",
    "rediss",
    "redis+cluster",
    "rediss+cluster",
    "unix",
    "postgresql",
    "postgresql+psycopg",
)
_SECONDS = 5.0
_HINT = (
    'Set [store] online to "sqlite:///.tenure/online.db", "redis://host:6379/0", "redis+cluster://host:7000" or '
    '"postgresql+psycopg://user@host/name".'
)


def open_online(
    url: str, root: Path | None = None, *, project: str, partitions: int, partitioner: str = "crc32"
) -> OnlineStore:
    """Open the online store.

    Parameters
    ----------
    url : str
        `sqlite:///path`, `redis://`, `rediss://`, `redis+cluster://`, `rediss+cluster://`, `unix:///socket` or
        `postgresql+psycopg://`. `timeout` in its query is how many seconds an answer may take; 5 where it is not given.
    root : Path, optional
        Folder that a relative SQLite path starts from.
    project : str
        Name of the project; keeps its keys in a shared Redis apart.
    partitions : int
        Partitions of the event log.
    partitioner : str
        How the log places customers: `crc32` or `murmur2`.

    Raises
    ------
    ConfigError
        The URL is not understood, or names something that cannot be an online store.
    MissingExtraError
        The package for it is not installed.
    StateError
        The store does not answer, or cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = open_online("sqlite:///online.db", Path(folder.name), project="shop", partitions=4)
    >>> store.read(["anna"])[0].mark is None
    True
    >>> store.close()
    >>> folder.cleanup()
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f"[store] online is not a URL: {error}.", hint=_HINT) from None
    if scheme not in SCHEMES:
        raise ConfigError(
            f"[store] online has the scheme {scheme!r}, which is not known. {did_you_mean(scheme, SCHEMES)}",
            hint=_HINT,
            known=SCHEMES,
        )
    address, timeout = _timeout(url)
    place = partition_rule(partitions, partitioner)
    if scheme == "sqlite":
        return SqliteStore(_path(address, root), partitions, place, timeout)
    if scheme.startswith("postgresql"):
        return _postgres(address, partitions, place, timeout)
    return RedisStore(address, project, partitions, place, timeout)


def _timeout(url: str) -> tuple[str, float]:
    """The URL without its timeout, and the timeout in seconds."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    text = dict(query).get("timeout")
    if text is None:
        return url, _SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(
            f"The timeout in [store] online is {text!r}; it is a number of seconds above zero.",
            hint='For example "redis://host:6379/0?timeout=2.5".',
        )
    rest = urlencode([(name, value) for name, value in query if name != "timeout"])
    end = ("?" + rest if rest else "") + ("#" + parts.fragment if parts.fragment else "")
    return url.partition("?")[0] + end, seconds


def _path(url: str, root: Path | None) -> Path:
    try:
        database = make_url(url).database
    except ArgumentError:
        database = None
    if not database or database == ":memory:":
        raise ConfigError("[store] online names no SQLite file: states must outlive the process.", hint=_HINT)
    return Path(root or ".") / database


def _postgres(url: str, partitions: int, place: Callable[[str], int], timeout: float) -> OnlineStore:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what cannot be taken apart is not shown: it may hold a password
        raise ConfigError("[store] online is not a database URL.", hint=_HINT) from None
    return PostgresStore(parsed, partitions, place, timeout)
