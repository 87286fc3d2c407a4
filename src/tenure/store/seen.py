"""Which events of a partition have been counted already, so that an event delivered twice counts once.

Enters: types and ids of events. Leaves: for each event whether it is new, and packed blobs that a store keeps.
Invariant: an id is remembered for at least 72 hours of *appended* time after the log first took it, and until then no
event with the same type and id is new. "Now" is always an instant at which the log took a record, so that a replay
judges alike.

How an id is remembered
-----------------------
An id becomes a number of 64 bits: BLAKE2b of the event's type, a zero byte and the id. The zero byte keeps a type and
an id from running into each other, and an event type has none. What is remembered is that number alone, in the bucket
of the day on which the log took the event. `SPAN_DAYS` full days lie between a bucket and the first day on which it may
be forgotten, so what came in the last microsecond of a day is still remembered 72 hours later: the longest hop, one
day, and two days for a producer that sends again what it is unsure of.

In memory a bucket is a few sorted arrays ("runs"). What is added becomes a run; while the last run is not clearly
smaller than the one before it, the two are merged. Run lengths thus fall geometrically: a bucket of a million ids that
came in thousands has about ten runs, every id was moved about ten times, and a lookup is one vectorised binary search a
run. Only one bucket is being added to at a time; the others are merged into one run each. Eight bytes an id, whatever
its length.

What may go wrong
-----------------
Two ids may have the same number; the later event then passes for a duplicate and is not counted. With `n` ids
remembered, an event meets one of them by chance with probability `n / 2**64`. For ten million remembered ids, that is
5.4e-13 an event: at 2.5 million events a day and partition, one event lost in some two thousand years. Whoever chooses
ids so that they collide needs about `2**32` trials for a pair and has only doubled an event of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS

__all__ = ["SPAN_DAYS", "Seen", "bucket_of", "id_hashes"]

SPAN_DAYS = 3
_WIDTH = 8
_PACKED = "<u8"

Hashes = NDArray[np.uint64]


def bucket_of(appended_us: int) -> int:
    """The day on which the log took a record, counted from 1970 in UTC; from microseconds.

    Examples
    --------
    >>> bucket_of(86_400_000_000 - 1), bucket_of(86_400_000_000)
    (0, 1)
    """
    return int(appended_us) // DAY_MICROS


def id_hashes(event_type: str, ids: Sequence[str] | pa.StringArray) -> Hashes:
    """The numbers by which events of one type are remembered.

    Parameters
    ----------
    event_type : str
        The type of all of them.
    ids : sequence of str or pyarrow.StringArray, shape (n,)
        None may be missing.

    Returns
    -------
    uint64 array, shape (n,)

    Examples
    --------
    >>> one, other, again = id_hashes("login", ["a", "b", "a"]).tolist()
    >>> one == again, one == other, one in id_hashes("logi", ["na"])
    (True, False, False)
    """
    texts = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
    begun = hashlib.blake2b(event_type.encode() + b"\0", digest_size=_WIDTH)  # copying it costs less than a new one
    digests = bytearray()
    for text in texts:
        digest = begun.copy()
        digest.update(text.encode())
        digests += digest.digest()
    return np.frombuffer(digests, dtype=_PACKED).astype(np.uint64, copy=False)


class Seen:
    """The ids of one partition that are remembered; used by one thread at a time.

    What `add` was given counts as seen at once. Where the store then does not take the blob, throw the whole away and
    `load` what the store has: it is the same path as after a restart.

    Examples
    --------
    >>> seen = Seen()
    >>> hashes = id_hashes("login", ["a", "b", "a"])
    >>> new = seen.fresh(hashes)
    >>> new.tolist()
    [True, True, False]
    >>> blob = seen.add(20_000, hashes[new])
    >>> Seen.load({20_000: blob}).fresh(hashes).tolist()
    [False, False, False]
    >>> seen.forget(20_001)
    >>> len(seen)
    0
    """

    def __init__(self) -> None:
        self._runs: dict[int, list[Hashes]] = {}

    @classmethod
    def load(cls, buckets: Mapping[int, bytes]) -> Seen:
        """Take up what a store has kept: packed little-endian uint64, in any order, with repetitions or without.

        Raises
        ------
        StateError
            A blob is not made of whole numbers.
        """
        seen = cls()
        for bucket, blob in buckets.items():
            if len(blob) % _WIDTH:
                raise StateError(
                    f"The ids that are remembered of day {bucket} are damaged: {len(blob):,} bytes are not a multiple "
                    f"of {_WIDTH}.",
                    hint="Rebuild the online store.",
                    bucket=bucket,
                )
            if blob:
                seen._runs[bucket] = [np.sort(np.frombuffer(blob, dtype=_PACKED).astype(np.uint64, copy=False))]
        return seen

    def __len__(self) -> int:
        return sum(run.size for runs in self._runs.values() for run in runs)

    def fresh(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which events are new: not seen before, and the first of their like in the array."""
        order = np.argsort(hashes, kind="stable")  # stable: the first of equals stays the first
        ranked = hashes[order]
        new = np.ones(ranked.size, dtype=np.bool_)
        new[1:] = ranked[1:] != ranked[:-1]
        for runs in self._runs.values():
            for run in runs:
                # What lies behind the whole run is compared with its last number, and differs from it.
                place = np.minimum(np.searchsorted(run, ranked), run.size - 1)
                new &= run[place] != ranked
        mask = np.empty_like(new)
        mask[order] = new
        return mask

    def add(self, bucket: int, hashes: Hashes) -> bytes:
        """Remember events, of those that `fresh` said are new, in the bucket of a day.

        Returns
        -------
        bytes
            What the store has to append to the bucket for `load` to find them; empty for none.
        """
        run = np.sort(hashes)
        if run.size:
            runs = self._runs.setdefault(bucket, [])
            runs.append(run)
            while len(runs) > 1 and runs[-2].size < 2 * runs[-1].size:
                runs[-2:] = [_merged(runs[-2:])]
            for other, settled in self._runs.items():
                if other != bucket and len(settled) > 1:
                    settled[:] = [_merged(settled)]
        return run.astype(_PACKED, copy=False).tobytes()

    def forget(self, before: int) -> None:
        """Drop the buckets of days before one: `bucket_of(appended) - SPAN_DAYS` keeps what must be remembered."""
        for bucket in [bucket for bucket in self._runs if bucket < before]:
            del self._runs[bucket]


def _merged(runs: Sequence[Hashes]) -> Hashes:
    merged: Hashes = np.concatenate(runs)
    merged.sort(kind="stable")  # finds the runs and merges them, which is ten times as fast as sorting
    return merged
