"""What is asked of hybrid scoring, and what it answers.

Enters: a customer's id, or their features. Leaves: a score with its decision, its age and where it comes from.
Invariant: an answer that is not the one that was asked for says so: `degraded` is set exactly where `degraded_because`
names a cause, and a score that speaks of nobody in particular has no `features_as_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tenure.score.explain import Reason

__all__ = ["Ask", "Cause", "Mode", "ServedScore", "Source", "Value"]

Mode = Literal["auto", "batch", "realtime"]
Source = Literal["batch", "cache", "realtime", "fallback", "stale"]
Cause = Literal["database", "store", "cache", "model", "features", "reasons", "expired", "base_rate"]
"""Why an answer is degraded.

`database`: the precomputed scores could not be read in time. `store`: fresh features could not be. `cache`: the shared
cache could not be. `model`: the version's own model failed or was late. `features`: events are those of the last batch.
`reasons`: reasons were asked for and could not be worked out. `expired`: the score is older than the settings allow.
`base_rate`: nothing is known of the customer, so this is the share of all customers who leave.
"""
Value = float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A score that is wanted.

    Parameters
    ----------
    customer_id : str or None
        Whose. None only where features are given.
    mode : {"auto", "batch", "realtime"}
        `auto`: the precomputed score, else the cache, else live; `batch`: precomputed only; `realtime`: live only.
    explain : bool
        Whether reasons are wanted.
    features : mapping, optional
        The customer's features by name; they are scored as they are, whatever the mode.

    Examples
    --------
    >>> Ask("c100", mode="batch").explain
    False
    """

    customer_id: str | None
    mode: Mode = "auto"
    explain: bool = False
    features: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class ServedScore:
    """A score as it is answered.

    Parameters
    ----------
    customer_id : str or None
        Whose; None where features came without one.
    probability : float
        Calibrated churn probability.
    decision : {"contact", "no_contact"}
        Whether contacting pays.
    expected_profit, expected_profit_low, expected_profit_high : float or None
        Incremental profit of contacting; the ends are None where the save rate is no range, all three where the
        customer's value is not known.
    band : str or None
        `low`, `medium` or `high`; None where the customer's value is not known.
    reasons : tuple of Reason or None
        The strongest effect first; None where none were asked for, or none are known.
    model_version : str
        The version that the probability comes from.
    alias : str or None
        The alias under which that version serves; None where it serves no longer.
    source : {"batch", "cache", "realtime", "fallback", "stale"}
        `fallback`: the fallback model's, or the base rate. `stale`: a score older than the settings allow.
    features_as_of : datetime or None
        UTC; what the features speak for. None: nothing is known of the customer, or the caller gave the features.
    computed_at : datetime
        UTC; when the probability was worked out.
    degraded_because : tuple of Cause
        Empty where nothing is wrong.
    newest : int or None
        From when on the newest event counts that the features know, in microseconds UTC as `HybridRows` has it, so that
        a score that is kept can be told from one that a later reading would give. None where that is not known.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> score = ServedScore(
    ...     "c1", 0.2, "contact", 26.0, None, None, "high", None, "v1", "champion", "batch", EPOCH, EPOCH
    ... )
    >>> score.degraded
    False
    """

    customer_id: str | None
    probability: float
    decision: Literal["contact", "no_contact"]
    expected_profit: float | None
    expected_profit_low: float | None
    expected_profit_high: float | None
    band: str | None
    reasons: tuple[Reason, ...] | None
    model_version: str
    alias: str | None
    source: Source
    features_as_of: datetime | None
    computed_at: datetime
    degraded_because: tuple[Cause, ...] = ()
    newest: int | None = None

    @property
    def degraded(self) -> bool:
        """Whether this is not the answer that was asked for."""
        return bool(self.degraded_because)
