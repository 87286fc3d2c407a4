"""Several families behind one: what an ensemble and a chain share.

Enters: the members' families. Leaves: their cross-fitted predictions and choices under one roof, their models in
folders of their own. Invariant: each member sees what it would see alone, with the same folds and the same seed, and
its part of the common choice is told apart by its name, so that a member is trained exactly as if it had been chosen
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tenure.core.progress import Progress, part
from tenure.model.protocol import Choice, Examples, Family, Folds, Model, Vector, log_odds

__all__ = ["Members", "join_choices", "own_choice", "read_members", "save_members"]

_INSIDE = 1e-9


@dataclass(frozen=True)
class Members:
    """The families of an ensemble or a chain, in their order.

    Parameters
    ----------
    families : tuple of Family
        At least two, each with a name of its own.
    """

    families: tuple[Family, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names in the registry of families."""
        return tuple(family.name for family in self.families)

    def cross_fit(
        self, examples: Examples, fold: Folds, *, seed: int, threads: int | None, progress: Progress
    ) -> tuple[Vector, dict[str, float]]:
        """Cross-fit every member.

        Returns
        -------
        margins : float64 array (members, rows)
            Held-out log odds of each member.
        choice : dict of str to float
            What each of them chose.
        """
        margins, choices = [], []
        for family, told in zip(self.families, self._told(progress), strict=True):
            crossed = family.cross_fit(examples, fold, seed=seed, threads=threads, progress=told)
            margins.append(log_odds(crossed.probability, _INSIDE))
            choices.append(crossed.choice)
        return np.stack(margins), join_choices(self.names, choices)

    def fit(
        self, examples: Examples, choice: Choice, *, seed: int, threads: int | None, progress: Progress
    ) -> tuple[Model, ...]:
        """Train every member with its part of a common choice."""
        return tuple(
            family.fit(examples, own_choice(family.name, choice), seed=seed, threads=threads, progress=told)
            for family, told in zip(self.families, self._told(progress), strict=True)
        )

    def _told(self, progress: Progress) -> list[Progress]:
        many = len(self.families)
        return [part(progress, place / many, 1 / many) for place in range(many)]


def join_choices(names: Sequence[str], choices: Sequence[Choice]) -> dict[str, float]:
    """One choice of several, each key behind its member's name.

    Examples
    --------
    >>> join_choices(["xgboost", "logistic"], [{"rounds": 20.0}, {"C": 1.0}])
    {'xgboost.rounds': 20.0, 'logistic.C': 1.0}
    """
    return {
        f"{name}.{key}": value
        for name, choice in zip(names, choices, strict=True)
        for key, value in choice.items()
    }  # fmt: skip


def own_choice(name: str, choice: Choice) -> dict[str, float]:
    """A member's part of what `join_choices` made.

    Examples
    --------
    >>> own_choice("logistic", {"xgboost.rounds": 20.0, "logistic.C": 1.0})
    {'C': 1.0}
    """
    mine = f"{name}."
    return {key.removeprefix(mine): value for key, value in choice.items() if key.startswith(mine)}


def save_members(folder: Path, models: Mapping[str, Model]) -> tuple[str, ...]:
    """Write every member's model into a folder with its family's name; give the names of all files."""
    names: list[str] = []
    for name, model in models.items():
        (folder / name).mkdir()
        names += [f"{name}/{file}" for file in model.save(folder / name)]
    return tuple(names)


def read_members(folder: Path, families: Sequence[Family]) -> tuple[Model, ...]:
    """Read what `save_members` wrote."""
    return tuple(family.load(folder / family.name) for family in families)
