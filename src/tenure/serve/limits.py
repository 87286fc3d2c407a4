"""How often a key may ask, counted once for all processes of a machine.

Enters: a key and its rate. Leaves: whether its next request may be answered now, or how long it has to wait. Invariant:
however many processes share a file, a key gets no more than one second's worth of requests at once and its rate after
that; nothing has to tick, to expire or to be swept.

What is kept of a key is one instant: when its bucket will be full again (the theoretical arrival time of the generic
cell rate algorithm). Each request moves it on by `1 / rate` seconds and is refused where that would put it more than a
second ahead of now. An instant in the past says nothing at all, so the slot of a key that was quiet may be taken over
by another one, and the file never grows.

The instants lie in a file that every process maps into its memory; the lock around reading and writing one is a system
call of about a microsecond that the kernel takes back when a process dies. A process that is stopped while it holds the
lock keeps nobody waiting: after some milliseconds, once, the others go on without it, and the worst is one request too
many.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tenure.core.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Limiter"]

_SLOT: Final = struct.Struct("<QQ")  # which key, and when its bucket is full again
_SLOTS: Final = 4096
_NEAR: Final = 16  # slots that a key may have
_SECOND: Final = 1_000_000_000
_SLOWEST: Final = 400 * 86_400 * _SECOND
_YIELDS: Final = 50
_PAUSE_SECONDS: Final = 0.0002
_TRIES: Final = _YIELDS + 100


class Limiter:
    """The buckets of all keys.

    Parameters
    ----------
    rate : float
        Requests a second of a key that has no rate of its own.
    path : Path, optional
        File that the processes of one service share; made where it is missing. Default: this process alone.
    now : callable
        Nanoseconds of a clock that all processes of the machine share and that never goes back.

    Raises
    ------
    InputError
        The rate is not above 0.

    Examples
    --------
    >>> limiter = Limiter(2, now=lambda: 0)
    >>> [limiter.take("0123456789ab") for _ in range(3)]
    [0.0, 0.0, 0.5]
    >>> [limiter.take("ba9876543210", rate=0.5) for _ in range(2)]
    [0.0, 2.0]
    """

    def __init__(self, rate: float, path: Path | None = None, *, now: Callable[[], int] = time.monotonic_ns) -> None:
        if not rate > 0:
            raise InputError(f"A rate of {rate:g} requests a second lets nobody in.", hint="Use a number above 0.")
        self.rate = rate
        self._now = now
        self._handle = -1 if path is None else _open(path)
        self._memory = mmap.mmap(self._handle, _SLOTS * _SLOT.size)
        self._names: dict[str, int] = {}
        self._has_lock = True  # whether it was had the last time

    def take(self, key_id: str, rate: float | None = None) -> float:
        """Ask for one request.

        Parameters
        ----------
        key_id : str
            Whose bucket.
        rate : float, optional
            Requests a second; default: `rate` of the limiter.

        Returns
        -------
        float
            0 where the request may be answered, else the seconds after which it might.
        """
        step = int(min(_SECOND / (rate or self.rate), _SLOWEST))
        ahead = max(_SECOND - step, 0)
        name = self._names.get(key_id) or self._name(key_id)
        if self._handle < 0:
            return self._move(name, step, ahead)
        self._has_lock = _lock(self._handle, _TRIES if self._has_lock else 1)
        try:
            return self._move(name, step, ahead)
        finally:
            if self._has_lock:
                _unlock(self._handle)

    def close(self) -> None:
        """Give the file back; the limiter cannot be used any more."""
        self._memory.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _move(self, name: int, step: int, ahead: int) -> float:
        now = self._now()
        place, full = self._find(name)
        # Further ahead than any request can have put it: left by an earlier start of the machine.
        if full < now or full > now + ahead + step:
            full = now
        if full - now > ahead:
            return (full - now - ahead) / _SECOND
        _SLOT.pack_into(self._memory, place, name, full + step)
        return 0.0

    def _find(self, name: int) -> tuple[int, int]:
        """The slot of a key with its instant; else the slot that has said nothing for longest, with 0."""
        first = name % (_SLOTS - _NEAR)
        oldest, place = None, 0
        for offset in range(first * _SLOT.size, (first + _NEAR) * _SLOT.size, _SLOT.size):
            held, full = _SLOT.unpack_from(self._memory, offset)
            if held == name:
                return offset, full
            if oldest is None or full < oldest:
                oldest, place = full, offset
        return place, 0

    def _name(self, key_id: str) -> int:
        name = int.from_bytes(hashlib.sha256(key_id.encode()).digest()[:8], "little") or 1
        self._names[key_id] = name
        return name


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(handle, _SLOTS * _SLOT.size)  # grows a new file, leaves one that is there as it is
    return handle


def _lock(handle: int, tries: int) -> bool:
    """Whether the lock was had; it is held for microseconds, so only a process that is stopped keeps it long."""
    for number in range(tries):
        if _try_lock(handle):
            return True
        time.sleep(0 if number < _YIELDS else _PAUSE_SECONDS)  # lets the holder run
    return False


if sys.platform == "win32":

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
