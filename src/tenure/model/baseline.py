"""Rankings that need no model, for a model to beat.

Enters: the activity of customers: days since the last event, number of events, relative recency. Leaves: a ranking per
baseline, higher meaning more likely lost. Invariant: nothing is learned, and a customer without the number that a
ranking needs comes first in it: nobody is more absent than a customer without events, and one who came at a single
time has shown no rhythm to be measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.features.snapshot import ACTIVITY
from tenure.model.frame import Frame
from tenure.model.protocol import Vector

__all__ = ["BASELINES", "matching_threshold", "rankings"]

Baseline = Callable[[Mapping[str, Vector], np.random.Generator, int], Vector]
_RECENCY, _FREQUENCY, _RELATIVE = ACTIVITY
_FIRST = np.finfo(np.float64).max


def _absence(activity: Mapping[str, Vector], _random: np.random.Generator, _rows: int) -> Vector:
    return np.nan_to_num(activity[_RECENCY], nan=_FIRST)


def _rarity(activity: Mapping[str, Vector], _random: np.random.Generator, _rows: int) -> Vector:
    return -np.nan_to_num(activity[_FREQUENCY], nan=0.0)


def _silence(activity: Mapping[str, Vector], _random: np.random.Generator, _rows: int) -> Vector:
    return np.nan_to_num(activity[_RELATIVE], nan=_FIRST)


def _chance(_activity: Mapping[str, Vector], random: np.random.Generator, rows: int) -> Vector:
    return random.random(rows)


def _everybody(_activity: Mapping[str, Vector], _random: np.random.Generator, rows: int) -> Vector:
    return np.zeros(rows)


BASELINES: Mapping[str, tuple[Baseline, tuple[str, ...]]] = {
    "recency": (_absence, (_RECENCY,)),
    "frequency": (_rarity, (_FREQUENCY,)),
    "relative recency": (_silence, (_RELATIVE,)),
    "random": (_chance, ()),
    "contact everybody": (_everybody, ()),
}


def rankings(frame: Frame, *, seed: int = 0) -> dict[str, Vector]:
    """Rank the rows of a frame by every baseline that its activity columns allow.

    A plain table has no activity; only `random` and `contact everybody` are left then.

    Parameters
    ----------
    frame : Frame
        Its `activity` holds columns of `tenure.features.snapshot.ACTIVITY`.
    seed : int
        Of the random ranking.

    Returns
    -------
    mapping of str to float64 array (rows,)
        Higher means more likely lost; in the order of `BASELINES`.

    Examples
    --------
    >>> activity = pa.table({"_days_since_last": [3.0, 90.0], "_count": [9, 2], "_relative_recency": [0.5, None]})
    >>> frame = Frame.of(["a", "b"], [False, True], pa.table({"x": [1, 2]}), activity=activity)
    >>> found = rankings(frame)
    >>> list(found), found["recency"].tolist(), found["frequency"].tolist()
    (['recency', 'frequency', 'relative recency', 'random', 'contact everybody'], [3.0, 90.0], [-9.0, -2.0])
    """
    known = {
        name: pc.cast(frame.activity.column(name), pa.float64()).to_numpy() for name in frame.activity.column_names
    }
    random = np.random.default_rng(seed)
    usable = {name: rank for name, (rank, needed) in BASELINES.items() if set(needed) <= set(known)}
    return {name: rank(known, random, frame.rows) for name, rank in usable.items()}


def matching_threshold(score: Vector, contacts: int) -> float:
    """The threshold at which a ranking contacts as many rows as a model does, or a few more where rows are tied.

    So that recall and precision compare rankings at the same effort.

    Examples
    --------
    >>> matching_threshold(np.array([5.0, 1.0, 4.0, 4.0]), 2)
    4.0
    >>> matching_threshold(np.array([5.0, 1.0]), 0)
    inf
    """
    if contacts <= 0:
        return float("inf")
    return float(np.partition(score, len(score) - contacts)[len(score) - contacts])
