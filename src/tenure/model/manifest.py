"""The manifest: what a version is, what it was made from, and what each of its files must hash to.

Enters: what training knows, or the bytes of a `manifest.json`. Leaves: a `Manifest`, or its canonical bytes. Invariant:
bytes that `from_json` accepts are exactly the bytes that `to_json` writes for the result, and they carry their own
digest, so no single byte of a manifest can change unseen. That finds damage. It does not find a forger, who would
write a new digest; the registry keeps the hash of the whole file for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from tenure.core.errors import ArtifactError
from tenure.features.declare import FeatureSet, Kind
from tenure.model.document import build, build_record, canonical, digest, parse, plain, refused
from tenure.model.evaluate import Estimate
from tenure.model.seal import SealedFile

__all__ = [
    "CALIBRATION",
    "ENCODER",
    "EVALUATION",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "REPORT",
    "USUAL",
    "Cutoffs",
    "Manifest",
]

MANIFEST = "manifest.json"
ENCODER = "encoder.json"
CALIBRATION = "calibration.json"
EVALUATION = "evaluation.json"
GOLDEN = "golden.parquet"
REPORT = "report.html"
USUAL = "usual.json"

FORMAT = "tenure version"
FORMAT_VERSION = 1
_DERIVED = ("format", "features", "features_sha256", "seal")  # compared as bytes, once the rest was read


@dataclass(frozen=True)
class Cutoffs:
    """The cutoffs (UTC) of each block; all empty for a plain table without time.

    Parameters
    ----------
    train, calibrate, test : tuple of datetime
        `calibrate` is empty where calibration was cross-fitted inside train.
    """

    train: tuple[datetime, ...] = ()
    calibrate: tuple[datetime, ...] = ()
    test: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What a version is.

    Parameters
    ----------
    family : str
        Model family.
    created_at : datetime
        UTC, from the clock that training was given.
    files : tuple of SealedFile
        Every other file of the folder.
    features : FeatureSet
        The declared features: the columns that a snapshot must have.
    fingerprint : str
        Of the data it was trained on.
    cutoffs : Cutoffs
        Of train, calibrate and test.
    threshold : float or None
        Probability from which contacting pays; None where every customer has a threshold of their own.
    metrics : mapping of str to Estimate
        On the test block.
    dependencies : mapping of str to str
        Versions of what it was made with; `tenure` and `python` among them.
    settings : mapping
        Snapshot of the project's settings, without passwords.
    format_version : int
        Of the folder.

    Examples
    --------
    >>> from tenure.core.time import parse_instant
    >>> at = parse_instant("2026-01-01")
    >>> made = Manifest("logistic", at, (), FeatureSet(), "fingerprint", Cutoffs(), 0.2, {}, {"tenure": "0.1"}, {})
    >>> Manifest.from_json(made.to_json()) == made
    True
    """

    family: str
    created_at: datetime
    files: tuple[SealedFile, ...]
    features: FeatureSet
    fingerprint: str
    cutoffs: Cutoffs
    threshold: float | None
    metrics: Mapping[str, Estimate]
    dependencies: Mapping[str, str]
    settings: Mapping[str, Any]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        """The canonical bytes of `manifest.json`."""
        derived = {"format": FORMAT, "features": self.features.to_json(), "features_sha256": self.features.hash}
        document = plain(self) | derived
        return canonical(document | {"seal": digest(document)})

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read the bytes of a `manifest.json`.

        Raises
        ------
        ArtifactError
            They are damaged, were changed, are not a manifest, or belong to a format that this tenure cannot read.
        """
        document = parse(data, MANIFEST)
        _check_format(document)
        features = _features(document.get("features"))
        rest = {key: value for key, value in document.items() if key not in _DERIVED}
        manifest: Manifest = build_record(cls, rest, MANIFEST, features=features)
        if manifest.to_json() != data:
            raise refused("manifest.json was changed after it was written: its content does not match its seal.")
        return manifest


def _check_format(document: Mapping[str, Any]) -> None:
    """Before anything else: a newer format may look different in every other respect."""
    if document.get("format") != FORMAT:
        raise refused(f"manifest.json is of the format {document.get('format')!r}, not {FORMAT!r}; it is foreign.")
    version = build(int, document.get("format_version"), "manifest.json: format_version")
    if version > FORMAT_VERSION:
        made_with = document.get("dependencies")
        wanted = made_with.get("tenure") if isinstance(made_with, dict) else None
        raise ArtifactError(
            f"The version's format is {version}; this tenure reads formats up to {FORMAT_VERSION}.",
            hint=f"Install the tenure that wrote it: pip install 'tenure>={wanted}'." if wanted else "Upgrade tenure.",
            format_version=version,
        )
    if version < 1:
        raise refused(f"manifest.json names the format version {version}, which never existed.", format_version=version)


def _features(document: object) -> FeatureSet:
    """`FeatureSet.from_json` trusts its input, so whatever it stumbles over means that the declarations are damaged."""
    try:
        features = FeatureSet.from_json(build(Mapping[str, Any], document, "manifest.json: features"))
        kinds = set(features.kinds.values())
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise refused(f"manifest.json: the features cannot be read: {type(error).__name__}: {error}.") from None
    if not kinds <= set(get_args(Kind)):
        raise refused("manifest.json: a feature is of a kind that this tenure does not know.")
    return features
