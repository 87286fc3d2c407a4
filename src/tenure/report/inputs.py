"""What a report is made of.

Enters: nothing; whoever trained a version fills a `ReportInput`. Leaves: the same, checked. Invariant: the first entry
of the scorecard is the version itself, so that no page can praise one model with another one's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Self

import numpy as np

from tenure.advise.compare import Comparison
from tenure.core.errors import InputError
from tenure.core.settings import ValueSettings
from tenure.features.audit import AuditReport
from tenure.model.evaluate import Estimate, Judgement
from tenure.model.protocol import Flags, Vector
from tenure.model.segment import Segment
from tenure.model.split import Split
from tenure.report.swarm import Swarm
from tenure.source.history import ContractReport
from tenure.value.curve import ProfitCurve
from tenure.value.max_profit import MaxProfit

__all__ = ["Block", "Campaign", "Histogram", "LabelHealth", "Money", "ReportInput"]

Block = Literal["train", "calibrate", "test"]


@dataclass(frozen=True)
class LabelHealth:
    """How many customers were at risk at one cutoff and how many of them left.

    Parameters
    ----------
    block : {"train", "calibrate", "test"}
        What the rows were used for.
    rows, churners : int
        Customers at risk and churners among them.
    cutoff : datetime, optional
        UTC; None for the rows of a plain table.
    """

    block: Block
    rows: int
    churners: int
    cutoff: datetime | None = None


@dataclass(frozen=True)
class Histogram:
    """Rows by predicted probability, in bins of equal width from 0 to 1.

    Parameters
    ----------
    stayers, churners : tuple of int
        Rows in each bin, by what happened; both of the same length.

    Examples
    --------
    >>> Histogram.of(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]), bins=2)
    Histogram(stayers=(2, 0), churners=(0, 1))
    """

    stayers: tuple[int, ...]
    churners: tuple[int, ...]

    @classmethod
    def of(cls, probability: Vector, label: Flags, bins: int = 50) -> Self:
        """Count rows; a probability of 1 belongs to the last bin."""
        place = np.minimum((probability * bins).astype(np.int64), bins - 1)
        stayers, churners = (np.bincount(place[chosen], minlength=bins).tolist() for chosen in (~label, label))
        return cls(tuple(stayers), tuple(churners))


@dataclass(frozen=True)
class Campaign:
    """A way to choose whom to contact, and what it earns on the test block.

    Parameters
    ----------
    name : str
        In words, for example `"contact from the threshold on"`.
    contacted : int
        Rows of the test block that it contacts.
    profit : Estimate
        Incremental profit of all these contacts together. `low` and `high` are its ends over the range of the save
        rate, equal to `value` where that is one number.
    sampled : Estimate, optional
        The same profit with the 95 % interval from drawing customers, at the middle of the save rate's range.
    seed_value : float, optional
        The popular score of these contacts (`tenure.value.seed`), which is no profit.
    """

    name: str
    contacted: int
    profit: Estimate
    sampled: Estimate | None = None
    seed_value: float | None = None


@dataclass(frozen=True)
class Money:
    """Whether contacting pays.

    Parameters
    ----------
    threshold : float or None
        Probability from which a contact pays, infinite where none does; None where each customer has their own.
    campaigns : tuple of Campaign
        The recommended one first.
    value : ValueSettings
        What was assumed.
    basis : {"outcomes", "probabilities"}
        Whether profits count what happened to each customer of the test block, or what the model expected.
    most, expected_most : MaxProfit, optional
        The most that any one threshold could have earned on these rows, known only afterwards: at the save rate (MPC),
        and on average over a Beta distribution of it (EMPC). None where customers have values of their own.
    curve : ProfitCurve, optional
        Profit by how many are contacted.
    batches : int
        How many times a batch is contacted in the test block; each has the whole capacity.
    searched_on : str
        The rows on which thresholds that are not in closed form were searched.
    unknown : int
        Rows whose customer's value is not known; they are never contacted and count in no profit.
    """

    threshold: float | None
    campaigns: tuple[Campaign, ...]
    value: ValueSettings
    basis: Literal["outcomes", "probabilities"] = "outcomes"
    most: MaxProfit | None = None
    expected_most: MaxProfit | None = None
    curve: ProfitCurve | None = None
    batches: int = 1
    searched_on: str = ""
    unknown: int = 0


@dataclass(frozen=True)
class ReportInput:
    """Everything that a version's report shows.

    Parameters
    ----------
    project, version, family : str
        Names, shown as they are.
    created_at : datetime
        UTC.
    churn : str
        What leaving means here, as a phrase that follows "Leaving means".
    contract : ContractReport
        What became of every row of the sources.
    labels : tuple of LabelHealth
        One per cutoff and block, ascending.
    audit : AuditReport
        What the leakage audit found.
    split : Split
        Which cutoffs trained, calibrated and tested.
    scorecard : tuple of Judgement
        On the test block: this version first, then the fallback family, then the baselines.
    differences : mapping of str to Estimate
        ROC AUC of this version minus that of the named entry of the scorecard, on the same draws of customers.
    importance : mapping of str to float
        Each feature's share, the shares together 1; in any order.
    importance_means : str
        How the shares were measured, as a sentence.
    predictions : Histogram, optional
        This version's probabilities on the test block.
    money : Money, optional
        Threshold and profit.
    first, watermark : datetime, optional
        Span of the log, UTC.
    lookback : timedelta, optional
        Longest feature window; None where a feature reads all history.
    notes : tuple of str
        Sentences that every reader must see.
    swarms : tuple of Swarm
        What the features go with on some customers of the test block, the strongest first.
    explanation : str
        How that was found, as `tenure.model.protocol.Explanation` says it.
    stages : tuple of Judgement
        The probabilities on their way from the model to the last correction, on the test block; empty where nothing
        was corrected.
    segments : tuple of Segment
        How the version does for each kind of customer.
    comparison : Comparison, optional
        The latest comparison of candidates on the same data.

    Raises
    ------
    InputError
        The scorecard does not begin with a trained model.

    Examples
    --------
    >>> from tenure.core.time import parse_instant
    >>> contract, audit = ContractReport((), {}), AuditReport((), 0, 0, ())
    >>> ReportInput("shop", "v1", "logistic", parse_instant("2026-01-01"), "no order", contract, (), audit, Split(), ())
    Traceback (most recent call last):
    tenure.core.errors.InputError: The scorecard of version 'v1' is empty.
    → Give the version's own judgement first, then the fallback and the baselines.
    """

    project: str
    version: str
    family: str
    created_at: datetime
    churn: str
    contract: ContractReport
    labels: tuple[LabelHealth, ...]
    audit: AuditReport
    split: Split
    scorecard: tuple[Judgement, ...]
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    importance_means: str = ""
    predictions: Histogram | None = None
    money: Money | None = None
    first: datetime | None = None
    watermark: datetime | None = None
    lookback: timedelta | None = None
    notes: tuple[str, ...] = ()
    swarms: tuple[Swarm, ...] = ()
    explanation: str = ""
    stages: tuple[Judgement, ...] = ()
    segments: tuple[Segment, ...] = ()
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        if self.scorecard and self.scorecard[0].kind == "model":
            return
        begins = f"begins with the baseline {self.scorecard[0].name!r}" if self.scorecard else "is empty"
        raise InputError(
            f"The scorecard of version {self.version!r} {begins}.",
            hint="Give the version's own judgement first, then the fallback and the baselines.",
            version=self.version,
        )

    @property
    def own(self) -> Judgement:
        """The version's judgement."""
        return self.scorecard[0]

    @property
    def best_baseline(self) -> Judgement | None:
        """The baseline with the highest ROC AUC."""
        baselines = [judgement for judgement in self.scorecard if judgement.kind == "baseline"]
        return max(baselines, key=lambda judgement: judgement.metrics["roc_auc"].value, default=None)
