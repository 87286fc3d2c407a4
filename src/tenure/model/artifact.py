"""A trained version as a folder: written once and whole, loaded only after it proved itself.

Enters: what training made, or a version folder that anybody may have touched since. Leaves: the folder and the hash of
its manifest, or a `LoadedVersion` that predicts. Invariant: a `LoadedVersion` exists only where every hash agreed, a
throw-away process parsed the files and reproduced the golden rows, and this process reproduced them too.

| file | what |
| --- | --- |
| `manifest.json` | what the version is, and size and SHA-256 of every other file |
| `model.ubj`, `model.json`, … | the model, as its family writes it |
| `fallback/…`, `relay.parquet` | the model that stands by, and what both say of the golden rows |
| `encoder.json`, `calibration.json` | how columns become a matrix, and margins probabilities |
| `evaluation.json` | the scorecard on the test block |
| `usual.json` | how the features are spread over the training rows, for explanations |
| `golden.parquet` | up to 200 rows with the probabilities they must get |
| `report.html` | the same for people |
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tenure.core.files import atomic_folder
from tenure.core.time import Clock
from tenure.features.declare import FeatureSet
from tenure.model.evaluate import Judgement
from tenure.model.families import NEEDS
from tenure.model.manifest import EVALUATION, MANIFEST, REPORT, Cutoffs, Manifest
from tenure.model.parts import Parts, read_parts, reproduce, write_parts
from tenure.model.protocol import Vector
from tenure.model.relay import Answer
from tenure.model.sandbox import Limits
from tenure.model.scorecard import read_scorecard, write_scorecard
from tenure.model.seal import measure
from tenure.model.standby import families_of
from tenure.model.verify import dependencies, require_golden, verified

__all__ = ["Draft", "LoadedVersion", "load_version", "without_passwords", "write_version"]

_URL_PASSWORD = re.compile(r"(://[^/:@\s]*):[^@]*@")  # SQLAlchemy, too, takes everything up to the @
_NAMED_PASSWORD = re.compile(r"((?:^|[?&\s])(?:ssl)?password=)[^&\s]*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Draft:
    """Everything that training knows of a version before it is sealed.

    Parameters
    ----------
    parts : Parts
        What predicts.
    scorecard : tuple of Judgement
        On the test block, the version's own model first.
    sample : table
        Raw feature rows to choose golden rows from, best those of the test block.
    fingerprint : str
        Of the data it was trained on.
    cutoffs : Cutoffs
        Of train, calibrate and test.
    threshold : float or None
        Probability from which contacting pays; None where every customer has a threshold of their own. An infinite
        one, which no probability reaches, is kept as the largest number, for JSON knows no infinity.
    settings : mapping
        The project's settings as plain values; passwords in them are not kept.
    report : str
        The report as HTML; empty for none.
    """

    parts: Parts
    scorecard: tuple[Judgement, ...]
    sample: pa.Table
    fingerprint: str
    cutoffs: Cutoffs
    threshold: float | None
    settings: Mapping[str, Any]
    report: str = ""


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """A version that may serve.

    Parameters
    ----------
    name : str
        Of its folder, for example `v3`.
    manifest : Manifest
        What it is.
    parts : Parts
        What predicts.
    scorecard : tuple of Judgement
        How it did on its test block.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from tenure.core.time import fixed_clock
    >>> from tenure.model.calibrate import Calibration
    >>> from tenure.model.encode import Encoder
    >>> rows = pa.table({"age": [20, 30, None]})
    >>> half = SimpleNamespace(predict_proba=lambda matrix: np.full(len(matrix), 0.5))
    >>> parts = Parts("logistic", FeatureSet(), Encoder.fit(rows), half, Calibration())
    >>> made_at = fixed_clock("2026-02-01")()
    >>> manifest = Manifest("logistic", made_at, (), parts.features, "of the data", Cutoffs(), 0.25, {}, {}, {})
    >>> version = LoadedVersion("v1", manifest, parts, ())
    >>> version.predict(rows) >= version.threshold
    array([ True,  True,  True])
    """

    name: str
    manifest: Manifest
    parts: Parts
    scorecard: tuple[Judgement, ...]

    @property
    def features(self) -> FeatureSet:
        """The declared features: the columns that `predict` needs."""
        return self.manifest.features

    @property
    def threshold(self) -> float | None:
        """Probability from which contacting pays; None where every customer has a threshold of their own."""
        return self.manifest.threshold

    @property
    def base_rate(self) -> float:
        """Share of the customers of the test block who left; one half where a version keeps no judgement of itself."""
        own = next((one for one in self.scorecard if one.kind == "model" and one.rows), None)
        return 0.5 if own is None else own.positives / own.rows

    def predict(self, table: pa.Table) -> Vector:
        """Churn probability of each row of raw feature columns, float64 (rows,) in [0, 1].

        Raises
        ------
        NotFoundError
            A feature column is missing.
        InputError
            A feature column is of another kind than at training, or holds infinite values.
        """
        return self.parts.predict(table)

    def answer(self, table: pa.Table) -> Answer:
        """Churn probability of rows that somebody waits for, by the first model that answers in time.

        Raises
        ------
        NotFoundError, InputError
            As `predict`.
        UnavailableError
            No model gave an answer.
        """
        return self.parts.answer(table)

    def predict_row(self, values: Mapping[str, Any]) -> float:
        """Calibrated churn probability of one customer from plain values, without a table around them.

        Raises
        ------
        NotFoundError, InputError
            A feature is missing or not as it was at training.
        """
        return self.parts.predict_row(values)


def write_version(folder: Path, draft: Draft, clock: Clock) -> str:
    """Write and seal a version folder, whole or not at all.

    Parameters
    ----------
    folder : Path
        The final folder, with a name from `Registry.reserve`.
    draft : Draft
        What it shall hold.
    clock : Clock
        Gives the time of creation.

    Returns
    -------
    str
        SHA-256 of the manifest, for `Registry.register`.

    Raises
    ------
    FileExistsError
        The folder exists: a version is never written twice.
    InputError
        The sample has no rows.
    ArtifactError
        A number in the draft is not finite.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from tenure.core.time import fixed_clock
    >>> from tenure.features.declare import Attribute
    >>> from tenure.model.calibrate import Calibration
    >>> from tenure.model.encode import Encoder
    >>> from tenure.model.families import find_family
    >>> from tenure.model.protocol import Examples
    >>> rows = pa.table({"age": np.arange(400.0)})
    >>> encoder = Encoder.fit(rows)
    >>> examples = Examples(encoder.transform(rows), np.arange(400) > 200, np.arange(400), encoder.layout)
    >>> model = find_family("logistic").fit(examples, {"C": 1.0}, seed=0)
    >>> features = FeatureSet(attributes=(Attribute("age", "number"),))
    >>> draft = Draft(Parts("logistic", features, encoder, model, Calibration()), (), rows, "", Cutoffs(), 0.25, {})
    >>> folder = Path(tempfile.mkdtemp()) / "v1"
    >>> checksum = write_version(folder, draft, fixed_clock("2026-02-01"))
    >>> sorted(path.name for path in folder.iterdir())
    ['calibration.json', 'encoder.json', ..., 'manifest.json', 'model.json', 'usual.json']
    """
    with atomic_folder(folder) as temporary:
        write_parts(temporary, draft.parts, draft.sample)
        (temporary / EVALUATION).write_bytes(write_scorecard(draft.scorecard))
        if draft.report:
            (temporary / REPORT).write_text(draft.report, encoding="utf-8")
        data = _manifest(temporary, draft, clock()).to_json()
        Manifest.from_json(data)  # what could not be read back must not be sealed
        (temporary / MANIFEST).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _manifest(folder: Path, draft: Draft, created_at: datetime) -> Manifest:
    return Manifest(
        family=draft.parts.family,
        created_at=created_at,
        files=measure(folder),
        features=draft.parts.features,
        fingerprint=draft.fingerprint,
        cutoffs=draft.cutoffs,
        threshold=None if draft.threshold is None else min(float(draft.threshold), sys.float_info.max),
        metrics=draft.scorecard[0].metrics if draft.scorecard else {},
        dependencies=_dependencies(draft.parts),
        settings=without_passwords(draft.settings),
    )


def _dependencies(parts: Parts) -> dict[str, str]:
    """What this version depends on: packages that only other families need say nothing about it."""
    held = families_of(parts.family, parts.model, parts.standby)
    others = {package for family, packages in NEEDS.items() if family not in held for package in packages}
    return {name: version for name, version in dependencies().items() if name not in others}


def load_version(folder: Path, manifest_sha256: str | None = None, limits: Limits | None = None) -> LoadedVersion:
    """Load a version after it proved itself.

    Parameters
    ----------
    folder : Path
        The version's folder.
    manifest_sha256 : str, optional
        What the registry says the manifest hashes to. Without it the folder vouches for itself: damage is found, but
        not somebody who rewrote the manifest together with the files.
    limits : Limits, optional
        What the throw-away process may use.

    Raises
    ------
    ArtifactError
        The version may not be used; the message says why.
    StateError
        The folder or a temporary copy could not be read or written.

    Examples
    --------
    >>> load_version(Path("versions/v9"))
    Traceback (most recent call last):
    tenure.core.errors.ArtifactError: There is no version folder versions/v9.
    → Restore the version's folder from a copy, or train again; a version cannot be repaired by hand.
    """
    with verified(folder, manifest_sha256, limits) as (manifest, private):
        parts, golden = read_parts(private)
        scorecard = read_scorecard((private / EVALUATION).read_bytes())
    require_golden(reproduce(parts, golden), folder.name, manifest.dependencies)
    return LoadedVersion(folder.name, manifest, parts, scorecard)


def without_passwords(document: Any) -> Any:
    """Settings as they may be shown and kept: the passwords in database addresses are stars.

    Examples
    --------
    >>> without_passwords({"project": {"database": "postgresql+psycopg://ana:secret@db/churn"}})
    {'project': {'database': 'postgresql+psycopg://ana:***@db/churn'}}
    """
    if isinstance(document, Mapping):
        return {key: without_passwords(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [without_passwords(value) for value in document]
    if isinstance(document, str):
        return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", document))
    return document
