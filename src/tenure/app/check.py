"""`tenure check`: everything that can be said before a model is trained.

Enters: a `Place`. Leaves: a `CheckResult`. Invariant: what it prepares is what training uses; nothing is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tenure.app.frames import Prepared, prepare
from tenure.app.money import require_values
from tenure.app.place import Place
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.features.audit import AuditReport
from tenure.model.families import wanted_families
from tenure.model.imbalance import find_rebalance
from tenure.model.protocol import Flags
from tenure.model.split import Split
from tenure.model.tune import require_tunable
from tenure.report.inputs import Block, LabelHealth
from tenure.source.history import ContractReport

__all__ = ["CheckResult", "check", "label_health", "require_trainable"]


@dataclass(frozen=True)
class CheckResult:
    """What the sources, the labels and the audit say.

    Parameters
    ----------
    contract : ContractReport
        What became of the rows of the sources.
    churn : str
        What leaving means, as a phrase.
    split : Split
        Which cutoffs train, calibrate and test.
    labels : tuple of LabelHealth
        Customers at risk and churners by cutoff.
    features : tuple of str
        Columns that a model would see.
    audit : AuditReport
        What the leakage audit found.
    notes : tuple of str
        What every reader must know.
    """

    contract: ContractReport
    churn: str
    split: Split
    labels: tuple[LabelHealth, ...]
    features: tuple[str, ...]
    audit: AuditReport
    notes: tuple[str, ...]


def check(place: Place, progress: Progress = silent) -> CheckResult:
    """Read the sources, plan cutoffs, count labels and audit features, without training.

    Parameters
    ----------
    place : Place
        The project.
    progress : Progress
        Told about the stages.

    Raises
    ------
    InputError
        The sources break their contract, or the history or the settings do not allow a training.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> found = check(Place.load(write_shop(Path(tempfile.mkdtemp()))))
    >>> found.churn, [(health.rows, health.churners) for health in found.labels if health.block == "test"]
    ('no order in 28 days', [(108, 12)])
    """
    require_trainable(place.settings.model)
    with place.alone(progress), place.engine() as engine:
        found = prepare(place, engine, progress)
    require_values(found.frame.features, place.settings.value)
    return CheckResult(
        found.contract, found.churn, found.split, label_health(found), found.features.names, found.audit, found.notes
    )


def require_trainable(settings: ModelSettings) -> None:
    """Refuse before the long work what cannot be trained.

    Raises
    ------
    ConfigError
        A family is not known, cannot be searched for parameters, or lacks what it needs.
    MissingExtraError
        A package is not installed.
    """
    wanted_families(settings)
    find_rebalance(settings)
    if settings.tune:
        require_tunable(settings)


def label_health(found: Prepared) -> tuple[LabelHealth, ...]:
    """Customers at risk and churners of every cutoff, or of every block of a plain table."""
    label, cutoff = found.frame.label, found.frame.cutoff
    if found.split.how != "cutoffs":
        blocks = found.split.blocks(found.frame)
        return (_health("train", label[blocks.train]), _health("test", label[blocks.test]))
    times: list[tuple[Block, datetime]] = [("train", time) for time in found.split.train]
    times += [("calibrate", time) for time in found.split.calibrate]
    times += [("test", time) for time in found.split.test]
    return tuple(
        _health(block, label[cutoff == np.datetime64(time.replace(tzinfo=None))], time) for block, time in times
    )


def _health(block: Block, label: Flags, cutoff: datetime | None = None) -> LabelHealth:
    return LabelHealth(block, len(label), int(label.sum()), cutoff)
