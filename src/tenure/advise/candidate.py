"""What is compared: a family, and how churners and stayers are evened out before it learns.

Enters: names of families and of imbalance methods, and the `[model]` section. Leaves: candidates, the champion first,
each with the settings that train it. Invariant: a candidate differs from the champion in these two names alone; seed,
calibration and everything else stay, so that a difference in the result is theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tenure.core.config import settings_from
from tenure.core.settings import ModelSettings

__all__ = ["NOTHING", "Candidate", "candidate_settings", "plan_candidates"]

NOTHING = "none"


@dataclass(frozen=True, order=True)
class Candidate:
    """A family with an imbalance method.

    Examples
    --------
    >>> Candidate("xgboost").name, Candidate("xgboost", "smote").name
    ('xgboost', 'xgboost + smote')
    """

    family: str
    imbalance: str = NOTHING

    @property
    def name(self) -> str:
        """How tables and sentences call it."""
        return self.family if self.imbalance == NOTHING else f"{self.family} + {self.imbalance}"

    @property
    def plain(self) -> Candidate:
        """The same family without a method."""
        return Candidate(self.family)


def plan_candidates(families: Iterable[str], imbalances: Iterable[str], champion: Candidate) -> tuple[Candidate, ...]:
    """Every family with every method, the champion first, nobody twice.

    A method is only ever judged beside the same family without it, so that one is always there; the champion's too.

    Examples
    --------
    >>> found = plan_candidates(["logistic", "xgboost"], ["weights"], Candidate("xgboost"))
    >>> [candidate.name for candidate in found]
    ['xgboost', 'logistic', 'logistic + weights', 'xgboost + weights']
    """
    asked = [Candidate(*pair) for pair in itertools.product(families, imbalances)]
    beside = itertools.chain.from_iterable((candidate.plain, candidate) for candidate in asked)
    return tuple(dict.fromkeys([champion, champion.plain, *beside]))


def candidate_settings(candidate: Candidate, model: ModelSettings) -> ModelSettings:
    """The `[model]` section that trains a candidate, and no fallback beside it.

    Raises
    ------
    ConfigError
        There is no such imbalance method.

    Examples
    --------
    >>> candidate_settings(Candidate("logistic"), ModelSettings(seed=3)).seed
    3
    """
    changed: dict[str, Any] = {"family": candidate.family, "fallback": None, "imbalance": candidate.imbalance}
    if candidate.imbalance != model.imbalance:  # what was set for one method means nothing to another
        changed |= {"churner_weight": None, "minority_ratio": None}
    if candidate.family != model.family:
        changed |= {"parameters": {}}
    table = {"path": "rows", "label": "label", "positive": True}
    return settings_from({"table": table, "model": model.model_dump() | changed}, source=candidate.name).model
