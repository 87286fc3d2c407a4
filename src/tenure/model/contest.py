"""The trained model beside its fallback and the baselines, on rows none of them has seen.

Enters: what `train` made, the frame and its split. Leaves: a `Contest`: one judgement each, the model first, and by how
much the model's ROC AUC exceeds each rival's. Invariant: all of them are judged on the same rows and the same draws of
customers, and rankings contact as many rows as the model does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tenure.core.progress import Progress, silent
from tenure.model.baseline import matching_threshold, rankings
from tenure.model.bootstrap import REPEATS
from tenure.model.evaluate import Estimate, Judgement, difference, judge
from tenure.model.frame import Frame
from tenure.model.protocol import Vector
from tenure.model.split import Split
from tenure.model.train import Trained

__all__ = ["Contest", "hold_contest"]

EVERYBODY = "contact everybody"


@dataclass(frozen=True)
class Contest:
    """Who did how well.

    Parameters
    ----------
    scorecard : tuple of Judgement
        The model, its fallback if there is one, then the baselines.
    lead : mapping of str to Estimate
        ROC AUC of the model minus that of each rival, with the interval of the difference.
    """

    scorecard: tuple[Judgement, ...]
    lead: Mapping[str, Estimate]


def hold_contest(
    trained: Trained,
    frame: Frame,
    split: Split,
    threshold: float | Vector,
    *,
    seed: int = 0,
    repeats: int = REPEATS,
    progress: Progress = silent,
) -> Contest:
    """Judge everybody on the test block.

    Parameters
    ----------
    trained : Trained
        From `tenure.model.train`.
    frame : Frame
        The frame it was trained on, all blocks.
    split : Split
        Names the test block.
    threshold : float or float array (test rows,)
        Probability from which contacting pays.
    seed, repeats : int
        Of the bootstrap over customers.
    progress : Progress
        Told after each judgement.

    Raises
    ------
    HistoryError
        The test block has no churners, no stayers or fewer than two customers.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from tenure.core.settings import ModelSettings
    >>> from tenure.model.split import split_table
    >>> from tenure.model.train import train
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits}))
    >>> trained = train(frame, split_table(frame), ModelSettings(family="logistic", fallback=None), threads=1)
    >>> contest = hold_contest(trained, frame, split_table(frame), threshold=0.5, repeats=20)
    >>> [judgement.name for judgement in contest.scorecard]
    ['logistic', 'random', 'contact everybody']
    """
    test = frame.take(split.blocks(frame).test)
    probability = trained.predict(test.features)
    models = {trained.family: probability}
    if trained.fallback is not None:
        models[trained.fallback.family] = trained.fallback.predict(test.features)
    rivals = rankings(test, seed=seed)
    contacts = int((probability >= threshold).sum())
    entries = len(models) + len(rivals)

    def judged(name: str, score: Vector, place: int) -> Judgement:
        limit = threshold
        if name not in models:
            limit = -np.inf if name == EVERYBODY else matching_threshold(score, contacts)
        found = judge(
            name,
            "model" if name in models else "baseline",
            "test",
            test.label,
            score,
            test.customer_id,
            threshold=limit,
            probability=name in models,
            seed=seed,
            repeats=repeats,
        )
        progress("judge", place / entries)
        return found

    everyone = models | rivals
    scorecard = tuple(judged(name, score, place) for place, (name, score) in enumerate(everyone.items(), 1))
    lead = {
        name: difference(test.label, probability, score, test.customer_id, seed=seed, repeats=repeats)
        for name, score in everyone.items()
        if name != trained.family
    }
    return Contest(scorecard, lead)
