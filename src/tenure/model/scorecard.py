"""The scorecard of a version: how its model and the baselines did on the test block, as JSON and back.

Enters: the judgements of `tenure.model.evaluate`. Leaves: `evaluation.json`, or the same judgements. Invariant: reading
what was written gives equal judgements; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenure.model.document import build, canonical, parse, plain
from tenure.model.evaluate import Judgement
from tenure.model.manifest import EVALUATION

__all__ = ["read_scorecard", "write_scorecard"]


@dataclass(frozen=True)
class _Document:
    scorecard: tuple[Judgement, ...]


def write_scorecard(scorecard: Sequence[Judgement]) -> bytes:
    r"""Canonical bytes of `evaluation.json`.

    Examples
    --------
    >>> write_scorecard(())
    b'{\n  "scorecard": []\n}\n'
    """
    return canonical(plain(_Document(tuple(scorecard))))


def read_scorecard(data: bytes) -> tuple[Judgement, ...]:
    """Read what `write_scorecard` wrote.

    Raises
    ------
    ArtifactError
        The bytes are something else.

    Examples
    --------
    >>> read_scorecard(write_scorecard(()))
    ()
    """
    document: _Document = build(_Document, parse(data, EVALUATION), EVALUATION)
    return document.scorecard
