"""API keys: made once, shown once, kept only as a hash.

Enters: a name, roles and a rate; later the token that a caller shows. Leaves: the key that the token proves. Invariant:
the database, the logs and the memory of a process that only checks hold SHA-256 of the token and never the token, and
looking for a token takes the same steps whether its id exists, is revoked or was never given out.

A token is `tenure_<id>_<secret>`: twelve characters that name the key in logs and in `tenure keys list`, and 256 random
bits in base64. A fast hash is enough for so many random bits: there is nothing to guess, unlike in a password.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tenure.core.database import metadata, transaction, utc_now_column
from tenure.core.errors import InputError, NotFoundError, did_you_mean
from tenure.core.time import Clock, parse_instant, system_clock
from tenure.serve.roles import ROLES, Need, Role

__all__ = ["Key", "KeyRing", "StoredKey", "create_key", "key_rows", "list_keys", "load_keys", "revoke_key"]

key_rows = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("roles", sa.String(100), nullable=False),
    sa.Column("rate", sa.Float),
    sa.Column("sha256", sa.String(64), nullable=False),
    utc_now_column("created_at"),
    sa.Column("revoked_at", sa.String(32)),
)

_PREFIX: Final = "tenure_"
_ID_BYTES, _SECRET_BYTES = 6, 32
_ID_END = len(_PREFIX) + 2 * _ID_BYTES
_LONGEST = 256  # characters of a token that are looked at; a real one has 63
_NAME_LENGTH = 100
_NOBODY = hashlib.sha256(secrets.token_bytes(_SECRET_BYTES)).digest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret.

    Parameters
    ----------
    id : str
        Twelve hexadecimal characters; safe to show and to log.
    name : str
        Who or what uses it.
    roles : frozenset of {"score", "events", "admin"}
        What it may do; `admin` may everything.
    rate : float or None
        Requests a second; None for the service's `rate`.
    created_at, revoked_at : datetime
        UTC; the second is None while the key may be used.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> Key("0123456789ab", "crm", frozenset({"score"}), None, EPOCH, None).may(frozenset({"events"}))
    False
    """

    id: str
    name: str
    roles: frozenset[Role]
    rate: float | None
    created_at: datetime
    revoked_at: datetime | None

    def may(self, need: Need) -> bool:
        """Whether the key has one of the roles that something needs."""
        return need is None or "admin" in self.roles or not need.isdisjoint(self.roles)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key and the hash by which its token is known.

    Parameters
    ----------
    key : Key
        Whose.
    sha256 : bytes
        SHA-256 of the token.
    """

    key: Key
    sha256: bytes


def create_key(
    engine: Engine, name: str, roles: Iterable[Role], rate: float | None = None, clock: Clock = system_clock
) -> tuple[Key, str]:
    """Make a key.

    Parameters
    ----------
    engine : Engine
        The project's database.
    name : str
        Who or what will use it; several keys may share a name, so that a new one can replace an old one without a gap.
    roles : iterable of {"score", "events", "admin"}
        What it may do.
    rate : float, optional
        Requests a second that it may send; default: the service's `rate`.
    clock : Clock
        What time it is.

    Returns
    -------
    (Key, str)
        The key, and its token, which is kept nowhere.

    Raises
    ------
    InputError
        The name, a role or the rate cannot be used.
    StateError
        The database is busy.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> key, token = create_key(open_database("sqlite://"), "crm", ["score"])
    >>> token.startswith(f"tenure_{key.id}_"), len(token)
    (True, 63)
    """
    granted = _checked_roles(roles)
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        raise InputError(f"{name!r} cannot be a key's name.", name=name,
                         hint=f"Use 1 to {_NAME_LENGTH} characters that can be printed.")  # fmt: skip
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        raise InputError(
            f"A rate of {rate:g} requests a second cannot be kept.", hint="Use a number above 0.", rate=rate
        )
    key = Key(secrets.token_hex(_ID_BYTES), name, granted, rate, clock(), None)
    token = f"{_PREFIX}{key.id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    with transaction(engine) as connection:
        connection.execute(
            key_rows.insert().values(
                id=key.id, name=name, roles=" ".join(sorted(granted)), rate=rate, sha256=_sha256(token).hex(),
                created_at=_text(key.created_at), revoked_at=None,
            )
        )  # fmt: skip
    return key, token


def list_keys(engine: Engine) -> tuple[Key, ...]:
    """Every key that was ever made, the oldest first, revoked ones too.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> list_keys(open_database("sqlite://"))
    ()
    """
    return tuple(stored.key for stored in load_keys(engine))


def load_keys(engine: Engine) -> tuple[StoredKey, ...]:
    """Every key with its hash, as a `KeyRing` loads them.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> ring = KeyRing(lambda: load_keys(engine))
    >>> ring.is_open
    True
    """
    with transaction(engine) as connection:
        rows = connection.execute(sa.select(key_rows).order_by(key_rows.c.created_at, key_rows.c.id)).all()
    return tuple(StoredKey(_read(row), bytes.fromhex(row.sha256)) for row in rows)


def revoke_key(engine: Engine, key_id: str, clock: Clock = system_clock) -> Key:
    """Take a key back; running services refuse it as soon as they look again (`serve.refresh_seconds`).

    Parameters
    ----------
    engine : Engine
        The project's database.
    key_id : str
        The twelve characters of `tenure keys list`.
    clock : Clock
        What time it is.

    Returns
    -------
    Key
        As it is now; a key that was revoked before keeps its first time.

    Raises
    ------
    NotFoundError
        No key has that id.
    StateError
        The database is busy.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> key, _ = create_key(engine, "crm", ["score"])
    >>> revoke_key(engine, key.id).revoked_at is None
    False
    """
    open_one = key_rows.update().where(key_rows.c.id == key_id, key_rows.c.revoked_at.is_(None))
    with transaction(engine) as connection:
        connection.execute(open_one.values(revoked_at=_text(clock())))
        rows = connection.execute(sa.select(key_rows)).all()
    found = {row.id: row for row in rows}
    if key_id not in found:
        raise NotFoundError(f"No key has the id {key_id!r}. {did_you_mean(key_id, found)}", key_id=key_id,
                            hint="See `tenure keys list`.")  # fmt: skip
    return _read(found[key_id])


class KeyRing:
    """The keys that a running service knows.

    Parameters
    ----------
    load : callable
        Reads every key that was ever made; called once now and at each `refresh`.

    Examples
    --------
    >>> ring = KeyRing(lambda: ())
    >>> ring.is_open, ring.find("tenure_0123456789ab_…") is None
    (True, True)
    """

    def __init__(self, load: Callable[[], Iterable[StoredKey]]) -> None:
        self._load = load
        self._usable: Mapping[str, StoredKey] = {}
        self._closed = False
        self.refresh()

    @property
    def is_open(self) -> bool:
        """Whether no key was ever made. Once one was seen this stays False, also where the keys were lost since."""
        return not self._closed

    def find(self, token: str | None) -> Key | None:
        """The key that a token proves, or None where it proves none.

        A token without a known id is hashed and compared like any other, so that the time says nothing about which ids
        exist.
        """
        shown = (token or "")[:_LONGEST]
        stored = self._usable.get(shown[len(_PREFIX) : _ID_END])
        expected = _NOBODY if stored is None else stored.sha256
        is_right = hmac.compare_digest(_sha256(shown), expected)
        return stored.key if is_right and stored is not None else None

    def refresh(self) -> None:
        """Read the keys again; where that fails the ones known before stay."""
        stored = tuple(self._load())
        self._usable = {one.key.id: one for one in stored if one.key.revoked_at is None}
        self._closed = self._closed or bool(stored)


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _checked_roles(roles: Iterable[Role]) -> frozenset[Role]:
    given = tuple(dict.fromkeys(roles))
    for role in given:
        if role not in ROLES:
            raise InputError(f"{role!r} is not a role. {did_you_mean(role, ROLES)}", hint="Use score, events or admin.")
    if not given:
        raise InputError("A key without a role may do nothing.", hint="Give it score, events or admin.")
    return frozenset(given)


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _read(row: sa.Row[tuple[object, ...]]) -> Key:
    roles = frozenset(role for role in ROLES if role in row.roles.split())
    revoked = None if row.revoked_at is None else parse_instant(row.revoked_at)
    return Key(row.id, row.name, roles, row.rate, parse_instant(row.created_at), revoked)
