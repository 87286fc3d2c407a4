"""Features finished from states, at an instant that the caller names.

Enters: states and an instant for each of their customers. Leaves: every feature of the layout, for all customers at
once.

The windows of a series all end at the instant and are nested, so their starts cut the tiles into rings, as in
`tenure.features.rings`: a tile is counted once, into the ring between two starts, and a window is the running total of
its rings. Tiles are ordered by customer and time, so a ring is a run of rows. Series with the same windows are put one
after the other, as if they were further customers, and everything that adds up over rings is added up for all of them
at once: what a call costs is the number of its steps rather than that of its features, and most calls ask for one
customer. What is pending and visible at the instant is folded first.

Invariant: the numbers are those that `tenure.features.compile` gives for the same events and instant: counts exactly,
others to the rounding of their sums. A state that already counts an event which was not visible at the instant cannot
be asked, and says so.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import EPOCH, format_instant
from tenure.features.series import DAY_US, Reading
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
    return _divided({name: plan.value(reading) for name, reading in states.layout.readings.items()})


def _text(microseconds: Any) -> str:
    return format_instant(EPOCH + timedelta(microseconds=int(microseconds)))


class _Ratio(NamedTuple):
    """A quotient to compute; none where it would be divided by zero."""

    above: NDArray[Any]
    below: NDArray[Any]


def _quotients(ratios: Iterable[_Ratio]) -> Floats:
    above, below = (np.array(side, dtype=np.float64) for side in zip(*ratios, strict=True))
    below[below == 0] = np.nan
    found: Floats = above / below
    return found


def _divided(found: Mapping[str, Floats | _Ratio]) -> dict[str, Floats]:
    """Compute all quotients at once."""
    ratios = {name: value for name, value in found.items() if isinstance(value, _Ratio)}
    values = {name: value for name, value in found.items() if not isinstance(value, _Ratio)}
    if ratios:
        values |= zip(ratios, _quotients(ratios.values()), strict=True)
    return {name: values[name] for name in found}


class _Plan:
    """One reading of states: what several features need of series is worked out once."""

    def __init__(self, states: States, as_of: Integers) -> None:
        self._states, self._as_of = states, as_of
        self._rings: dict[tuple[int, ...], _Rings] = {}
        self._lives: dict[int, _Life] = {}

    def value(self, reading: Reading) -> Floats | _Ratio:
        if reading.op in _LIFETIME:
            return _LIFETIME[reading.op](self._life(reading.place), self._as_of)
        own = self._windowed(reading)
        if reading.over is None:
            return own
        whole = self._windowed(reading.over)
        return _Ratio(*(_quotients([side])[0] if isinstance(side, _Ratio) else side for side in (own, whole)))

    def _windowed(self, reading: Reading) -> Floats | _Ratio:
        return _FINISH[reading.op](self._rings_of(reading.place), reading)

    def _rings_of(self, place: int) -> _Rings:
        group = self._states.layout.groups[place]
        if group not in self._rings:
            self._rings[group] = _rings(self._states, group, self._as_of)
        return self._rings[group]

    def _life(self, place: int) -> _Life:
        if place not in self._lives:
            self._lives[place] = _life(self._states.tiles[place], self._states.size)
        return self._lives[place]


@dataclass(frozen=True)
class _Rings:
    """Series with the same windows, and where the rings of each customer begin.

    The tiles of these series follow each other. The rings of a customer are runs of rows, the oldest first:
    `bounds[series, customer, i]` is the first row of one, and the last of these numbers the first row after all of
    them. In what is made of them, the latest ring, which is that of the shortest window, comes first.
    """

    states: States
    group: tuple[int, ...]
    begins: Sequence[int]
    bounds: Integers

    def total(self, reading: Reading, what: str) -> Floats:
        """What adds up, over a window: (customers,)."""
        name = f"{reading.value}.{what}" if reading.value else what
        return self._totals[reading.place, name][:, reading.ring]

    def extreme(self, reading: Reading) -> Floats:
        """The minimum or maximum over a window: (customers,)."""
        return self._extremes[reading.place, f"{reading.value}.{reading.op}"][:, reading.ring]

    @functools.cached_property
    def _totals(self) -> Mapping[tuple[int, str], Floats]:
        """Running totals over the rings: by series and part (customers, windows)."""
        layout, columns = self.states.layout, []
        for place in self.group:
            tiles = self.states.tiles[place]
            own = [(part.name, tiles[part.name]) for part in layout.series[place].parts if part.what in _ADDED]
            if place in layout.counted_by_days:
                own.append((_DAYS, _day_ends(tiles, layout.series[place].hop)))
            columns.append(own)
        return self._reduced(columns, np.add, 0.0)

    @functools.cached_property
    def _extremes(self) -> Mapping[tuple[int, str], Floats]:
        """Running minima and maxima over the rings: by series and part (customers, windows)."""
        columns = []
        for place in self.group:
            series, tiles = self.states.layout.series[place], self.states.tiles[place]
            own = [(part.name, tiles[part.name]) for part in series.parts if part.what == "min"]
            columns.append(own + [(part.name, -tiles[part.name]) for part in series.parts if part.what == "max"])
        found = self._reduced(columns, np.minimum, np.inf)
        return {
            (place, name): np.where(cells == np.inf, np.nan, -cells if name.endswith(".max") else cells)
            for (place, name), cells in found.items()
        }

    def _reduced(
        self, columns: Sequence[Sequence[tuple[str, NDArray[Any]]]], ufunc: np.ufunc, absent: float
    ) -> dict[tuple[int, str], Floats]:
        """Running results over the rings, of columns by series."""
        count, size, edges = self.bounds.shape
        depth = max(map(len, columns))
        # One row more than there are tiles, for a ring that begins after the last of them.
        rows = np.full((depth, self.begins[-1] + 1), absent)
        for own, begin, end in zip(columns, self.begins, self.begins[1:], strict=False):
            for row, (_, column) in zip(rows, own, strict=False):
                row[begin:end] = column
        flat = self.bounds.reshape(-1)
        cells = ufunc.reduceat(rows, flat, axis=1)
        cells[:, :-1][:, flat[1:] == flat[:-1]] = absent  # of nothing, `reduceat` gives the row that follows
        rings = cells.reshape(depth, count, size, edges)[:, :, :, -2::-1]
        running = ufunc.accumulate(rings, axis=3)
        return {
            (place, name): running[row, number]
            for number, (place, own) in enumerate(zip(self.group, columns, strict=True))
            for row, (name, _) in enumerate(own)
        }

    def squares(self, reading: Reading) -> Floats:
        """Squared deviations from the mean of everything in the window: (customers,)."""
        count = self.total(reading, "present")
        mean = self.total(reading, "sum") / np.maximum(count, 1)
        tiles = self.states.tiles[reading.place]
        sums, present, squares = (tiles[f"{reading.value}.{what}"] for what in ("sum", "present", "squares"))
        apart = sums / np.maximum(present, 1) - mean[tiles["owner"]]
        weights = (squares + present * apart * apart) * self._inside(reading)
        return np.bincount(tiles["owner"], weights, minlength=self.states.size).astype(np.float64)

    def edge(self, reading: Reading) -> Floats:
        """The first or last value of the window: (customers,)."""
        tiles = self.states.tiles[reading.place]
        numbers = tiles[f"{reading.value}.{reading.op}"]
        found = np.full(self.states.size, np.nan)
        rows = np.flatnonzero(self._inside(reading) & ~np.isnan(numbers))
        rows = rows if reading.op == "last" else rows[::-1]  # ordered by time: the one written last stays
        found[tiles["owner"][rows]] = numbers[rows]
        return found

    def _inside(self, reading: Reading) -> NDArray[np.bool_]:
        """Which tiles of the reading's series lie in its window."""
        owner, number = self.states.tiles[reading.place]["owner"], self.group.index(reading.place)
        first = self.bounds[number, :, -2 - reading.ring] - self.begins[number]
        return np.arange(len(owner)) >= first[owner]


