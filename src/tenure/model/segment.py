"""Whether a model serves every kind of customer, or some at the cost of others.

Enters: what happened on a block, probabilities, who is contacted, feature columns. Leaves: one `Segment` per value of
each column, with how many are contacted and found, and whether probabilities come true there. Invariant: the borders of
numbers and the values that are named come from other rows than those that are judged; every judged row is in exactly
one segment of a column; a segment with too little evidence says so.

The intervals are Wilson's (1927), which have width even where a share is 0 or 1. They count customers, not rows: with
several rows each, a segment's evidence is that of its customers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tenure.model.evaluate import Estimate
from tenure.model.protocol import Flags, Vector

__all__ = ["FEW", "MOST_VALUES", "Grouping", "Judged", "Segment", "find_groupings", "judge_segments", "wilson"]

FEW = 30
MOST_VALUES = 8
ALIKE = 0.75
_SURE = 1.959963984540054  # 95 %


@dataclass(frozen=True)
class Grouping:
    """How the rows are told apart by one column.

    Parameters
    ----------
    column : str
        The feature.
    values : tuple of str
        Named values of text, most frequent first; other ones are together. Empty for a number.
    borders : tuple of float
        Upper ends of the lower and the middle third of a number. Empty for text.
    """

    column: str
    values: tuple[str, ...] = ()
    borders: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of the rows that are judged.

    Parameters
    ----------
    label, contacted : bool array (rows,)
        Who was lost, and whom the threshold contacts.
    probability : float64 array (rows,)
        Calibrated churn probabilities.
    group : int64 array (rows,)
        The customer behind each row.
    """

    label: Flags
    contacted: Flags
    probability: Vector
    group: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """How the model does for one kind of customer.

    Parameters
    ----------
    column, value : str
        The feature, and its value or range in words.
    rows, churners : int
        Rows in the segment, and churners among them.
    contacted_share : float
        Share of the rows that are contacted.
    recall : Estimate or None
        Share of the churners that are contacted; None without churners.
    observed_expected : Estimate or None
        Churners over the sum of their probabilities; None where nothing is expected.
    is_small : bool
        Whether fewer than `FEW` customers of either kind are in it: its numbers say little.
    """

    column: str
    value: str
    rows: int
    churners: int
    contacted_share: float
    recall: Estimate | None
    observed_expected: Estimate | None
    is_small: bool


def find_groupings(
    features: pa.Table, columns: Sequence[str], texts: int = 4, numbers: int = 3
) -> tuple[Grouping, ...]:
    """How to tell rows apart: by text columns with few values, then by thirds of numbers.

    Parameters
    ----------
    features : table
        Rows that are not judged, best those of the training block.
    columns : sequence of str
        Which ones to look at, the most interesting first; what tells nobody apart is passed over, and so is what tells
        them apart as an earlier one does (the same part for more than `ALIKE` of the rows).
    texts, numbers : int
        How many of either kind to take.

    Examples
    --------
    >>> table = pa.table({"plan": ["a", "b", "a", "a"], "site": ["x"] * 4, "visits": [1, 2, 3, 9]})
    >>> for grouping in find_groupings(table, ["site", "visits", "plan"]):
    ...     print(grouping)
    Grouping(column='plan', values=('a', 'b'), borders=())
    Grouping(column='visits', values=(), borders=(2.0, 3.0))
    """
    found = [grouping for name in columns if (grouping := _grouping(name, features[name])) is not None]
    kept: dict[Grouping, npt.NDArray[np.int64]] = {}
    for grouping in found:
        room = texts if grouping.values else numbers
        if sum(bool(other.values) == bool(grouping.values) for other in kept) >= room:
            continue
        places = _places(features[grouping.column], grouping)[0]
        if not any((places == others).mean() > ALIKE for others in kept.values()):
            kept[grouping] = places
    return (*(one for one in kept if one.values), *(one for one in kept if one.borders))


