"""What hybrid scoring is made of: kept scores, fresh features and a model, each behind few words.

Enters: nothing. Leaves: the protocols that `HybridScorer` asks for. `Precomputed`, `OnlineRows` and `LiveModel` keep
them, and so can whatever takes their place. Invariant: nothing here answers half: a reading gives everything that was
asked for, or raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from tenure.core.errors import InputError
from tenure.core.guard import State
from tenure.core.settings import ValueSettings
from tenure.features.declare import FeatureSet
from tenure.score.served import Ask, Cause, ServedScore
from tenure.score.table import StoredScore
from tenure.store.hybrid import HybridRows

__all__ = ["MISSING", "FreshRows", "Missing", "PrecomputedScores", "Scoring"]


class Missing(Enum):
    """It is known that there is none."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class PrecomputedScores(Protocol):
    """The scores of the newest batch. Every method may be called from any thread."""

    def peek(self, customer_id: str) -> StoredScore | Missing | None:
        """What memory says of a customer: their score, that there is none, or nothing. Never waits."""

    def read(self, customer_ids: Sequence[str]) -> Mapping[str, StoredScore]:
        """The scores of customers; those who have none are absent."""

    def refresh(self) -> None:
        """Forget what is remembered of a batch that has been replaced."""


class FreshRows(Protocol):
    """Features as of now. Every method may be called from any thread."""

    def probe(self) -> None:
        """Ask for something small; raises `StateError` where there is no answer."""

    def read(self, features: FeatureSet, customers: Sequence[str]) -> HybridRows:
        """Whole rows of customers, in the order asked for."""


class Scoring(Protocol):
    """A version that scores live. Every method may be called from any thread."""

    @property
    def name(self) -> str:
        """Name of the version."""

    @property
    def fingerprint(self) -> str:
        """Tells apart versions whose scores of the same features differ."""

    @property
    def value(self) -> ValueSettings:
        """What decisions follow from."""

    @property
    def alias(self) -> str | None:
        """The alias under which it serves."""

    @property
    def features(self) -> FeatureSet:
        """What it reads of a customer."""

    def score_rows(self, rows: HybridRows, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore]:
        """Scores of some of the rows; raises `UnavailableError` where no model of the version answers."""

    def score_given(self, asks: Sequence[Ask]) -> list[ServedScore | InputError]:
        """Scores of features that were given; raises `UnavailableError` where no model of the version answers."""

    def base(self, customer_id: str | None, causes: tuple[Cause, ...]) -> ServedScore:
        """What can be said of somebody of whom nothing is known."""

    def states(self) -> Mapping[str, State]:
        """State of the breaker of every model of the version."""
