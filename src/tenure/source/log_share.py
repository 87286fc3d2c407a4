"""How the readers of one group share the partitions of a log that lies in a file.

Enters: a folder that belongs to the group, and how many partitions there are. Leaves: which partitions are ours.
Invariant: a partition has one reader at most. Every right is a lock that the kernel holds for an open file and lets
go when the process ends, however it ends; nobody judges by a clock whether somebody else is still there.

A reader holds one lock that says it is there, and one for every partition that is its own. In a round it counts the
locks of others that are held, and knows its place among them by name: the partitions are dealt out evenly, the
first readers get one more where they do not divide. It gives back what is more than its share, and takes what is
free up to it. While views differ, because somebody has just come or gone, a partition may be free for a round; it
is never read by two. A process that is stopped, but not ended, keeps its partitions: it cannot be told from one
that is busy.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from tenure.core.errors import StateError

__all__ = ["Share", "fair_share"]

JOIN_SECONDS = 30.0


def fair_share(partitions: int, members: int, rank: int) -> int:
    """How many partitions the member with this rank (counted from 0) has a right to; all shares add up to all.

    Examples
    --------
    >>> [fair_share(8, 3, rank) for rank in range(3)]
    [3, 3, 2]
    """
    return partitions // members + (rank < partitions % members)


class Share:
    """One reader's membership of a group.

    Parameters
    ----------
    folder : Path
        The group's locks; made when missing.
    partitions : int
        How many are shared.

    Raises
    ------
    StateError
        The folder cannot be written, or another member has been joining for half a minute.

    Examples
    --------
    >>> import tempfile
    >>> one = Share(Path(tempfile.mkdtemp()), 4)
    >>> one.surplus(), one.take(), one.held
    ([], [0, 1, 2, 3], [0, 1, 2, 3])
    >>> other = Share(one.folder, 4)
    >>> len(one.surplus()), other.take()
    (2, [])
    >>> one.close(), other.take(), other.close()
    (None, [0, 1, 2, 3], None)
    """

    def __init__(self, folder: Path, partitions: int) -> None:
        self.folder, self.partitions = folder, partitions
        self._name = uuid.uuid4().hex
        self._owned: dict[int, FileLock] = {}
        try:
            (folder / "members").mkdir(parents=True, exist_ok=True)
            # Names are made, counted and cleared away under one lock: a new member's file must not pass for a dead one.
            self._roster = _lock(folder / "roster")
            self._presence = _lock(self._path(self._name))
            with self._roster.acquire(timeout=JOIN_SECONDS):
                self._presence.acquire(timeout=0)
        except (OSError, Timeout) as error:
            raise StateError(
                f"The group of readers in {folder} cannot be joined: {error}.",
                hint="Check that the folder can be written and that its disk is not full.",
            ) from error
        self._share = 0
        self.count()

    @property
    def held(self) -> list[int]:
        """The partitions that are ours, ascending."""
        return sorted(self._owned)

    def count(self) -> None:
        """Begin a round: see who is there. When somebody else is looking just now, what was seen last still holds."""
        try:
            with self._roster.acquire(timeout=0):
                members = sorted(path.name for path in (self.folder / "members").iterdir() if self._alive(path))
        except Timeout:
            return
        self._share = fair_share(self.partitions, len(members), members.index(self._name))

    def surplus(self) -> list[int]:
        """Partitions that are ours and more than our share; give them back with `release`."""
        self.count()
        return self.held[self._share :]

    def take(self) -> list[int]:
        """Take free partitions up to our share; give those that are new."""
        self.count()
        taken: list[int] = []
        for partition in range(self.partitions):
            if len(self._owned) >= self._share:
                break
            if partition not in self._owned and (lock := _try(self.folder / f"partition-{partition}")):
                self._owned[partition] = lock
                taken.append(partition)
        return taken

    def release(self, partitions: Sequence[int]) -> None:
        """Let others have these."""
        for partition in partitions:
            self._owned.pop(partition).release()

    def close(self) -> None:
        """Let others have everything, and be no member any more."""
        self.release(self.held)
        self._presence.release()
        self._path(self._name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / "members" / name

    def _alive(self, path: Path) -> bool:
        if path.name == self._name:
            return True
        lock = _try(path)
        if lock is None:
            return True
        path.unlink(missing_ok=True)  # left by one that was killed
        lock.release()
        return False


def _lock(path: Path) -> FileLock:
    # A reader may be closed by another thread than the one that has read, and two readers may be in one thread.
    return FileLock(path, thread_local=False)


def _try(path: Path) -> FileLock | None:
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
