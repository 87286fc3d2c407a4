"""Whether a version folder may be used, found out without parsing a model in this process.

Enters: a folder and, where the registry knows it, the hash of its manifest. Leaves: the manifest and a private copy of
the verified files, or `ArtifactError` with the reason. Invariant: nothing is parsed before its hash was compared, and
nothing is given to the caller before a throw-away process has parsed it and reproduced the golden rows.

The order of the checks: the manifest's own hash, its format and seal, the names in the folder, every size, every hash,
then the rehearsal. Each step relies on the ones before it alone.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tenure.core.errors import StateError
from tenure.model.document import refused
from tenure.model.golden import TOLERANCE
from tenure.model.manifest import CALIBRATION, ENCODER, EVALUATION, GOLDEN, MANIFEST, USUAL, Manifest
from tenure.model.sandbox import Limits, rehearse
from tenure.model.seal import check_names, copy_sealed, read_plain_file

__all__ = ["dependencies", "read_manifest", "require_golden", "verified", "verify"]

_NEEDED = {ENCODER, CALIBRATION, USUAL, EVALUATION, GOLDEN}
_MANIFEST_BYTES = 16 << 20
_DISTRIBUTIONS = (
    "tenure", "catboost", "lightgbm", "numpy", "pyarrow", "scikit-learn", "torch", "xgboost", "xgboost-cpu",
)  # fmt: skip


def read_manifest(folder: Path, manifest_sha256: str | None = None) -> Manifest:
    """Read a version's manifest without looking at its other files.

    Parameters
    ----------
    folder : Path
        The version's folder.
    manifest_sha256 : str, optional
        What the manifest must hash to; without it the manifest vouches for itself.

    Raises
    ------
    ArtifactError
        The manifest is absent, damaged, changed or of another format.

    Examples
    --------
    >>> read_manifest(Path("versions/v9"))
    Traceback (most recent call last):
    tenure.core.errors.ArtifactError: There is no version folder versions/v9.
    → Restore the version's folder from a copy, or train again; a version cannot be repaired by hand.
    """
    return _manifest(folder, manifest_sha256)[0]


def _manifest(folder: Path, expected: str | None) -> tuple[Manifest, bytes]:
    data = read_plain_file(folder, MANIFEST, _MANIFEST_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if expected is not None and found != expected:
        raise refused(
            f"{folder.name}/{MANIFEST} was changed: its SHA-256 is {found}, but {expected} was registered.",
            folder=str(folder), file=MANIFEST, expected=expected, found=found,
        )  # fmt: skip
    return Manifest.from_json(data), data


@contextmanager
def verified(
    folder: Path, manifest_sha256: str | None = None, limits: Limits | None = None
) -> Iterator[tuple[Manifest, Path]]:
    """Verify a version; give its manifest and a private copy of its files, which lasts as long as the block.

    Parameters
    ----------
    folder : Path
        The version's folder.
    manifest_sha256 : str, optional
        What the manifest must hash to.
    limits : Limits, optional
        What the rehearsal may use.

    Raises
    ------
    ArtifactError
        The version may not be used; the message says why.
    StateError
        The folder or the temporary copy could not be read or written.
    """
    with _private_folder(folder) as private:
        manifest, data = _manifest(folder, manifest_sha256)
        names = [file.name for file in manifest.files]
        if absent := sorted(_NEEDED - set(names)):
            raise refused(f"The manifest of {folder.name} names no {', '.join(absent)}.", folder=str(folder))
        check_names(folder, [MANIFEST, *names])
        copy_sealed(folder, private, manifest.files)
        (private / MANIFEST).write_bytes(data)
        require_golden(rehearse(private, folder.name, limits), folder.name, manifest.dependencies)
        yield manifest, private


@contextmanager
def _private_folder(folder: Path) -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="tenure-") as name:
            yield Path(name)
    except OSError as error:
        raise StateError(f"{folder.name} could not be checked: {error}.", hint="Check the disk.") from error


def verify(folder: Path, manifest_sha256: str | None = None) -> Manifest:
    """Verify a version without keeping it in memory.

    Raises
    ------
    ArtifactError
        The version may not be used; the message says why.
    StateError
        The folder or a temporary copy could not be read or written.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp()) / "v1"
    >>> folder.mkdir()
    >>> _ = (folder / "manifest.json").write_text("{}")
    >>> verify(folder)
    Traceback (most recent call last):
    tenure.core.errors.ArtifactError: manifest.json is of the format None, not 'tenure version'; it is foreign.
    → Restore the version's folder from a copy, or train again; a version cannot be repaired by hand.
    """
    with verified(folder, manifest_sha256) as (manifest, _):
        return manifest


def require_golden(difference: float, name: str, made_with: Mapping[str, str]) -> None:
    """Refuse a version whose golden rows came out differently.

    Raises
    ------
    ArtifactError
        The difference is above `TOLERANCE`; the message names the libraries that have changed since.

    Examples
    --------
    >>> require_golden(1e-9, "v1", {})
    >>> require_golden(0.25, "v1", {"xgboost": "1.0"})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    tenure.core.errors.ArtifactError: v1 gives other probabilities than when it was made: ...
    """
    if difference <= TOLERANCE:
        return
    here = dependencies()
    changed = [f"{key} {then} (here {here.get(key)})" for key, then in made_with.items() if here.get(key) != then]
    raise refused(
        f"{name} gives other probabilities than when it was made: its golden rows differ by up to {difference:.3g}, "
        f"allowed is {TOLERANCE:g}. It was made with {', '.join(changed) or 'the same libraries'}.",
        version=name,
        difference=difference,
    )


def dependencies() -> dict[str, str]:
    """Versions of what a version depends on, as far as they are installed here.

    Examples
    --------
    >>> {"python", "tenure", "xgboost"} <= set(dependencies())
    True
    """
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        if installed := _installed(name):
            found[name.removesuffix("-cpu")] = installed  # the same library, whatever the wheel is called
    return found


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
