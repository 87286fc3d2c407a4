"""Candidates trained on the same rows, judged on the same later rows, and put into one table.

Enters: labelled rows with their split, what is at stake, the candidates. Leaves: a `Comparison`. Invariant: out of time
and out of sight: no candidate sees the test block, whose customers are judged once, at the threshold that money fixed
before; every quality number has an interval, and every difference to the champion a paired one.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tenure.advise.candidate import NOTHING, Candidate, candidate_settings
from tenure.advise.process import Failure, Trial, Workshop
from tenure.advise.quality import METRICS, Draws, Judged, Stakes, draw
from tenure.advise.trial import Costs
from tenure.advise.verdict import Finding, conclude
from tenure.core.errors import InputError
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.model.bootstrap import customer_codes
from tenure.model.evaluate import Estimate
from tenure.model.frame import Frame
from tenure.model.split import Split

__all__ = ["Comparison", "Entry", "compare"]


@dataclass(frozen=True)
class Entry:
    """A candidate's line in the table.

    Parameters
    ----------
    name, family, imbalance : str
        Which candidate.
    metrics : mapping of str to Estimate
        Keys from `tenure.advise.quality.METRICS`, each with its 95 % interval; one that is not defined is absent.
        `profit` is incremental profit per customer at the threshold that money fixed.
    ahead : mapping of str to Estimate
        The same minus the champion's, with the paired interval; empty for the champion.
    plain_cut : float or None
        Where the same family without a method must be cut to contact as many as this model does at one half; None
        where that is nobody.
    costs : Costs
        Time, memory, size, measured in a process of its own.
    explanation, calibration : str
        How its reasons are found; which calibration was kept.
    choice : mapping of str to float
        What cross-fitting chose.
    notes : tuple of str
        What a reader must know of it.
    """

    name: str
    family: str
    imbalance: str
    metrics: Mapping[str, Estimate]
    ahead: Mapping[str, Estimate]
    plain_cut: float | None
    costs: Costs
    explanation: str
    calibration: str
    choice: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Who did how well at which cost, and what that allows to say.

    Parameters
    ----------
    champion : str
        Name of the entry that the others are measured against; it comes first.
    rows, churners, customers, lost_customers : int
        Of the test block.
    entries : tuple of Entry
        The champion, then the others in the order asked for.
    failed : tuple of Failure
        Candidates that could not be trained.
    findings : tuple of Finding
        The headline first.
    """

    champion: str
    rows: int
    churners: int
    customers: int
    lost_customers: int
    entries: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    findings: tuple[Finding, ...]

    @property
    def conclusion(self) -> str:
        """The headline: one sentence or two that claim no more than the intervals allow."""
        return self.findings[0].text


def compare(
    frame: Frame,
    split: Split,
    stakes: Stakes,
    candidates: Sequence[Candidate],
    model: ModelSettings,
    *,
    threads: int | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Comparison:
    """Train, time and judge candidates, one after the other.

    Parameters
    ----------
    frame : Frame
        Labelled rows of all blocks.
    split : Split
        Which row belongs to which block.
    stakes : Stakes
        The rows of the test block, in the order of the frame, with what they are worth.
    candidates : sequence of Candidate
        The champion first.
    model : ModelSettings
        What all of them share: calibration, seed.
    threads : int, optional
        Threads of each training.
    folder : Path, optional
        Where rows and models lie meanwhile; default: the system's temporary folder.
    progress : Progress
        Told how far each candidate is.

    Raises
    ------
    ConfigError
        There is no such imbalance method.
    InputError
        The champion cannot be trained; why another one cannot is in the result.
    HistoryError
        The test block has no churners, no stayers or fewer than two customers.
    StateError
        No process could be started.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from tenure.core.settings import ValueSettings
    >>> from tenure.model.split import split_table
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits}))
    >>> split = split_table(frame)
    >>> test = frame.take(split.blocks(frame).test)
    >>> stakes = Stakes(test.customer_id, test.cutoff, test.label, np.full(test.rows, 600.0), ValueSettings())
    >>> found = compare(frame, split, stakes, [Candidate("logistic")], ModelSettings(), threads=1)
    >>> found.entries[0].metrics["roc_auc"].value, found.conclusion.partition(":")[0]
    (1.0, 'Insufficient evidence')
    """
    settings = [candidate_settings(candidate, model) for candidate in candidates]
    with tempfile.TemporaryDirectory(dir=folder, prefix="compare-") as name:
        workshop = Workshop.open(Path(name), frame, split, threads)
        champion = workshop.run(candidates[0], settings[0], progress)
        if isinstance(champion, Failure):  # without it the others would be trained for nothing
            raise InputError(
                f"The champion {champion.name} could not be trained: {champion.reason}",
                hint="Correct that, or name another champion with `[model] family` and `imbalance`.",
                candidate=champion.name,
            )
        others = zip(candidates[1:], settings[1:], strict=True)
        tried = [champion, *(workshop.run(*pair, progress) for pair in others)]
    trials = {trial.candidate: trial for trial in tried if isinstance(trial, Trial)}
    failed = tuple(failure for failure in tried if isinstance(failure, Failure))
    return _judge(trials, failed, stakes, model.seed, progress)


def _judge(
    trials: Mapping[Candidate, Trial], failed: tuple[Failure, ...], stakes: Stakes, seed: int, progress: Progress
) -> Comparison:
    judged = [_judged(trial, trials) for trial in trials.values()]
    progress("judge", 0.0)
    draws = draw(stakes, judged, seed=seed)
    progress("judge", 1.0)
    champion = judged[0].name
    entries = tuple(_entry(trial, one, draws, champion) for trial, one in zip(trials.values(), judged, strict=True))
    lost, stayed = (
        customer_codes(stakes.customer_id.filter(pa.array(kind)))[1] for kind in (stakes.label, ~stakes.label)
    )
    return Comparison(
        champion=champion,
        rows=len(stakes.label),
        churners=int(stakes.label.sum()),
        customers=customer_codes(stakes.customer_id)[1],
        lost_customers=lost,
        entries=entries,
        failed=failed,
        findings=conclude(draws, list(trials), lost, stayed),
    )


def _judged(trial: Trial, trials: Mapping[Candidate, Trial]) -> Judged:
    plain = trials.get(trial.candidate.plain) if trial.candidate.imbalance != NOTHING else None
    return Judged(trial.candidate.name, trial.probability, trial.uncorrected, plain.uncorrected if plain else None)


def _entry(trial: Trial, judged: Judged, draws: Draws, champion: str) -> Entry:
    name, cut = judged.name, judged.plain_cut
    metrics = {metric: draws.estimate(name, metric) for metric in METRICS}
    ahead = {metric: draws.ahead(name, champion, metric) for metric in METRICS} if name != champion else {}
    return Entry(
        name=name,
        family=trial.candidate.family,
        imbalance=trial.candidate.imbalance,
        metrics=_defined(metrics),
        ahead=_defined(ahead),
        plain_cut=cut if cut is not None and math.isfinite(cut) else None,
        costs=trial.costs,
        explanation=trial.explanation,
        calibration=trial.calibration,
        choice=trial.choice,
        notes=trial.notes,
    )


def _defined(numbers: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {metric: number for metric, number in numbers.items() if not math.isnan(number.value)}
