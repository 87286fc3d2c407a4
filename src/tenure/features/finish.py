"""Features finished from states, at an instant that the caller names.

Enters: states and an instant for each of their customers. Leaves: every feature of the layout, for all customers at
once.

The windows of a series all end at the instant and are nested, so their starts cut the tiles into rings, as in
`tenure.features.rings`: a tile is counted once, into the ring between two starts, and a window is the running total of
its rings. Tiles are ordered by customer and time, so a ring is a run of rows, and everything that adds up over rings is
added up for all of them, and all parts of a series, at once. What is pending and visible at the instant is folded
first.

Invariant: the numbers are those that `tenure.features.compile` gives for the same events and instant: counts exactly,
others to the rounding of their sums. A state that already counts an event which was not visible at the instant cannot
be asked, and says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import EPOCH, format_instant
from tenure.features.series import DAY_US, Reading, Series
from tenure.features.state import Integers, States, Tiles, settle

__all__ = ["finish"]

Floats = NDArray[np.float64]


def finish(states: States, as_of: Integers) -> Mapping[str, Floats]:
    """Compute every feature of the layout.

    Parameters
    ----------
    states : States
        Of any number of customers.
    as_of : int64 array (size,)
        The instant, in microseconds UTC, that each customer's row speaks for.

    Returns
    -------
    mapping of str to float64 array (size,)
        By feature name, in the order of their declaration; NaN where a feature has no value.

    Raises
    ------
    StateError
        A state counts events that were not visible yet at the instant.

    Examples
    --------
    >>> from datetime import timedelta
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> from tenure.features.series import Layout
    >>> from tenure.features.state import Events, fold
    >>> layout = Layout.of(FeatureSet((Feature("pay", "count", window=timedelta(days=7)),)))
    >>> time = np.array([0, 3 * DAY_US])
    >>> states = fold(layout, {"pay": Events(np.array([0, 0]), time, time + 1)}, 1, now=9 * DAY_US)
    >>> finish(states, np.array([9 * DAY_US]))["pay_count_7d"].tolist()
    [1.0]
    """
    if (states.floor > as_of).any():
        row = int(np.flatnonzero(states.floor > as_of)[0])
        raise StateError(
            f"A state counts events until {_text(states.floor[row])} and cannot be finished at {_text(as_of[row])}.",
            hint="Ask for a later instant, or for history.",
        )
    plan = _Plan(settle(states, as_of), as_of)
    return {name: plan.value(reading) for name, reading in states.layout.readings.items()}


def _text(microseconds: Any) -> str:
    return format_instant(EPOCH + timedelta(microseconds=int(microseconds)))


class _Plan:
    """One reading of states: what several features need of a series is worked out once."""

    def __init__(self, states: States, as_of: Integers) -> None:
        self._states, self._as_of = states, as_of
        self._rings: dict[int, _Rings] = {}
        self._lives: dict[int, _Life] = {}

    def value(self, reading: Reading) -> Floats:
        if reading.op in _LIFETIME:
            return _LIFETIME[reading.op](self._life(reading.place), self._as_of)
        own = self._windowed(reading)
        if reading.over is None:
            return own
        whole = self._windowed(reading.over)
        return _ratio(own, whole, whole != 0)

    def _windowed(self, reading: Reading) -> Floats:
        return _FINISH[reading.op](self._rings_of(reading.place), reading.value, reading.ring)

    def _rings_of(self, place: int) -> _Rings:
        if place not in self._rings:
            self._rings[place] = _rings(self._states, place, self._as_of)
        return self._rings[place]

    def _life(self, place: int) -> _Life:
        if place not in self._lives:
            self._lives[place] = _life(self._states.tiles[place], self._states.size)
        return self._lives[place]


@dataclass(frozen=True)
class _Rings:
    """Tiles of a series, and where the rings of each customer begin.

    The rings of a customer are runs of rows, the oldest first: `bounds[customer, i]` is the first row of one, and the
    last of these numbers the first row after all of them. In what is made of them, the latest ring, which is that of
    the shortest window, comes first.
    """

    series: Series
    tiles: Tiles
    bounds: Integers
    counts_days: bool

    @functools.cached_property
    def totals(self) -> Mapping[str, Floats]:
        """Running totals over the rings of everything that adds up: by part (customers, windows)."""
        names = [part.name for part in self.series.parts if part.what in _ADDED]
        columns = [self.tiles[name] for name in names]
        if self.counts_days:
            names.append(_DAYS)
            columns.append(self._day_ends())
        return dict(zip(names, self._reduced(columns, np.add, 0.0), strict=True))

    @functools.cached_property
    def extremes(self) -> Mapping[str, Floats]:
        """Running minima and maxima over the rings: by part (customers, windows)."""
        found: dict[str, Floats] = {}
        for what, ufunc, absent in (("min", np.minimum, np.inf), ("max", np.maximum, -np.inf)):
            names = [part.name for part in self.series.parts if part.what == what]
            if names:
                cells = self._reduced([self.tiles[name] for name in names], ufunc, absent)
                found |= zip(names, np.where(cells == absent, np.nan, cells), strict=True)
        return found

    def squares(self, value: str, ring: int) -> Floats:
        """Squared deviations from the mean of everything in the window: (customers,)."""
        names = [f"{value}.{what}" for what in ("sum", "present", "squares")]
        sums, present, squares = (self.tiles[name] for name in names)
        count = self.totals[names[1]][:, ring]
        mean = self.totals[names[0]][:, ring] / np.maximum(count, 1)
        owner = self.tiles["owner"]
        apart = sums / np.maximum(present, 1) - mean[owner]
        weights = (squares + present * apart * apart) * self._inside(ring)
        return np.bincount(owner, weights, minlength=len(self.bounds)).astype(np.float64)

    def edge(self, value: str, ring: int, *, last: bool) -> Floats:
        """The first or last value of the window: (customers,)."""
        side = "last" if last else "first"
        numbers = self.tiles[f"{value}.{side}"]
        found = np.full(len(self.bounds), np.nan)
        rows = np.flatnonzero(self._inside(ring) & ~np.isnan(numbers))
        rows = rows if last else rows[::-1]  # tiles are ordered by time, and the one written last stays
        found[self.tiles["owner"][rows]] = numbers[rows]
        return found

    def _inside(self, ring: int) -> NDArray[np.bool_]:
        owner = self.tiles["owner"]
        return np.arange(len(owner)) >= self.bounds[owner, self.bounds.shape[1] - 2 - ring]

    def _day_ends(self) -> NDArray[np.bool_]:
        """The last tile of each UTC day: a day reaches into a window exactly if that one does."""
        day, owner = self.tiles["tile"] * self.series.hop // DAY_US, self.tiles["owner"]
        ends = np.ones(len(day), dtype=bool)
        ends[:-1] = (day[1:] != day[:-1]) | (owner[1:] != owner[:-1])
        return ends

    def _reduced(self, columns: Sequence[NDArray[Any]], ufunc: np.ufunc, absent: float) -> Floats:
        """Running results over the rings: (columns, customers, windows)."""
        size, edges = self.bounds.shape
        rows = np.empty((len(columns), len(self.tiles["owner"]) + 1))
        for row, column in zip(rows, columns, strict=True):
            row[:-1] = column
        rows[:, -1] = absent  # so that there is a row for a ring that begins after the last
        flat = self.bounds.reshape(-1)
        cells = ufunc.reduceat(rows, flat, axis=1)
        cells[:, :-1][:, flat[1:] == flat[:-1]] = absent  # of nothing, `reduceat` gives the row that follows
        rings = cells.reshape(len(columns), size, edges)[:, :, -2::-1]
        found: Floats = ufunc.accumulate(rings, axis=2)
        return found


_ADDED = frozenset({"rows", "present", "sum"})
_DAYS = ""  # no part is called so
_OWNER_BITS = 32  # a customer and a tile in one number, as `tenure.features.state.combine` orders them


def _rings(states: States, place: int, as_of: Integers) -> _Rings:
    series, tiles = states.layout.series[place], states.tiles[place]
    edges = np.empty((states.size, max(len(series.windows), 1) + 1), dtype=np.int64)
    if series.windows:
        np.floor_divide(np.subtract.outer(as_of, series.windows[::-1]), series.hop, out=edges[:, :-1])
        np.maximum(edges, 0, out=edges)
    else:
        edges[:, 0] = 0
    edges[:, -1] = 1 << _OWNER_BITS
    edges += np.arange(states.size)[:, None] << _OWNER_BITS
    bounds = np.searchsorted((tiles["owner"] << _OWNER_BITS) | tiles["tile"], edges)
    return _Rings(series, tiles, bounds, place in states.layout.days_places)


def _life(tiles: Tiles, size: int) -> _Life:
    columns = [tiles[name] for name in ("begin", "end", "rows")]
    if len(tiles["owner"]) == size:  # everybody has had an event
        return _Life(*columns)
    spread = np.zeros((3, size), dtype=np.int64)
    spread[:, tiles["owner"]] = columns
    return _Life(*spread)


def _ratio(above: Floats, below: Floats, where: NDArray[np.bool_]) -> Floats:
    found: Floats = above / np.where(where, below, np.nan)
    return found


def _mean(rings: _Rings, value: str, ring: int) -> Floats:
    count = rings.totals[f"{value}.present"][:, ring]
    return _ratio(rings.totals[f"{value}.sum"][:, ring], count, count > 0)


def _std(rings: _Rings, value: str, ring: int) -> Floats:
    freedom = rings.totals[f"{value}.present"][:, ring] - 1
    variance: Floats = _ratio(rings.squares(value, ring), freedom, freedom > 0)
    return np.sqrt(variance)


_FINISH: Mapping[str, Callable[[_Rings, str, int], Floats]] = {
    "count": lambda rings, _, ring: rings.totals["rows"][:, ring],
    "active_days": lambda rings, _, ring: rings.totals[_DAYS][:, ring],
    "sum": lambda rings, value, ring: rings.totals[f"{value}.sum"][:, ring],
    "mean": _mean,
    "std": _std,
    "min": lambda rings, value, ring: rings.extremes[f"{value}.min"][:, ring],
    "max": lambda rings, value, ring: rings.extremes[f"{value}.max"][:, ring],
    "first": lambda rings, value, ring: rings.edge(value, ring, last=False),
    "last": lambda rings, value, ring: rings.edge(value, ring, last=True),
}


@dataclass(frozen=True)
class _Life:
    """When each customer's events of a type began and ended, in microseconds, and how many they are."""

    begin: Integers
    end: Integers
    rows: Integers

    def days(self, later: Integers, earlier: Integers) -> Floats:
        return np.where(self.rows > 0, (later - earlier) / DAY_US, np.nan)

    def mean_gap(self) -> Floats:
        gaps = np.maximum(self.rows - 1, 1)
        return np.where(self.rows > 1, (self.end - self.begin) / DAY_US / gaps, np.nan)


def _relative_recency(life: _Life, as_of: Integers) -> Floats:
    gap = life.mean_gap()
    since = life.days(as_of, life.end)
    return _ratio(since, gap, gap > 0)


_LIFETIME: Mapping[str, Callable[[_Life, Integers], Floats]] = {
    "days_since_first": lambda life, as_of: life.days(as_of, life.begin),
    "days_since_last": lambda life, as_of: life.days(as_of, life.end),
    "mean_gap": lambda life, _: life.mean_gap(),
    "relative_recency": _relative_recency,
}
