"""A fallback chain: the first of several models that answers in time.

Enters: encoded examples. Leaves: a `ChainModel`: the members' models in folders of their own and `chain.json`.
Invariant: every member speaks the same scale, so whoever answers, calibration and threshold mean the same.

A request that somebody waits for is relayed (`tenure.model.relay`): each member but the last has `budget_seconds`, and
who fails or is late is passed over. Wherever nobody waits (training, golden rows, a batch) the first member answers
alone; a batch of which two models answered one half each could not be ranked.

The scale. One boosted model is too sure of itself and another too modest, and the calibration of a version is learned
for one of them. So each member's log odds are moved and stretched (Platt 1999) until they fit its own held-out
predictions, before anything else is done with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from tenure.core.progress import Progress, silent
from tenure.model.calibrate import fit_calibration
from tenure.model.cross_fit import judged
from tenure.model.document import read_file, refused, write_file
from tenure.model.members import Members, read_members, save_members
from tenure.model.protocol import (
    Choice,
    Contributions,
    CrossFit,
    Examples,
    Explanation,
    Family,
    Folds,
    Matrix,
    Model,
    Vector,
    sigmoid,
)
from tenure.model.relay import Member

__all__ = ["ChainFamily", "ChainModel", "Link"]

FILE = "chain.json"


@dataclass(frozen=True)
class Link:
    """A member's place in the chain, and what brings its log odds to the common scale.

    Parameters
    ----------
    name : str
        Of the member's family.
    slope, intercept : float
        The common log odds are `slope * margin + intercept`; the slope is not negative.
    """

    name: str
    slope: float
    intercept: float


@dataclass(frozen=True)
class _Record:
    """What `chain.json` holds."""

    links: tuple[Link, ...]
    budget_seconds: float


@dataclass(frozen=True, eq=False)
class ChainModel:
    """Trained members in their order.

    Parameters
    ----------
    links : tuple of Link
        Who is asked, first to last.
    models : tuple of Model
        Their models.
    budget_seconds : float
        How long each but the last may take to answer somebody who waits.
    """

    links: tuple[Link, ...]
    models: tuple[Model, ...]
    budget_seconds: float

    @property
    def members(self) -> tuple[Member, ...]:
        """Who can be asked for log odds on the common scale, in their order."""
        return tuple(Member(link.name, partial(self._margin, place)) for place, link in enumerate(self.links))

    def predict_margin(self, matrix: Matrix) -> Vector:
        """Log odds of churn by the first member, float64 (rows,)."""
        return self._margin(0, matrix)

    def predict_proba(self, matrix: Matrix) -> Vector:
        """Probability of churn by the first member, float64 (rows,)."""
        return sigmoid(self.predict_margin(matrix))

    def contributions(self, matrix: Matrix) -> Contributions:
        """The first member's contributions, on the common scale."""
        found, link = self.models[0].contributions(matrix), self.links[0]
        return Contributions(link.slope * found.values, link.slope * found.base + link.intercept)

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write `chain.json`, and each member into a folder."""
        write_file(folder, FILE, _Record(self.links, self.budget_seconds))
        names = [link.name for link in self.links]
        return (FILE, *save_members(folder, dict(zip(names, self.models, strict=True))))

    def _margin(self, place: int, matrix: Matrix) -> Vector:
        link = self.links[place]
        return link.slope * self.models[place].predict_margin(matrix) + link.intercept


@dataclass(frozen=True)
class ChainFamily:
    """A fallback chain.

    Parameters
    ----------
    find : callable
        Gives the family that a name means; it refuses families that cannot be members.
    members : tuple of str
        Names of the members, in the order in which they are asked.
    budget_seconds : float
        How long each but the last may take to answer somebody who waits.
    """

    name: ClassVar[str] = "chain"
    explanation: ClassVar[Explanation] = "Shapley values of the first member"
    find: Callable[[str], Family]
    members: tuple[str, ...] = ("xgboost", "logistic")
    budget_seconds: float = 0.05

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> CrossFit:
        """Cross-fit the members, and bring each to the common scale; the first one's predictions are the chain's."""
        margins, choice = self._members.cross_fit(examples, fold, seed=seed, threads=threads, progress=progress)
        for name, margin in zip(self.members, margins, strict=True):
            scale = fit_calibration("sigmoid", sigmoid(margin), examples.label)
            choice |= {f"scale.{name}.slope": scale.slope, f"scale.{name}.intercept": scale.intercept}
        first = f"scale.{self.members[0]}"
        return judged(examples.label, choice[f"{first}.slope"] * margins[0] + choice[f"{first}.intercept"], choice)

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None = None, progress: Progress = silent
    ) -> ChainModel:
        """Train the members on all examples."""
        models = self._members.fit(examples, choice, seed=seed, threads=threads, progress=progress)
        links = tuple(self._link(name, choice, examples.prior_shift) for name in self.members)
        return ChainModel(links, models, self.budget_seconds)

    def load(self, folder: Path) -> ChainModel:
        """Read `chain.json` and the members that it names."""
        record = read_file(folder, FILE, _Record)
        if not record.links or min(link.slope for link in record.links) < 0 or record.budget_seconds <= 0:
            raise refused(f"{FILE} holds no links, a falling scale or a budget of {record.budget_seconds:g} seconds.")
        models = read_members(folder, [self.find(link.name) for link in record.links])
        return ChainModel(record.links, models, record.budget_seconds)

    @property
    def _members(self) -> Members:
        return Members(tuple(self.find(name) for name in self.members))

    @staticmethod
    def _link(name: str, choice: Choice, shift: float) -> Link:
        """The scale was learned after prior correction, which a trained model's margin still lacks."""
        slope, intercept = choice[f"scale.{name}.slope"], choice[f"scale.{name}.intercept"]
        return Link(name, slope, slope * shift + intercept - shift)
