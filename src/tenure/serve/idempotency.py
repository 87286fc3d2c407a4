"""Which requests have been made already: a key that a caller chose, what it was used for, and what was answered.

Enters: a caller, their key, the digest of a body. Leaves: a `Claim` for the one who may act, the first answer for
everybody after, nothing for those who come in between. Invariant: a key is claimed by one request at a time, in one
transaction of the project's database, so that it holds among threads, processes and machines; and an answer is kept
only by the one whose claim still stands.

A claim is a lease. Whoever dies with a claim in hand leaves it behind, and when the lease is over the next request
takes it: better done twice than never, where the log tells events apart by their ids. Nobody can tell from the outside
whether the dead one had acted, which is why a key alone cannot promise more. An answer is kept for a day; keys older
than that are forgotten, some at a time.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from tenure.core.database import metadata, transaction
from tenure.core.errors import InputError, StateError
from tenure.core.time import Clock, system_clock

__all__ = ["KEPT", "LEASE", "Claim", "IdempotencyKeys", "KeyReusedError", "UnderWayError", "idempotency"]

LEASE = timedelta(minutes=1)
KEPT = timedelta(hours=24)
_BITE = 500

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("claimed_at", sa.String(32), nullable=False),
    sa.Column("leased_until", sa.String(32), nullable=False),
    sa.Column("answer", sa.LargeBinary),
    sa.Index("idempotency_claimed_at", "claimed_at"),
)
_columns = idempotency.c


class KeyReusedError(InputError):
    """A key comes with another body than the first time."""

    code = "key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key {key!r} was used for another body.",
            hint="Choose a new key for every body; repeat a key only with the very same bytes.",
            field="Idempotency-Key",
        )


class UnderWayError(StateError):
    """Somebody else is acting on the same key, and has not answered yet."""

    code = "under_way"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"A request with the idempotency key {key!r} is under way.",
            hint="Ask again in a moment with the same key and body: the answer will then be that of the first request.",
        )


@dataclass(frozen=True)
class Claim:
    """The right to act on a key, until the lease is over.

    Parameters
    ----------
    caller, key : str
        Whose key.
    token : str
        Tells this claim from any other on the same key.
    """

    caller: str
    key: str
    token: str


class IdempotencyKeys:
    """Keys that callers have used.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    clock : Clock
        The wall clock; all who share the database need the same one, to within the lease.
    lease : timedelta
        How long a claim stands. Longer than any request takes.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> keys = IdempotencyKeys(open_database("sqlite://"))
    >>> claim = keys.claim("shop", "order-7", b"digest")
    >>> keys.claim("shop", "order-7", b"digest") is None, keys.settle(claim, b"done")
    (True, True)
    >>> keys.claim("shop", "order-7", b"digest")
    b'done'
    """

    def __init__(self, engine: Engine, clock: Clock = system_clock, lease: timedelta = LEASE) -> None:
        self._engine, self._clock, self.lease = engine, clock, lease

    def claim(self, caller: str, key: str, digest: bytes) -> Claim | bytes | None:
        """Claim a key that is free, or whose claimer's lease is over.

        Parameters
        ----------
        caller : str
            Keys of different callers have nothing to do with each other.
        key : str
            As the caller chose it.
        digest : bytes
            Of the body.

        Returns
        -------
        Claim, bytes or None
            The claim; or the first answer; or nothing, where somebody else is at it.

        Raises
        ------
        KeyReusedError
            The key was used for another body.
        StateError
            The database is busy or cannot be reached; nothing was claimed.
        """
        claim, now = Claim(caller, key, secrets.token_hex(16)), self._clock()
        leased = {"token": claim.token, "claimed_at": _text(now), "leased_until": _text(now + self.lease)}
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        new = insert(idempotency).values(caller=caller, key=key, digest=digest, **leased).on_conflict_do_nothing()
        with transaction(self._engine) as connection:
            if connection.execute(new.returning(_columns.token)).first() is not None:
                return claim
            row = connection.execute(sa.select(idempotency).where(_of(caller, key)).with_for_update()).one_or_none()
            if row is None:  # given back just now
                return None
            if bytes(row.digest) != digest:
                raise KeyReusedError(key)
            if row.answer is not None:
                return bytes(row.answer)
            if row.leased_until > _text(now):
                return None
            connection.execute(sa.update(idempotency).where(_of(caller, key)).values(**leased))
            return claim

    def settle(self, claim: Claim, answer: bytes) -> bool:
        """Keep the answer; whether the claim still stood.

        Raises
        ------
        StateError
            The database is busy or cannot be reached; nothing was kept.
        """
        kept = sa.update(idempotency).where(_held(claim)).values(answer=answer)
        with transaction(self._engine) as connection:
            return connection.execute(kept).rowcount == 1

    def release(self, claim: Claim) -> bool:
        """Give a claim back, as if the key had never been used; whether the claim still stood.

        Raises
        ------
        StateError
            The database is busy or cannot be reached; the claim stands until its lease is over.
        """
        with transaction(self._engine) as connection:
            return connection.execute(sa.delete(idempotency).where(_held(claim))).rowcount == 1

    def sweep(self) -> int:
        """Forget some of the keys that are older than a day; how many.

        Raises
        ------
        StateError
            The database is busy or cannot be reached; nothing was forgotten.

        Examples
        --------
        >>> from tenure.core.database import open_database
        >>> IdempotencyKeys(open_database("sqlite://")).sweep()
        0
        """
        before = _text(self._clock() - max(KEPT, self.lease))
        old = sa.select(_columns.caller, _columns.key).where(_columns.claimed_at < before).limit(_BITE)
        with transaction(self._engine) as connection:
            found = connection.execute(old.with_for_update(skip_locked=True)).all()
            pairs = [tuple(row) for row in found]
            connection.execute(sa.delete(idempotency).where(sa.tuple_(_columns.caller, _columns.key).in_(pairs)))
        return len(pairs)


def _of(caller: str, key: str) -> sa.ColumnElement[bool]:
    return (_columns.caller == caller) & (_columns.key == key)


def _held(claim: Claim) -> sa.ColumnElement[bool]:
    return _of(claim.caller, claim.key) & (_columns.token == claim.token) & _columns.answer.is_(None)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
