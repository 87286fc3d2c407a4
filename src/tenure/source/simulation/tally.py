"""What was put into a simulated log, counted while it is written.

Enters: turns of a service and the entries written for them. Leaves: counts that can be held against what a reader of
the log finds.
Invariant: tallies of parts add up to the tally of the whole, and their size does not depend on how much they count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tenure.source.simulation.hazard import Ints
from tenure.source.simulation.planted import REASONS, Entries
from tenure.source.simulation.population import KINDS, Rows
from tenure.source.simulation.service import Turn

__all__ = ["Tally"]

HAZARD_BINS = 4096


def _no_bins() -> Ints:
    return np.zeros(HAZARD_BINS, dtype=np.int64)


@dataclass
class Tally:
    """Counts of events and faults, and of the true rows at risk by hazard.

    Parameters
    ----------
    events : Counter
        Clean events by type.
    faults : Counter
        `"late"`, `"duplicate"` and the reasons of corrupt rows.
    people : Counter
        `"customers"`, `"returned"` and `"truth"`: customers, those of them who came back, rows of truth.
    stayed, churned : array of int
        Rows at risk by hazard, in bins of equal width from 0 to 1.
    expected : float
        Sum of the hazards of the rows at risk.
    """

    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    people: Counter[str] = field(default_factory=Counter)
    stayed: Ints = field(default_factory=_no_bins)
    churned: Ints = field(default_factory=_no_bins)
    expected: float = 0.0

    def add_events(self, rows: Rows) -> None:
        """Count clean events."""
        counts = np.bincount(rows.kind, minlength=len(KINDS))
        self.events.update(dict(zip(KINDS, counts.tolist(), strict=True)))

    def add_faults(self, entries: Entries) -> None:
        """Count planted faults."""
        counts = np.bincount(entries.fault[entries.fault >= 0], minlength=len(REASONS))
        self.faults.update(dict(zip(REASONS, counts.tolist(), strict=True)))
        self.faults.update(late=entries.late, duplicate=entries.duplicates)

    def add_truth(self, turn: Turn) -> None:
        """Count the truth of one cutoff."""
        self.people["truth"] += int(turn.subscribed.sum())
        place = np.minimum(turn.hazard * HAZARD_BINS, HAZARD_BINS - 1).astype(np.int64)
        self.stayed = self.stayed + np.bincount(place[turn.at_risk & ~turn.left], minlength=HAZARD_BINS)
        self.churned = self.churned + np.bincount(place[turn.at_risk & turn.left], minlength=HAZARD_BINS)
        self.expected += float(turn.hazard[turn.at_risk].sum())

    def merge(self, other: Tally) -> None:
        """Count everything that another tally counts."""
        for mine, theirs in ((self.events, other.events), (self.faults, other.faults), (self.people, other.people)):
            mine.update(theirs)
        self.stayed = self.stayed + other.stayed
        self.churned = self.churned + other.churned
        self.expected += other.expected

    def hazard_auc(self) -> float:
        """Area under the ROC curve of the true hazard over the rows at risk, to about .0005; NaN without both classes.

        Rows of one bin count as ties, which is what keeps the tally small.

        Examples
        --------
        >>> tally = Tally()
        >>> tally.stayed[10], tally.churned[10], tally.churned[20] = 2, 1, 1
        >>> tally.hazard_auc()
        0.75
        """
        pairs = float(self.stayed.sum()) * float(self.churned.sum())
        below = np.cumsum(self.stayed) - self.stayed
        return float((self.churned * (below + self.stayed / 2)).sum() / pairs) if pairs else float("nan")
