"""`tenure train`: from labelled rows to a registered version with its report.

Enters: a `Place`. Leaves: a `TrainResult`, a version folder, a row in the registry and an alias. Invariant: the test
block is looked at once, by models whose every choice was made without it; a version is visible only when it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tenure.app.check import label_health
from tenure.app.frames import Prepared, prepare
from tenure.app.money import customer_values, judge_money
from tenure.app.place import Place
from tenure.core.progress import Progress, silent
from tenure.features.audit import require_clean
from tenure.model.artifact import Draft, write_version
from tenure.model.catalogue import Version
from tenure.model.contest import hold_contest
from tenure.model.evaluate import Estimate, Judgement
from tenure.model.importance import Importance, importances
from tenure.model.manifest import Cutoffs
from tenure.model.parts import Parts
from tenure.model.protocol import Vector
from tenure.model.train import Trained, train
from tenure.model.usual import Usual
from tenure.report.inputs import Histogram, Money, ReportInput
from tenure.report.page import render
from tenure.value.threshold import t_star_range

__all__ = ["TrainResult", "train_version"]

CHAMPION, CHALLENGER = "champion", "challenger"
_IMPORTANCE_MEANS = "Each share is the ROC AUC that is lost on the test block when the feature's values are shuffled."


@dataclass(frozen=True)
class TrainResult:
    """A registered version and how it did.

    Parameters
    ----------
    version : str
        Its name.
    alias : str
        `champion` for the first version, `challenger` for later ones.
    family : str
        Model family.
    folder, report : Path
        Where it is, and its page.
    scorecard : tuple of Judgement
        On the test block: this version, the fallback family, the baselines.
    differences : mapping of str to Estimate
        ROC AUC of this version minus that of each other entry, with a paired interval.
    threshold : float or None
        Probability from which contacting pays; None where each customer has their own.
    notes : tuple of str
        What every reader must know.
    """

    version: str
    alias: str
    family: str
    folder: Path
    report: Path
    scorecard: tuple[Judgement, ...]
    differences: Mapping[str, Estimate]
    threshold: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the test block says."""

    probability: Vector
    scorecard: tuple[Judgement, ...]
    differences: Mapping[str, Estimate]
    importance: tuple[Importance, ...]
    money: Money


def train_version(place: Place, progress: Progress = silent) -> TrainResult:
    """Train, judge, write and register a version.

    Parameters
    ----------
    place : Place
        The project.
    progress : Progress
        Told about the stages.

    Raises
    ------
    InputError
        The sources, the history or the settings do not allow it.
    AuditError
        The audit found a feature that knows the answer.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> result = train_version(Place.load(write_shop(Path(tempfile.mkdtemp()))))
    >>> result.version, result.alias, [judgement.name for judgement in result.scorecard][:3]
    ('v1', 'champion', ['logistic', 'recency', 'frequency'])
    """
    with place.engine() as engine:
        found = prepare(place, engine, progress)
    require_clean(found.audit)
    settings = place.settings
    customer_values(found.frame.features.slice(0, 0), settings.value)  # a wrong column is said before the long work
    trained = train(found.frame, found.split, settings.model, threads=settings.runtime.threads, progress=progress)
    judged = _judge(place, found, trained, progress)
    registry = place.registry()
    name = registry.reserve()
    report = render(_report_input(place, name, found, trained, judged))
    sha256 = write_version(registry.folder / name, _draft(place, found, trained, judged, report), place.clock)
    version = registry.register(name, sha256)
    alias = CHALLENGER if CHAMPION in registry.aliases() else CHAMPION
    registry.promote(alias, name, reason="trained", by="tenure train")
    return _result(version, alias, found, trained, judged)


def _judge(place: Place, found: Prepared, trained: Trained, progress: Progress) -> _Judged:
    test = found.frame.take(found.split.blocks(found.frame).test)
    value, seed = place.settings.value, place.settings.model.seed
    worth = customer_values(test.features, value)
    known = ~np.isnan(worth)  # whose value is not known is never contacted
    threshold = np.where(known, t_star_range(np.where(known, worth, 0.0), value).expected, np.inf)
    contest = hold_contest(trained, found.frame, found.split, threshold, seed=seed, progress=progress)
    probability = trained.predict(test.features)
    matrix, names = trained.encoder.transform(test.features), [column.name for column in trained.encoder.layout]
    return _Judged(
        probability=probability,
        scorecard=contest.scorecard,
        differences=contest.lead,
        importance=importances(trained.model.predict_margin, matrix, test.label, names, seed=seed),
        money=judge_money(test, probability, value),
    )


def _draft(place: Place, found: Prepared, trained: Trained, judged: _Judged, report: str) -> Draft:
    test = found.frame.take(found.split.blocks(found.frame).test)
    split = found.split
    return Draft(
        parts=_parts(found, trained),
        scorecard=judged.scorecard,
        sample=test.features,
        fingerprint=found.fingerprint,
        cutoffs=Cutoffs(split.train, split.calibrate, split.test),
        threshold=judged.money.threshold,
        settings=place.settings.model_dump(mode="json"),
        report=report,
    )


def _parts(found: Prepared, trained: Trained) -> Parts:
    learned = found.frame.features.filter(pa.array(found.split.blocks(found.frame).train))
    usual = Usual.of(trained.encoder, learned)
    return Parts(trained.family, found.features, trained.encoder, trained.model, trained.calibration, usual)


def _report_input(place: Place, name: str, found: Prepared, trained: Trained, judged: _Judged) -> ReportInput:
    test = found.split.blocks(found.frame).test
    positive = {one.feature: max(one.auc_lost, 0.0) for one in judged.importance}
    total = sum(positive.values())
    windows = [feature.window for feature in found.features.events]
    return ReportInput(
        project=place.settings.project.name,
        version=name,
        family=trained.family,
        created_at=place.now(),
        churn=found.churn,
        contract=found.contract,
        labels=label_health(found),
        audit=found.audit,
        split=found.split,
        scorecard=judged.scorecard,
        differences=judged.differences,
        importance={feature: lost / total for feature, lost in positive.items()} if total else {},
        importance_means=_IMPORTANCE_MEANS,
        predictions=Histogram.of(judged.probability, found.frame.label[test]),
        money=judged.money,
        first=found.first,
        watermark=found.watermark,
        lookback=None if not windows or None in windows else max(window for window in windows if window),
        notes=(*found.notes, *_training_notes(trained)),
    )


def _training_notes(trained: Trained) -> tuple[str, ...]:
    """What training did to the columns, as sentences."""
    dropped = [f"{one.name} ({one.reason})" for one in trained.encoder.dropped]
    folded = [
        f"{column.name} has {column.distinct:,} different values; {len(column.categories):,} are kept apart"
        for column in trained.encoder.columns
        if column.folded_rows
    ]
    unused = [f"Not used, because they carry nothing: {', '.join(dropped)}."] if dropped else []
    return (*unused, *(f"{text}." for text in folded))


def _result(version: Version, alias: str, found: Prepared, trained: Trained, judged: _Judged) -> TrainResult:
    return TrainResult(
        version=version.name,
        alias=alias,
        family=version.family,
        folder=version.folder,
        report=version.folder / "report.html",
        scorecard=judged.scorecard,
        differences=judged.differences,
        threshold=judged.money.threshold,
        notes=(*found.notes, *_training_notes(trained)),
    )
