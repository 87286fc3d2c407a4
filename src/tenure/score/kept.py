"""Kept scores as they are answered: those of a batch, and those that were worked out live a while ago.

Enters: a score that was kept, and why it is the answer. Leaves: a `ServedScore` that says so. Invariant: the
probability and what was decided stay what they were; only what an answer says of itself changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import get_args

from tenure.score.explain import Reason
from tenure.score.protocol import Scoring
from tenure.score.served import Cause, ServedScore, Source
from tenure.score.table import StoredScore

__all__ = ["EXPIRED", "Kept", "answered", "in_order", "live_answer", "to_keep"]

Kept = ServedScore | StoredScore
_ORDER: tuple[Cause, ...] = get_args(Cause)
EXPIRED: tuple[Cause, ...] = ("expired",)
_ABOUT_THE_WAY: frozenset[Cause] = frozenset({"database", "cache", "reasons"})


def in_order(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Each cause once, in the order in which `Cause` names them.

    Examples
    --------
    >>> in_order(["expired", "store", "expired"])
    ('store', 'expired')
    """
    given = set(causes)
    return tuple(cause for cause in _ORDER if cause in given) if given else ()


def answered(kept: Kept, model: Scoring, source: Source, causes: Collection[Cause], *, explain: bool) -> ServedScore:
    """A kept score as the answer.

    Parameters
    ----------
    kept : StoredScore or ServedScore
        Of a batch, or from the cache.
    model : Scoring
        The version that serves now; its alias is told where the score is its own.
    source : {"batch", "cache", "stale"}
        Where the answer comes from.
    causes : collection of Cause
        Why it is degraded; `reasons` is added where they are wanted and there are none.
    explain : bool
        Whether reasons are wanted.
    """
    if explain and kept.reasons is None:
        causes = (*causes, "reasons")
    return ServedScore(
        kept.customer_id,
        kept.probability,
        "contact" if kept.decision == "contact" else "no_contact",
        kept.expected_profit,
        kept.expected_profit_low,
        kept.expected_profit_high,
        kept.band,
        kept.reasons if explain else None,
        kept.model_version,
        model.alias if kept.model_version == model.name else None,
        source,
        kept.features_as_of,
        kept.computed_at,
        in_order(causes),
        kept.newest if isinstance(kept, ServedScore) else None,
    )


def live_answer(score: ServedScore, causes: Collection[Cause], *, explain: bool) -> ServedScore:
    """A live score as the answer to one of those who asked for it, who may not all have wanted reasons."""
    own = score.degraded_because if explain else [cause for cause in score.degraded_because if cause != "reasons"]
    reasons = score.reasons if explain else None
    whole = in_order((*own, *causes))
    if whole == score.degraded_because and reasons is score.reasons:
        return score
    return _marked(score, score.source, reasons, whole)


def to_keep(score: ServedScore) -> ServedScore | None:
    """A live score as it is kept for the next who ask; None where it is not what the version says of fresh features.

    That reasons could not be worked out, or that something did not answer on the way, is no flaw of the score.
    """
    if score.source != "realtime" or not _ABOUT_THE_WAY.issuperset(score.degraded_because):
        return None
    return _marked(score, "cache", score.reasons, ())


def _marked(
    score: ServedScore, source: Source, reasons: tuple[Reason, ...] | None, causes: tuple[Cause, ...]
) -> ServedScore:
    return ServedScore(
        score.customer_id,
        score.probability,
        score.decision,
        score.expected_profit,
        score.expected_profit_low,
        score.expected_profit_high,
        score.band,
        reasons,
        score.model_version,
        score.alias,
        source,
        score.features_as_of,
        score.computed_at,
        causes,
        score.newest,
    )
