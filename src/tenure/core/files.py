"""Files that are either whole or absent.

Enters: bytes or a folder being filled. Leaves: the finished file or folder under its final name.
Invariant: a reader never sees a half-written result. Everything is written beside its final place, flushed to the
disk, and moved there by one rename, which a file system does at once or not at all; a kill leaves only a temporary name
behind.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_folder", "atomic_path", "sha256_file", "sync_folder"]

_TEMPORARY = ".partial"
_numbers = itertools.count()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut.

    Examples
    --------
    >>> sync_folder(Path("."))
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_file(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; move it there when the block ends well.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as path:
    ...     _ = path.write_text("whole")
    >>> (folder / "a.txt").read_text(), len(list(folder.iterdir()))
    ('whole', 1)
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    try:
        yield temporary
        _sync_file(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder beside `target`; move it there when the block ends well.

    Parameters
    ----------
    target : Path
        The final folder. It must not exist unless `replace` is true.
    replace : bool
        Put the new folder in the place of an existing one. The old one is moved aside first, so a kill between the two
        renames leaves `target` absent rather than mixed.

    Raises
    ------
    FileExistsError
        `target` exists and `replace` is false.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "version"
    >>> with atomic_folder(target) as folder:
    ...     _ = (folder / "a.txt").write_text("whole")
    >>> [path.name for path in target.iterdir()]
    ['a.txt']
    """
    if target.exists() and not replace:
        raise FileExistsError(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    shutil.rmtree(temporary, ignore_errors=True)  # a killed process may have had this one's number
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_dir():
                sync_folder(path)
            else:
                _sync_file(path)
        _put_in_place(temporary, target, replace=replace)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path, *, replace: bool) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    if not replace:  # somebody was faster
        raise FileExistsError(target)
    old = _beside(target)
    target.rename(old)
    temporary.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path) -> Path:
    """A name that no other process or thread uses, hidden, in the same folder."""
    return target.with_name(f".{target.name}.{os.getpid()}-{next(_numbers)}{_TEMPORARY}")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Examples
    --------
    >>> sha256_file(Path(os.devnull))[:12]
    'e3b0c44298fc'
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
