"""Features finished from states, at an instant that the caller names.

Enters: states and an instant for each of their customers. Leaves: every feature of the layout, for all customers at
once.

The windows of a series all end at the instant and are nested, so their starts cut the tiles into rings, as in
`tenure.features.rings`: a tile is counted once, into the ring between two starts, and a window is the running total of
its rings. What is pending and visible at the instant is folded first.

Invariant: the numbers are those that `tenure.features.compile` gives for the same events and instant: counts exactly,
others to the rounding of their sums. A state that already counts an event which was not visible at the instant cannot
be asked, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
            self._rings[place] = _rings(self._states.layout.series[place], self._states.tiles[place], self._as_of)
        return self._rings[place]

    def _life(self, place: int) -> _Life:
        if place not in self._lives:
            tiles = self._states.tiles[place]
            begin, end, rows = (np.zeros(self._states.size, dtype=np.int64) for _ in range(3))
            owner = tiles["owner"]
            begin[owner], end[owner], rows[owner] = (tiles[name] for name in ("begin", "end", "rows"))
            self._lives[place] = _Life(begin, end, rows)
        return self._lives[place]


@dataclass(frozen=True)
class _Rings:
    """Tiles of a series with the ring that each lies in.

    `place` is the customer times the number of rings, plus the ring, for tiles that any window
    reaches; the latest ring of a customer is the first.
    """

    tiles: Tiles
    place: Integers
    size: int
    width: int
    hop: int
    cells: dict[tuple[str, str], Floats]

    def total(self, name: str) -> Floats:
        """Running total over the rings of a part: (customers, windows)."""
        return self._once("total", name, lambda: self._summed(self.tiles[name]))

    def extreme(self, name: str, ufunc: np.ufunc, absent: float) -> Floats:
        def computed() -> Floats:
            cells = np.full(self.size * self.width, absent)
            ufunc.at(cells, self.place, self.tiles[name])
            found = ufunc.accumulate(cells.reshape(self.size, self.width), axis=1)
            return np.where(found == absent, np.nan, found)

        return self._once("extreme", name, computed)

    def squares(self, value: str, ring: int) -> Floats:
        """Squared deviations from the mean of everything in the window: (customers,)."""
        names = [f"{value}.{what}" for what in ("sum", "present", "squares")]
        sums, present, squares = (self.tiles[name] for name in names)
        count = self.total(names[1])[:, ring]
        mean = self.total(names[0])[:, ring] / np.maximum(count, 1)
        owner, inside = self.tiles["owner"], self.place % self.width <= ring
        apart = sums / np.maximum(present, 1) - mean[owner]
        weights = (squares + present * apart * apart) * inside
        return np.bincount(owner, weights, minlength=self.size).astype(np.float64)

    def edge(self, value: str, ring: int, *, last: bool) -> Floats:
        """The first or last value of the window: (customers,)."""
        side = "last" if last else "first"
        numbers = self.tiles[f"{value}.{side}"]
        inside = (self.place % self.width <= ring) & ~np.isnan(numbers)
        found = np.full(self.size, np.nan)
        rows = np.flatnonzero(inside)
        rows = rows if last else rows[::-1]  # tiles are ordered by time, and the one written last stays
        found[self.tiles["owner"][rows]] = numbers[rows]
        return found

    def days(self) -> Floats:
        """Running number of UTC days that have an event inside: (customers, windows)."""

        def computed() -> Floats:
            day, owner = self.tiles["tile"] * self.hop // DAY_US, self.tiles["owner"]
            ends = np.ones(len(day), dtype=bool)  # a day reaches into a window exactly if its last tile does
            ends[:-1] = (day[1:] != day[:-1]) | (owner[1:] != owner[:-1])
            return self._summed(ends.astype(np.float64))

        return self._once("days", "", computed)

    def _summed(self, weights: NDArray[Any]) -> Floats:
        cells = np.bincount(self.place, weights, minlength=self.size * self.width)
        return np.cumsum(cells.reshape(self.size, self.width), axis=1)

    def _once(self, what: str, name: str, computed: Callable[[], Floats]) -> Floats:
        if (what, name) not in self.cells:
            self.cells[what, name] = computed()
        return self.cells[what, name]


def _rings(series: Series, tiles: Tiles, as_of: Integers) -> _Rings:
    size = len(as_of)
    if not series.windows:
        return _Rings(tiles, tiles["owner"], size, 1, series.hop, {})
    starts = (as_of[:, None] - np.array(series.windows)) // series.hop
    ring = (tiles["tile"][:, None] < starts[tiles["owner"]]).sum(axis=1)
    width = len(series.windows)
    inside = ring < width
    if not inside.all():
        tiles, ring = {name: column[inside] for name, column in tiles.items()}, ring[inside]
    return _Rings(tiles, tiles["owner"] * width + ring, size, width, series.hop, {})


def _ratio(above: Floats, below: Floats, where: NDArray[np.bool_]) -> Floats:
    found = np.full(len(below), np.nan)
    np.divide(above, below, out=found, where=where)
    return found


def _mean(rings: _Rings, value: str, ring: int) -> Floats:
    count = rings.total(f"{value}.present")[:, ring]
    total = rings.total(f"{value}.sum")[:, ring]
    return _ratio(total, count, count > 0)


def _std(rings: _Rings, value: str, ring: int) -> Floats:
    freedom = rings.total(f"{value}.present")[:, ring] - 1
    squares = rings.squares(value, ring)
    variance: Floats = _ratio(squares, freedom, freedom > 0)
    return np.sqrt(variance)


def _extreme(what: str, ufunc: np.ufunc, absent: float) -> Callable[[_Rings, str, int], Floats]:
    return lambda rings, value, ring: rings.extreme(f"{value}.{what}", ufunc, absent)[:, ring]


_FINISH: Mapping[str, Callable[[_Rings, str, int], Floats]] = {
    "count": lambda rings, _, ring: rings.total("rows")[:, ring],
    "active_days": lambda rings, _, ring: rings.days()[:, ring],
    "sum": lambda rings, value, ring: rings.total(f"{value}.sum")[:, ring],
    "mean": _mean,
    "std": _std,
    "min": _extreme("min", np.minimum, np.inf),
    "max": _extreme("max", np.maximum, -np.inf),
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
