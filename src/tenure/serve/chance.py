"""Random numbers for names that nobody shall guess or meet twice.

Enters: nothing. Leaves: bits of the operating system's chance. Invariant: no bit is given out twice, not even to a
child of this process. Asked on the event loop alone, so without locks.
"""

from __future__ import annotations

import os

__all__ = ["random_bits"]


class _Chance:
    """Random bytes of the operating system, fetched for 512 names at once: to ask for each costs as much again."""

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0
        os.register_at_fork(after_in_child=self._forget)

    def next(self) -> int:
        """64 random bits that nobody else gets, a child of this process neither."""
        at = self._at
        if at >= len(self._bytes):
            self._bytes, at = os.urandom(4096), 0
        self._at = at + 8
        return int.from_bytes(self._bytes[at : at + 8])

    def _forget(self) -> None:
        self._bytes, self._at = b"", 0


_chance = _Chance()


def random_bits() -> int:
    """64 random bits.

    Examples
    --------
    >>> 0 <= random_bits() < 2**64, random_bits() == random_bits()
    (True, False)
    """
    return _chance.next()
