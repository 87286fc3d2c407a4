"""Live scores in Redis, where every process of every machine finds them.

Enters: scores by key. Leaves: the same scores, or an error where Redis does not answer. Invariant: what is found under
a key was put under it, by whatever process; what cannot be read as a score counts as none.

A value is JSON: its format, the key it was put under, the score. A key that the value does not name is a value that
somebody else wrote. Redis throws a score away after `KEEP` times its time to live, so the cache needs no care, and any
`maxmemory-policy` will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from operator import attrgetter
from typing import Any, get_args
from urllib.parse import quote

from tenure.core.time import from_micros, span_micros, to_micros
from tenure.score.cache import KEEP
from tenure.score.explain import Reason
from tenure.score.served import Cause, ServedScore
from tenure.store.redis_link import Command, Servers

__all__ = ["RedisCache"]

_FORMAT = 2
_CAUSES = frozenset(get_args(Cause))
_APART = {"reasons", "features_as_of", "computed_at", "degraded_because"}
_FIELDS = tuple(field.name for field in fields(ServedScore) if field.name not in _APART)
_fields = attrgetter(*_FIELDS)
_reason_fields = attrgetter(*(field.name for field in fields(Reason)))


class RedisCache:
    """Keeps scores in Redis, under `tenure:{project}:score:{key}`.

    Parameters
    ----------
    url : str
        `redis://`, `rediss://`, `redis+cluster://`, `rediss+cluster://` or `unix://`.
    project : str
        Name of the project; keeps its scores apart from those of others.
    ttl : timedelta
        How long a score is fresh; it is kept `KEEP` times as long.
    timeout : float
        Seconds to connect, and to wait for an answer.

    Raises
    ------
    ConfigError
        The URL is not understood.
    MissingExtraError
        The package for Redis is not installed.

    Examples
    --------
    >>> cache = RedisCache("redis://localhost:6379/0", "shop", timedelta(hours=1), 0.1)
    >>> cache.get([])
    {}
    """

    is_local = False

    def __init__(self, url: str, project: str, ttl: timedelta, timeout: float) -> None:
        self._servers = Servers(url, timeout, setting="[serve] cache")
        self._prefix = f"tenure:{quote(project, safe='')}:score:"
        self._milliseconds = KEEP * span_micros(ttl) // 1000

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:
        """What Redis has under keys, in one round trip.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        StateError
            Redis refuses to answer.
        """
        found = zip(keys, self._ask([("GET", self._prefix + key) for key in keys]), strict=True)
        scores = ((key, _score(key, text)) for key, text in found if text is not None)
        return {key: score for key, score in scores if score is not None}

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        """Keep scores, in one round trip.

        Raises
        ------
        UnreachableError
            Redis does not answer; some of them may have been kept.
        StateError
            Redis refuses to keep them.
        """
        self._ask(
            [("SET", self._prefix + key, _text(key, score), "PX", self._milliseconds) for key, score in scores.items()]
        )

    def close(self) -> None:
        """Close the connections."""
        self._servers.close()

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        return self._servers.ask_all([(str(command[1]).encode(), command) for command in commands]) if commands else []


def _text(key: str, score: ServedScore) -> str:
    as_of = None if score.features_as_of is None else to_micros(score.features_as_of)
    reasons = None if score.reasons is None else [_reason_fields(reason) for reason in score.reasons]
    document = [_FORMAT, key, _fields(score), reasons, as_of, to_micros(score.computed_at), score.degraded_because]
    return json.dumps(document, separators=(",", ":"))


def _score(key: str, text: bytes) -> ServedScore | None:
    """The score in a value; None where it is none, was written by another release, or belongs to another key."""
    try:
        [written, own, values, reasons, as_of, computed_at, causes] = json.loads(text)
        if written != _FORMAT or own != key or not _CAUSES.issuperset(causes):
            return None
        return ServedScore(
            **dict(zip(_FIELDS, values, strict=True)),
            reasons=None if reasons is None else tuple(Reason(*reason) for reason in reasons),
            features_as_of=None if as_of is None else from_micros(as_of),
            computed_at=from_micros(computed_at),
            degraded_because=tuple(causes),
        )
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
