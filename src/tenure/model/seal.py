"""The files of a version folder: measured when it is written, compared before anything in it is parsed.

Enters: a folder that somebody may have changed since. Leaves: its files' names, sizes and hashes, or a private copy of
exactly the bytes that were hashed. Invariant: what was verified is what is parsed. Every file is read once; the same
bytes are hashed and written to a folder that only this process knows, so a change in between changes nothing.

A version of several models keeps each of them in a folder of its own, so a name may have folders in it, `DEPTH` at
most: `fallback/model.json`. An empty folder is no part of any version.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tenure.core.files import sha256_file
from tenure.model.document import refused

__all__ = ["SealedFile", "check_names", "copy_sealed", "measure", "read_plain_file"]

DEPTH = 3
_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_NAME = re.compile(rf"(?:{_PART}/){{0,{DEPTH}}}{_PART}")
_CHUNK_BYTES = 1 << 20
_KEPT_OUT = re.compile(r".*\.html")  # for people's eyes: hashed, never parsed, so never copied


@dataclass(frozen=True)
class SealedFile:
    """One file of a version: its name within the folder, its size in bytes and the SHA-256 of its content.

    Examples
    --------
    >>> SealedFile("a.json", 2, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a").size
    2
    """

    name: str
    size: int
    sha256: str


def measure(folder: Path) -> tuple[SealedFile, ...]:
    """Measure every file of a folder that is about to be sealed, by name.

    Raises
    ------
    ArtifactError
        The folder holds something else than plain files with plain names.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.json").write_bytes(b"{}")
    >>> [(file.name, file.size) for file in measure(folder)]
    [('a.json', 2)]
    """
    names = sorted(_plain_files(folder))
    for name in names:
        _check_name(name)
    return tuple(SealedFile(name, (folder / name).stat().st_size, sha256_file(folder / name)) for name in names)


def check_names(folder: Path, expected: Iterable[str]) -> None:
    """Refuse a folder that does not hold exactly the expected plain files.

    Raises
    ------
    ArtifactError
        A file is missing, is a link or a folder, was added, or has a name that leads elsewhere.
    """
    wanted = list(expected)
    for name in wanted:
        _check_name(name)
    if len({name.lower() for name in wanted}) != len(wanted):
        raise refused(f"The manifest of {folder.name} names a file twice.", folder=str(folder))
    present = _plain_files(folder)
    if missing := sorted(set(wanted) - present):
        raise refused(f"{folder.name} lacks {', '.join(missing)}.", folder=str(folder), missing=missing)
    if extra := sorted(present - set(wanted)):
        raise refused(f"{folder.name} holds files that its manifest does not name: {', '.join(extra)}.",
                      folder=str(folder), extra=extra)  # fmt: skip


def copy_sealed(folder: Path, target: Path, files: Iterable[SealedFile]) -> None:
    """Copy the files that will be parsed while comparing every file with what the manifest says of it.

    Raises
    ------
    ArtifactError
        A file's size or hash differs, or it cannot be read.
    """
    for file in files:
        with _open(folder, file.name) as source:
            _compare_size(folder, file, os.fstat(source.fileno()).st_size)
            wanted = target / file.name if not _KEPT_OUT.fullmatch(file.name) else Path(os.devnull)
            wanted.parent.mkdir(parents=True, exist_ok=True)
            with wanted.open("wb") as copy:
                found = _copy(source, copy, file.size)
        if found != file.sha256:
            raise refused(f"{folder.name}/{file.name} was changed: its SHA-256 is {found}, not {file.sha256}.",
                          folder=str(folder), file=file.name, expected=file.sha256, found=found)  # fmt: skip


def read_plain_file(folder: Path, name: str, limit: int) -> bytes:
    """Read one file that must be plain and at most `limit` bytes long.

    Raises
    ------
    ArtifactError
        The file is missing, is not plain, is too long or cannot be read.
    """
    if not folder.is_dir():
        raise refused(f"There is no version folder {folder}.", folder=str(folder))
    with _open(folder, name) as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise refused(f"{folder.name}/{name} is longer than {limit} bytes.", folder=str(folder), file=name)
    return data


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise refused(
            f"{name!r} is not the name of a version's file: plain names only, in at most {DEPTH} folders.", file=name
        )


def _plain_files(folder: Path, within: str = "") -> set[str]:
    """Names of all files, those in folders with the folder's name before theirs."""
    try:
        with os.scandir(folder / within) as entries:
            found = [_plain(entry, f"{within}{entry.name}") for entry in entries]
    except OSError as error:
        raise refused(f"{folder / within} cannot be read: {error.strerror}.", folder=str(folder)) from None
    files = {name for name in found if not name.endswith("/")}
    for inner in sorted(set(found) - files):
        if inner.count("/") > DEPTH:
            raise refused(f"{folder.name}/{inner} lies deeper than {DEPTH} folders.", folder=str(folder))
        files |= _plain_files(folder, inner)
    if within and not files:
        raise refused(f"{folder.name}/{within[:-1]} is an empty folder; a version holds plain files only.",
                      folder=str(folder))  # fmt: skip
    return files


def _plain(entry: os.DirEntry[str], name: str) -> str:
    """The name of a plain file, or that of a folder with a slash behind it."""
    if entry.is_symlink():
        raise refused(f"{entry.path} is a link; a version holds plain files only.", file=name)
    if entry.is_dir(follow_symlinks=False):
        return f"{name}/"
    if not entry.is_file(follow_symlinks=False):
        raise refused(f"{entry.path} is not a plain file; a version holds plain files only.", file=name)
    return name


def _open(folder: Path, name: str) -> BinaryIO:
    """Open a plain file: a link that appeared since the folder was listed is not followed, a pipe does not block."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(folder / name, flags)
    except FileNotFoundError:
        raise refused(f"{folder.name} lacks {name}.", folder=str(folder), missing=[name]) from None
    except OSError as error:
        raise refused(f"{folder.name}/{name} cannot be opened: {error.strerror}.", file=name) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise refused(f"{folder.name}/{name} is not a plain file.", folder=str(folder), file=name)
    return os.fdopen(handle, "rb")


def _compare_size(folder: Path, file: SealedFile, size: int) -> None:
    if size == file.size:
        return
    what = "is truncated" if size < file.size else "has grown"
    raise refused(f"{folder.name}/{file.name} {what}: it has {size} bytes, not {file.size}.",
                  folder=str(folder), file=file.name, expected=file.size, found=size)  # fmt: skip


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> str:
    """Copy at most `size` bytes and one more, so that a file that grows meanwhile differs and the copy ends."""
    checksum, left = hashlib.sha256(), size + 1
    while left and (chunk := source.read(min(left, _CHUNK_BYTES))):
        checksum.update(chunk)
        target.write(chunk)
        left -= len(chunk)
    return checksum.hexdigest()
