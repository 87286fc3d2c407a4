"""Where results of a run lie, who may write there, and how they become visible.

Enters: the workspace and the instant that scores speak for. Leaves: a folder that is held by one run at a time, and
its finished content under its visible name at once. Invariant: under the visible name stands nothing, or one whole
result.

Replacing a result. A folder cannot be renamed over another one, so the two are exchanged in one step where the system
can do that (Linux, on local file systems): at every moment a whole result is visible. Where it cannot, the old result
is moved aside first; a reader may then find nothing for an instant, and a kill in that instant is put right by the
next run.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from tenure.core.errors import StateError
from tenure.core.files import sync_folder
from tenure.core.time import format_instant

__all__ = ["exclusive", "put_in_place", "scores_folder"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def scores_folder(workspace: Path, as_of: datetime) -> Path:
    """Folder that holds the scores as of an instant, once they are finished.

    Examples
    --------
    >>> from tenure.core.time import parse_instant
    >>> scores_folder(Path(".tenure"), parse_instant("2026-01-31T06:30:00Z")).as_posix()
    '.tenure/scores/2026-01-31T063000Z'
    """
    return workspace / "scores" / format_instant(as_of).replace(":", "")  # a colon is no file name everywhere


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a result folder, so that no other run writes it at the same time; a kill lets go of it.

    Parameters
    ----------
    folder : Path
        From `scores_folder`; it need not exist.

    Raises
    ------
    StateError
        Another run holds it.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "2026-01-31"
    >>> with exclusive(folder):
    ...     try:
    ...         with exclusive(folder):
    ...             print("both")
    ...     except StateError as error:
    ...         print(error.message)
    Another run is writing the scores of 2026-01-31.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # SQLite's lock on a file that stays empty: the system lets go of it when the process ends, however that happens,
    # and it works the same on every system that Python runs on.
    with closing(_lock_file(folder)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise _unusable(folder, error) from error
            raise StateError(
                f"Another run is writing the scores of {folder.name}.",
                hint="Wait until it is done.",
                folder=str(folder),
            ) from None
        yield


def _lock_file(folder: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(folder.with_name(f".{folder.name}.lock"), timeout=0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: sqlite3.OperationalError) -> StateError:
    return StateError(
        f"{folder.parent} cannot be used: {error}.", hint="Check that it can be written.", folder=str(folder)
    )


def put_in_place(finished: Path, visible: Path) -> None:
    """Make a finished folder visible, in the place of an older one if there is one.

    Parameters
    ----------
    finished : Path
        Whole and flushed to the disk; beside `visible`.
    visible : Path
        Its final name.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("work", "scores"):
    ...     (root / name).mkdir()
    ...     _ = (root / name / "from.txt").write_text(name)
    >>> put_in_place(root / "work", root / "scores")
    >>> (root / "scores" / "from.txt").read_text(), [path.name for path in root.iterdir()]
    ('work', ['scores'])
    """
    sync_folder(finished)
    if not visible.exists():
        finished.rename(visible)
    elif _exchange(finished, visible):
        sync_folder(visible.parent)
        shutil.rmtree(finished)
    else:
        aside = finished.with_name(f"{finished.name}.old")
        visible.rename(aside)
        finished.rename(visible)
        sync_folder(visible.parent)
        shutil.rmtree(aside)
    sync_folder(visible.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no such call in this C library, or no C library to be found
        return False
    return int(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)) == 0