_ADDED = frozenset({"rows", "present", "sum"})
_DAYS = "days"  # no part is called so
_OWNER_BITS = 32  # a customer and a tile in one number, as `tenure.features.state.combine` orders them


def _day_ends(tiles: Tiles, hop: int) -> NDArray[np.bool_]:
    """The last tile of each UTC day: a day reaches into a window exactly if that one does."""
    ends = np.ones(len(tiles["owner"]), dtype=bool)
    if hop < DAY_US:
        day, owner = tiles["tile"] * hop // DAY_US, tiles["owner"]
        ends[:-1] = (day[1:] != day[:-1]) | (owner[1:] != owner[:-1])
    return ends


def _rings(states: States, group: tuple[int, ...], as_of: Integers) -> _Rings:
    series, size = states.layout.series[group[0]], states.size
    keys = [(states.tiles[place]["owner"] << _OWNER_BITS) | states.tiles[place]["tile"] for place in group]
    begins = [0, *itertools.accumulate(map(len, keys))]
    edges = np.zeros((size, max(len(series.windows), 1) + 1), dtype=np.int64)
    if series.windows:
        np.floor_divide(np.subtract.outer(as_of, series.windows[::-1]), series.hop, out=edges[:, :-1])
        np.maximum(edges, 0, out=edges)
    edges[:, -1] = 1 << _OWNER_BITS
    edges += np.arange(size)[:, None] << _OWNER_BITS
    bounds = np.array([np.searchsorted(key, edges) + begin for key, begin in zip(keys, begins, strict=False)])
    return _Rings(states, group, begins, bounds)


