"""`tenure train`: from labelled rows to a registered version with its report.

Enters: a `Place`. Leaves: a `TrainResult`, a version folder, a row in the registry and an alias. Invariant: the test
block is looked at once, by models whose every choice was made without it; a version is visible only when it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tenure.app.check import label_health, require_trainable
from tenure.app.compare import latest_comparison
from tenure.app.evidence import judge_kinds, search_rows
from tenure.app.frames import Prepared, prepare
from tenure.app.money import customer_values, judge_money, require_values
from tenure.app.notes import notes_of
from tenure.app.place import Place
from tenure.app.swarms import swarms_of
from tenure.core.progress import Progress, silent
from tenure.features.audit import require_clean
from tenure.model.artifact import Draft, write_version
from tenure.model.catalogue import Version
from tenure.model.contest import hold_contest
from tenure.model.evaluate import Estimate, Judgement
from tenure.model.families import find_family
from tenure.model.importance import Importance, importances
from tenure.model.manifest import Cutoffs
from tenure.model.parts import Parts
from tenure.model.protocol import Vector
from tenure.model.registry import Registry
from tenure.model.segment import Segment
from tenure.model.stages import judge_stages
from tenure.model.standby import Standby
from tenure.model.train import Trained, train
from tenure.model.tune import Tuning, tune
from tenure.model.usual import Usual
from tenure.report.inputs import Campaign, Histogram, Money, ReportInput
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
    tuning : Tuning or None
        What the search for parameters found; None where none was asked for.
    campaigns : tuple of Campaign
        What contacting where it pays, by the popular score, everybody and nobody would have earned on the test block.
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
    tuning: Tuning | None = None
    campaigns: tuple[Campaign, ...] = ()


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the test block says."""

    probability: Vector
    scorecard: tuple[Judgement, ...]
    differences: Mapping[str, Estimate]
    importance: tuple[Importance, ...]
    money: Money
    stages: tuple[Judgement, ...]
    segments: tuple[Segment, ...]
    notes: tuple[str, ...]


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
    require_trainable(place.settings.model)
    with place.alone(progress), place.engine() as engine:
        found = prepare(place, engine, progress)
    require_clean(found.audit)
    require_values(found.frame.features, place.settings.value)  # said before the long work
    compared, unread = latest_comparison(place, found)
    found = replace(found, notes=(*found.notes, *unread))
    tuning = _tune(place, found, progress)
    if tuning is not None:
        place, found = place.with_parameters(tuning.parameters), replace(found, notes=(*found.notes, tuning.sentence))
    settings = place.settings
    trained = train(found.frame, found.split, settings.model, threads=settings.runtime.threads, progress=progress)
    judged = _judge(place, found, trained, progress)
    registry = place.registry()
    name = registry.reserve()
    report = render(replace(_report_input(place, name, found, trained, judged), comparison=compared))
    sha256 = write_version(registry.folder / name, _draft(place, found, trained, judged, report), place.clock)
    version = registry.register(name, sha256)
    alias = _named(place, registry, name, progress)
    return replace(_result(version, alias, judged), tuning=tuning)


def _named(place: Place, registry: Registry, name: str, progress: Progress) -> str:
    """Point an alias at a new version; of first trainings that end at once, one alone becomes champion."""
    with place.alone(progress, "aliases.lock"):
        alias = CHALLENGER if CHAMPION in registry.aliases() else CHAMPION
        registry.promote(alias, name, reason="trained", by="tenure train")
    return alias


def _tune(place: Place, found: Prepared, progress: Progress) -> Tuning | None:
    """Search for parameters where the settings want it; the journal lies in the workspace."""
    if not place.settings.model.tune:
        return None
    with place.alone(progress, "tuning.lock"):  # a journal takes one search at a time
        return tune(
            found.frame,
            found.split,
            place.settings.model,
            journal=place.workspace / "tuning",
            fingerprint=found.fingerprint,
            threads=place.settings.runtime.threads,
            progress=progress,
        )


def _judge(place: Place, found: Prepared, trained: Trained, progress: Progress) -> _Judged:
    test = found.frame.take(found.split.blocks(found.frame).test)
    value, seed = place.settings.value, place.settings.model.seed
    worth = customer_values(test.features, value)
    known = ~np.isnan(worth)  # whose value is not known is never contacted
    threshold = np.where(known, t_star_range(np.where(known, worth, 0.0), value).expected, np.inf)
    contest = hold_contest(trained, found.frame, found.split, threshold, seed=seed, progress=progress)
    probability = trained.predict(test.features)
    matrix, names = trained.encoder.transform(test.features), [column.name for column in trained.encoder.layout]
    importance = importances(trained.model.predict_margin, matrix, test.label, names, seed=seed)
    money = judge_money(test, probability, value, search_rows(found, trained))
    return _Judged(
        probability=probability,
        scorecard=contest.scorecard,
        differences=contest.lead,
        importance=importance,
        money=money,
        stages=judge_stages(trained, test, seed=seed),
        segments=judge_kinds(found, test, probability, importance, value),
        notes=notes_of(found, trained, place.settings.model, money),
    )


def _draft(place: Place, found: Prepared, trained: Trained, judged: _Judged, report: str) -> Draft:
    test = found.frame.take(found.split.blocks(found.frame).test)
    split = found.split
    return Draft(
        parts=_parts(found, trained, place.settings.model.budget_seconds),
        scorecard=judged.scorecard,
        sample=test.features,
        fingerprint=found.fingerprint,
        cutoffs=Cutoffs(split.train, split.calibrate, split.test),
        threshold=judged.money.threshold,
        settings=place.settings.model_dump(mode="json"),
        report=report,
    )


def _parts(found: Prepared, trained: Trained, budget_seconds: float) -> Parts:
    learned = found.frame.features.filter(pa.array(found.split.blocks(found.frame).train))
    usual = Usual.of(trained.encoder, learned)
    second = trained.fallback
    standby = None if second is None else Standby(second.family, second.model, second.calibration, budget_seconds)
    return Parts(trained.family, found.features, trained.encoder, trained.model, trained.calibration, usual, standby)


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
        swarms=swarms_of(trained, found.frame.features.filter(pa.array(test))),
        explanation=find_family(trained.family).explanation,
        lookback=None if not windows or None in windows else max(window for window in windows if window),
        notes=judged.notes,
        stages=judged.stages,
        segments=judged.segments,
    )


def _result(version: Version, alias: str, judged: _Judged) -> TrainResult:
    return TrainResult(
        version=version.name,
        alias=alias,
        family=version.family,
        folder=version.folder,
        report=version.folder / "report.html",
        scorecard=judged.scorecard,
        differences=judged.differences,
        threshold=judged.money.threshold,
        notes=judged.notes,
        campaigns=judged.money.campaigns,
    )
