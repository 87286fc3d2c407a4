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

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS, format_instant, from_micros
from tenure.features.recipe import Block, Recipe, recipe_of
from tenure.features.series import Reading
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
    >>> time = np.array([0, 3 * DAY_MICROS])
    >>> states = fold(layout, {"pay": Events(np.array([0, 0]), time, time + 1)}, 1, now=9 * DAY_MICROS)
    >>> finish(states, np.array([9 * DAY_MICROS]))["pay_count_7d"].tolist()
    [1.0]
    """
    if (states.floor > as_of).any():
        row = int(np.flatnonzero(states.floor > as_of)[0])
        raise StateError(
            f"A state counts events until {_text(states.floor[row])} and cannot be finished at {_text(as_of[row])}.",
            hint="Ask for a later instant, or for history.",
        )
    settled, layout = settle(states, as_of), states.layout
    recipe = recipe_of(layout)
    found = _windowed(recipe, settled, as_of)
    lives = {place: _life(settled.tiles[place], settled.size) for place in recipe.lives}
    for name, reading in recipe.lifetimes:
        found[name] = _LIFETIME[reading.op](lives[reading.place], as_of)
    return {name: found[name] for name in layout.readings}


def _text(microseconds: Any) -> str:
    return format_instant(from_micros(microseconds))


def _windowed(recipe: Recipe, states: States, as_of: Integers) -> dict[str, Floats]:
    """Every feature that looks at windows."""
    rings = {group: _rings(states, group, as_of) for group in dict.fromkeys(states.layout.groups.values())}
    cells = np.concatenate([np.ones((1, states.size)), *(rings[one.group].cells(one) for one in recipe.blocks)])
    terms = _quotient(cells[recipe.above], cells[recipe.below])
    if recipe.apart:
        groups = states.layout.groups
        apart = [
            _APART[reading.op](rings[groups[reading.place]], reading, cells[total], cells[count])
            for reading, total, count in recipe.apart
        ]
        terms = np.concatenate([terms, apart])
    found: dict[str, Floats] = {name: terms[number] for name, number in recipe.plain.items()}
    if recipe.trends:
        above, below = recipe.trend_terms
        found |= zip(recipe.trends, _quotient(terms[above], terms[below]), strict=True)
    return found


def _quotient(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """None where it would be divided by zero."""
    found: Floats = above / np.where(below == 0, np.nan, below)
    return found


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

    def cells(self, block: Block) -> Floats:
        """What the block takes of its running results over the rings: (cells, customers)."""
        rows, numbers, rings = block.at
        if not block.are_extremes:
            return self._reduced(block.columns, np.add, 0.0)[rows, numbers, :, rings]
        found = self._reduced(block.columns, np.minimum, np.inf)[rows, numbers, :, rings]
        found[found == np.inf] = np.nan
        return found * block.signs

    def _reduced(self, columns: Sequence[Sequence[str]], ufunc: np.ufunc, absent: float) -> Floats:
        """Running results over the rings: (columns, series, customers, windows)."""
        count, size, edges = self.bounds.shape
        depth = max(map(len, columns))
        # One row more than there are tiles, for a ring that begins after the last of them.
        rows = np.full((depth, self.begins[-1] + 1), absent)
        for number, (place, names) in enumerate(zip(self.group, columns, strict=True)):
            for row, name in enumerate(names):
                rows[row, self.begins[number] : self.begins[number + 1]] = self._column(place, name)
        flat = self.bounds.reshape(-1)
        cells = ufunc.reduceat(rows, flat, axis=1)
        cells[:, :-1][:, flat[1:] == flat[:-1]] = absent  # of nothing, `reduceat` gives the row that follows
        rings = cells.reshape(depth, count, size, edges)[:, :, :, -2::-1]
        running: Floats = ufunc.accumulate(rings, axis=3)
        return running

    def _column(self, place: int, name: str) -> NDArray[Any]:
        tiles = self.states.tiles[place]
        if name in tiles:
            return -tiles[name] if name.endswith(".max") else tiles[name]
        return _day_ends(tiles, self.states.layout.series[place].hop)

    def deviation(self, reading: Reading, total: Floats, count: Floats) -> Floats:
        """The standard deviation of a window, from its sum and count: (customers,)."""
        mean = total / np.maximum(count, 1)
        tiles = self.states.tiles[reading.place]
        sums, present, squares = (tiles[f"{reading.value}.{what}"] for what in ("sum", "present", "squares"))
        apart = sums / np.maximum(present, 1) - mean[tiles["owner"]]
        weights = (squares + present * apart * apart) * self._inside(reading)
        whole = np.bincount(tiles["owner"], weights, minlength=self.states.size)
        return np.sqrt(_quotient(whole, np.maximum(count - 1, 0)))

    def edge(self, reading: Reading, *_: Floats) -> Floats:
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


_APART: Mapping[str, Callable[[_Rings, Reading, Floats, Floats], Floats]] = {
    "std": _Rings.deviation,
    "first": _Rings.edge,
    "last": _Rings.edge,
}
_OWNER_BITS = 32  # a customer and a tile in one number, as `tenure.features.state.combine` orders them


def _day_ends(tiles: Tiles, hop: int) -> NDArray[np.bool_]:
    """The last tile of each UTC day: a day reaches into a window exactly if that one does."""
    ends = np.ones(len(tiles["owner"]), dtype=bool)
    if hop < DAY_MICROS:
        day, owner = tiles["tile"] * hop // DAY_MICROS, tiles["owner"]
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


@dataclass(frozen=True)
class _Life:
    """When each customer's events of a type began and ended, in microseconds, and how many they are."""

    begin: Integers
    end: Integers
    rows: Integers
    everybody: bool  # has had an event

    def days(self, later: Integers, earlier: Integers) -> Floats:
        found = (later - earlier) / DAY_MICROS
        return found if self.everybody else np.where(self.rows > 0, found, np.nan)

    def mean_gap(self) -> Floats:
        return _quotient((self.end - self.begin) / DAY_MICROS, np.maximum(self.rows - 1, 0))


_LIFETIME: Mapping[str, Callable[[_Life, Integers], Floats]] = {
    "days_since_first": lambda life, as_of: life.days(as_of, life.begin),
    "days_since_last": lambda life, as_of: life.days(as_of, life.end),
    "mean_gap": lambda life, _: life.mean_gap(),
    "relative_recency": lambda life, as_of: _quotient(life.days(as_of, life.end), life.mean_gap()),
}