def judge_segments(judged: Judged, features: pa.Table, groupings: Sequence[Grouping]) -> tuple[Segment, ...]:
    """Judge each kind of customer apart, in the order of the groupings; kinds without rows are left out.

    Examples
    --------
    >>> label, contacted = np.array([True, False, True]), np.array([True, False, False])
    >>> judged = Judged(label, contacted, np.array([0.9, 0.1, 0.5]), np.arange(3))
    >>> for segment in judge_segments(judged, pa.table({"plan": ["a", "a", "b"]}), [Grouping("plan", ("a", "b"))]):
    ...     print(segment.value, segment.rows, segment.contacted_share, segment.recall.value, segment.is_small)
    a 2 0.5 1.0 True
    b 1 0.0 0.0 True
    """
    found = []
    for grouping in groupings:
        places, names = _places(features[grouping.column], grouping)
        for place, name in enumerate(names):
            inside = places == place
            if inside.any():
                found.append(_judge(judged, inside, grouping.column, name))
    return tuple(found)


def wilson(successes: float, trials: float, observations: float) -> Estimate:
    """A share with Wilson's 95 % interval, from so many independent observations.

    Parameters
    ----------
    successes, trials : float
        Rows; their quotient is the share.
    observations : float
        How many pieces of evidence they are, for example customers.

    Examples
    --------
    >>> str(wilson(5, 5, 5)), str(wilson(50, 100, 100))
    ('1.000 [0.566, 1.000]', '0.500 [0.404, 0.596]')
    """
    share, square = successes / trials, _SURE**2 / observations
    middle = (share + square / 2) / (1 + square)
    half = _SURE * math.sqrt(share * (1 - share) / observations + square / (4 * observations)) / (1 + square)
    return Estimate(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def _grouping(name: str, column: pa.ChunkedArray) -> Grouping | None:
    """The grouping of a column, or None where it tells nobody apart or everybody."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        counted = column.drop_null().value_counts().to_pylist()
        order = sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))
        few = 1 < len(order) <= MOST_VALUES * 4
        return Grouping(name, tuple(entry["values"] for entry in order[:MOST_VALUES])) if few else None
    known = _numbers(column)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    thirds = np.quantile(known, (1 / 3, 2 / 3), method="higher").tolist()
    borders = np.unique([third if third.is_integer() else float(f"{third:.3g}") for third in thirds])
    return Grouping(name, borders=tuple(borders.tolist())) if (known > borders[0]).any() else None


def _places(column: pa.ChunkedArray, grouping: Grouping) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Each row's segment as a number, and what the numbers mean; missing comes last."""
    if grouping.values:
        codes = pc.index_in(column, pa.array(grouping.values, column.type)).to_numpy().astype(np.float64)
        missing = column.is_null().to_numpy()
        places = np.where(missing, len(grouping.values) + 1, np.where(np.isnan(codes), len(grouping.values), codes))
        return places.astype(np.int64), (*grouping.values, "other", "missing")
    numbers, borders = _numbers(column), grouping.borders
    places = np.searchsorted(np.array(borders), numbers, side="left")
    places[np.isnan(numbers)] = len(borders) + 1
    words = [f"{border:,.0f}" if border.is_integer() else f"{border:g}" for border in borders]
    first, last = f"up to {words[0]}", f"above {words[-1]}"
    between = (f"above {low}, up to {high}" for low, high in pairwise(words))
    return places, (first, *between, last, "missing")


def _numbers(column: pa.ChunkedArray) -> Vector:
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")), dtype=np.float64)


def _judge(judged: Judged, inside: Flags, column: str, value: str) -> Segment:
    lost = inside & judged.label
    rows, churners = int(inside.sum()), int(lost.sum())
    customers, lost_customers = (len(np.unique(judged.group[chosen])) for chosen in (inside, lost))
    staying = len(np.unique(judged.group[inside & ~judged.label]))
    recall, ratio = None, None
    if churners:
        recall = wilson(int((lost & judged.contacted).sum()), churners, lost_customers)
    expected = float(judged.probability[inside].mean())
    if expected > 0:
        rate = wilson(churners, rows, customers)
        ratio = Estimate(rate.value / expected, rate.low / expected, rate.high / expected)
    small = min(lost_customers, staying) < FEW
    return Segment(column, value, rows, churners, float(judged.contacted[inside].mean()), recall, ratio, small)
