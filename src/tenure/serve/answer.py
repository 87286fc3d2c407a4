"""A score as the bytes of an answer, with an id of its own.

Enters: a `ServedScore`. Leaves: JSON as `wire.ScoreAnswer` describes it. Invariant: every answer has another inference
id, and of two answers of one process the later has the greater one. Made on the event loop alone, so without locks.
"""

from __future__ import annotations

import time
from typing import Any

from pydantic_core import to_json

from tenure.score.explain import Reason
from tenure.score.served import ServedScore
from tenure.serve.chance import random_bits

__all__ = ["inference_id", "score_document", "score_json"]

_PER_MILLISECOND = 1_000_000


class _Sequence:
    """Instants that never repeat or run backwards, whatever the wall clock does."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """Nanoseconds since 1970, later than any before by at least what an id can tell apart."""
        self._last = max(time.time_ns(), self._last + 256)
        return self._last


_instants = _Sequence()


def inference_id() -> str:
    """A UUID in order of time: RFC 9562, version 7, with twelve more bits of time in place of the first random ones.

    Returns
    -------
    str
        36 characters: 48 bits of milliseconds, 12 bits of their 4,096ths, 62 random bits.

    Examples
    --------
    >>> first, second = inference_id(), inference_id()
    >>> first < second, len(first), first[14]
    (True, 36, '7')
    """
    milliseconds, rest = divmod(_instants.next(), _PER_MILLISECOND)
    fraction = (rest << 12) // _PER_MILLISECOND
    chance = random_bits() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    digits = f"{(milliseconds << 16 | 0x7000 | fraction) << 64 | chance:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def score_document(score: ServedScore) -> dict[str, Any]:
    """The answer's fields in the order in which they are documented.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> score = ServedScore(
    ...     "c1", 0.2, "contact", 26.0, None, None, "high", None, "v1", "champion", "batch", EPOCH, EPOCH
    ... )
    >>> document = score_document(score)
    >>> document["probability"], document["degraded"], document["reasons"]
    (0.2, False, None)
    """
    reasons, causes = score.reasons, score.degraded_because
    return {
        "customer_id": score.customer_id,
        "probability": score.probability,
        "decision": score.decision,
        "expected_profit": score.expected_profit,
        "expected_profit_low": score.expected_profit_low,
        "expected_profit_high": score.expected_profit_high,
        "band": score.band,
        "reasons": None if reasons is None else [_reason(reason) for reason in reasons],
        "model_version": score.model_version,
        "alias": score.alias,
        "source": score.source,
        "features_as_of": score.features_as_of,
        "computed_at": score.computed_at,
        "degraded": bool(causes),
        "degraded_because": causes,
        "inference_id": inference_id(),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "feature": reason.feature,
        "value": reason.value,
        "usual": reason.usual,
        "contribution": reason.contribution,
        "effect": reason.effect,
        "text": reason.text,
    }


def score_json(score: ServedScore) -> bytes:
    """The answer as JSON; a number that is not finite, which JSON does not have, is null.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> score = ServedScore(
    ...     "c1", 0.2, "contact", 26.0, None, None, "high", None, "v1", "champion", "batch", EPOCH, EPOCH
    ... )
    >>> b'"computed_at":"1970-01-01T00:00:00Z","degraded":false' in score_json(score)
    True
    """
    return to_json(score_document(score), inf_nan_mode="null")