def _life(tiles: Tiles, size: int) -> _Life:
    owner, everybody = tiles["owner"], len(tiles["owner"]) == size
    if everybody:
        return _Life(tiles["begin"], tiles["end"], tiles["rows"], everybody)
    begin, end, rows = np.zeros((3, size), dtype=np.int64)
    begin[owner], end[owner], rows[owner] = tiles["begin"], tiles["end"], tiles["rows"]
    return _Life(begin, end, rows, everybody)


def _std(rings: _Rings, reading: Reading) -> Floats:
    freedom = np.maximum(rings.total(reading, "present") - 1, 0)
    variance: Floats = _quotients([_Ratio(rings.squares(reading), freedom)])[0]
    return np.sqrt(variance)


_FINISH: Mapping[str, Callable[[_Rings, Reading], Floats | _Ratio]] = {
    "count": lambda rings, reading: rings.total(reading, "rows"),
    "active_days": lambda rings, reading: rings.total(reading, _DAYS),
    "sum": lambda rings, reading: rings.total(reading, "sum"),
    "mean": lambda rings, reading: _Ratio(rings.total(reading, "sum"), rings.total(reading, "present")),
    "std": _std,
    "min": _Rings.extreme,
    "max": _Rings.extreme,
    "first": _Rings.edge,
    "last": _Rings.edge,
}


@dataclass(frozen=True)
class _Life:
    """When each customer's events of a type began and ended, in microseconds, and how many they are."""

    begin: Integers
    end: Integers
    rows: Integers
    everybody: bool  # has had an event

    def days(self, later: Integers, earlier: Integers) -> Floats:
        found = (later - earlier) / DAY_US
        return found if self.everybody else np.where(self.rows > 0, found, np.nan)

    def mean_gap(self) -> _Ratio:
        return _Ratio((self.end - self.begin) / DAY_US, np.maximum(self.rows - 1, 0))


_LIFETIME: Mapping[str, Callable[[_Life, Integers], Floats | _Ratio]] = {
    "days_since_first": lambda life, as_of: life.days(as_of, life.begin),
    "days_since_last": lambda life, as_of: life.days(as_of, life.end),
    "mean_gap": lambda life, _: life.mean_gap(),
    "relative_recency": lambda life, as_of: _Ratio(life.days(as_of, life.end), _quotients([life.mean_gap()])[0]),
}
