"""States: what is remembered of customers, folded from events and merged with each other.

Enters: events of many customers as columns. Leaves: `States`, the tiles of every series of a layout for those
customers.

**One fold.** An event is lifted to a tile that holds it alone, and tiles of the same customer and hop are combined,
each part in its own way. Folding events and merging states are therefore the same operation, `combine`, over a
concatenation. It is associative and commutative up to the rounding of sums, which is why order, batches and restarts do
not matter. Squared deviations are combined around the common mean (Chan, Golub and LeVeque, 1983).

**What is not known yet.** An event enters a row only at instants at which it had happened and was recorded: it is
*visible* from `max(time + 1 µs, recorded)`. A tile cannot forget a single event, so an event that is not visible yet is
kept beside the tiles as it is (`pending`) and folded when it is due. `floor` is the latest visibility among all that
has been folded: at any instant from it on, a state finishes exactly what history gives, and before it, it is not asked.

**What is forgotten.** A tile that no window reaches at the floor is reached by none later: dropping it loses nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.features.series import Layout, Part, Series

__all__ = ["NOTHING", "Events", "States", "empty", "fold", "merge", "prune", "settle"]

NOTHING = np.iinfo(np.int64).min
_NEVER = np.iinfo(np.int64).max

Integers = NDArray[np.int64]
Tiles = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Events:
    """Events of one type, one row each.

    Parameters
    ----------
    owner : int64 array (n,)
        Which customer, as an index.
    time : int64 array (n,)
        When it happened, in microseconds UTC.
    visible : int64 array (n,)
        From when on it may be counted: `max(time + 1, recorded)`.
    values : mapping of str to float64 array (n,)
        Numbers; NaN where there is none.
    categories : mapping of str to object array (n,)
        Texts; None where there is none.

    Examples
    --------
    >>> Events(np.array([0, 1]), np.array([5, 6]), np.array([6, 7])).take(np.array([True, False])).time.tolist()
    [5]
    """

    owner: Integers
    time: Integers
    visible: Integers
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    categories: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    def take(self, rows: NDArray[Any] | slice) -> Events:
        """Some of the rows, by index or mask."""
        return Events(
            self.owner[rows],
            self.time[rows],
            self.visible[rows],
            {name: column[rows] for name, column in self.values.items()},
            {name: column[rows] for name, column in self.categories.items()},
        )


@dataclass(frozen=True)
class States:
    """What is remembered of `size` customers.

    Parameters
    ----------
    layout : Layout
        What is kept.
    size : int
        Number of customers.
    tiles : tuple of dict of arrays
        For every series the columns `owner`, `tile` and its parts, ordered by owner and tile, each pair once.
    floor : int64 array (size,)
        Earliest instant, in microseconds UTC, at which a customer's state may be finished; `NOTHING` without events.
    pending : mapping of int to tuple of bytes
        By customer, events that are not visible yet.
    """

    layout: Layout
    size: int
    tiles: tuple[Tiles, ...]
    floor: Integers
    pending: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)


def empty(layout: Layout, size: int) -> States:
    """States of customers without events.

    Examples
    --------
    >>> from tenure.features.declare import FeatureSet
    >>> empty(Layout.of(FeatureSet()), 2).floor.tolist() == [NOTHING, NOTHING]
    True
    """
    return States(layout, size, tuple(_no_tiles(series) for series in layout.series), np.full(size, NOTHING))


def fold(layout: Layout, events: Mapping[str, Events], size: int, now: Integers | int) -> States:
    """Fold events into states of their own.

    Parameters
    ----------
    layout : Layout
        What is kept.
    events : mapping of str to Events
        By event type; types that no feature is about are passed over.
    size : int
        Number of customers; owners are below it.
    now : int or int64 array (size,)
        Microseconds UTC: what is visible later than this is kept as pending.

    Examples
    --------
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> layout = Layout.of(FeatureSet((Feature("pay", "sum", "amount"),)))
    >>> column = np.array([3, 5, 4])
    >>> pays = Events(np.array([0, 1, 0]), column, column + 1, {"amount": np.array([1.0, 2.0, 4.0])})
    >>> fold(layout, {"pay": pays}, 2, now=10).tiles[0]["amount.sum"].tolist()
    [5.0, 2.0]
    """
    limit = np.broadcast_to(np.asarray(now, dtype=np.int64), (size,))
    floor, pending, due = np.full(size, NOTHING), _Pending(), {}
    for name in layout.events:
        of_type = events.get(name)
        if of_type is None or not len(of_type.owner):
            continue
        ahead = of_type.visible > limit[of_type.owner]
        if ahead.any():
            pending.add(name, of_type.take(ahead))
            of_type = of_type.take(~ahead)
        due[name] = of_type
        np.maximum.at(floor, of_type.owner, of_type.visible)
    tiles = tuple(
        combine(series, _lift(series, due[series.event])) if series.event in due else _no_tiles(series)
        for series in layout.series
    )
    return States(layout, size, tiles, floor, pending.by_owner())


def merge(one: States, other: States) -> States:
    """Put the states of the same customers together.

    Examples
    --------
    >>> from tenure.features.declare import FeatureSet
    >>> nothing = empty(Layout.of(FeatureSet()), 1)
    >>> merge(nothing, nothing).size
    1
    """
    tiles = tuple(
        _joined(series, mine, theirs)
        for series, mine, theirs in zip(one.layout.series, one.tiles, other.tiles, strict=True)
    )
    pending = dict(one.pending)
    for owner, more in other.pending.items():
        pending[owner] = (*pending.get(owner, ()), *more)
    return States(one.layout, one.size, tiles, np.maximum(one.floor, other.floor), pending)


def settle(states: States, now: Integers | int) -> States:
    """Fold what has become visible by `now` (microseconds UTC, for all customers or for each).

    Examples
    --------
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> layout = Layout.of(FeatureSet((Feature("pay", "count"),)))
    >>> ahead = fold(layout, {"pay": Events(np.array([0]), np.array([5]), np.array([6]))}, 1, now=5)
    >>> len(ahead.pending), settle(ahead, 6).tiles[0]["rows"].tolist()
    (1, [1])
    """
    if not states.pending:
        return states
    limit = np.broadcast_to(np.asarray(now, dtype=np.int64), (states.size,))
    due: list[tuple[int, list[Any]]] = []
    later: dict[int, tuple[bytes, ...]] = {}
    for owner, documents in states.pending.items():
        read = [(document, json.loads(document)) for document in documents]
        due += [(owner, entry) for _, entry in read if entry[2] <= limit[owner]]
        rest = tuple(document for document, entry in read if entry[2] > limit[owner])
        if rest:
            later[owner] = rest
    without = replace(states, pending=later)
    return merge(without, fold(states.layout, _columns(due), states.size, limit)) if due else without


def prune(states: States, floor: Integers | None = None) -> States:
    """Drop the tiles that no window reaches any more.

    Parameters
    ----------
    states : States
        Of any age.
    floor : int64 array (size,), optional
        Raise the floors to this first: nobody will ask about an earlier instant.

    Examples
    --------
    >>> from datetime import timedelta
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> from tenure.features.series import DAY_MICROS
    >>> layout = Layout.of(FeatureSet((Feature("pay", "count", window=timedelta(days=7)),)))
    >>> old = fold(layout, {"pay": Events(np.array([0]), np.array([5]), np.array([6]))}, 1, now=6)
    >>> [len(states.tiles[0]["rows"]) for states in (prune(old), prune(old, np.array([8 * DAY_MICROS])))]
    [1, 0]
    """
    floors = states.floor if floor is None else np.maximum(states.floor, floor)
    tiles = tuple(
        _reached(series, tile, floors) for series, tile in zip(states.layout.series, states.tiles, strict=True)
    )
    return replace(states, tiles=tiles, floor=floors)


def combine(series: Series, tiles: Tiles) -> Tiles:
    """Make one tile of all that belong to the same customer and hop; the result is ordered by both.

    Examples
    --------
    >>> ones = np.ones(3)
    >>> series = Series("pay", "", "", 1, (9,), (Part("", "rows"),))
    >>> tiles = {"owner": np.array([1, 0, 1]), "tile": np.array([7, 7, 7]), "rows": ones}
    >>> combine(series, tiles)["rows"].tolist()
    [1.0, 2.0]
    """
    key = (tiles["owner"] << 32) | tiles["tile"]
    order = np.argsort(key, kind="stable")
    ordered = {name: column[order] for name, column in tiles.items()}
    key = key[order]
    is_start = np.empty(len(key), dtype=bool)
    is_start[:1] = True
    np.not_equal(key[1:], key[:-1], out=is_start[1:])
    if is_start.all():
        return ordered
    group = _Groups(np.flatnonzero(is_start), np.cumsum(is_start) - 1, key)
    combined = {"owner": ordered["owner"][group.starts], "tile": ordered["tile"][group.starts]}
    for part in series.parts:
        combined |= _COMBINE[part.what](part, ordered, group)
    return combined


@dataclass(frozen=True)
class _Groups:
    """Runs of equal keys in ordered rows: where each begins, the run of every row, and the keys."""

    starts: Integers
    of_row: Integers
    key: Integers

    @property
    def ends(self) -> Integers:
        return np.append(self.starts[1:], len(self.key)) - 1


def _reduced(ufunc: np.ufunc) -> Callable[[Part, Tiles, _Groups], Tiles]:
    return lambda part, tiles, group: {part.name: ufunc.reduceat(tiles[part.name], group.starts)}


def _squares(part: Part, tiles: Tiles, group: _Groups) -> Tiles:
    sums, present = (tiles[Part(part.value, what).name] for what in ("sum", "present"))
    total = np.add.reduceat(sums, group.starts) / np.maximum(np.add.reduceat(present, group.starts), 1)
    apart = sums / np.maximum(present, 1) - total[group.of_row]
    return {part.name: np.add.reduceat(tiles[part.name] + present * apart * apart, group.starts)}


def _edge(part: Part, tiles: Tiles, group: _Groups) -> Tiles:
    """The smallest or largest (time, value) pair of each run: equal times are told apart by the value."""
    side = part.what.removesuffix("_at")
    at, value = Part(part.value, f"{side}_at").name, Part(part.value, side).name
    order = np.lexsort((tiles[value], tiles[at], group.key))
    rows = order[group.starts if side == "first" else group.ends]
    return {part.name: tiles[part.name][rows]}


_COMBINE: Mapping[str, Callable[[Part, Tiles, _Groups], Tiles]] = {
    **{what: _reduced(np.add) for what in ("rows", "present", "sum")},
    **{what: _reduced(np.minimum) for what in ("min", "begin")},
    **{what: _reduced(np.maximum) for what in ("max", "end")},
    "squares": _squares,
    **dict.fromkeys(("first_at", "first", "last_at", "last"), _edge),
}


def _lift(series: Series, events: Events) -> Tiles:
    """One tile for every event of the series, with this event alone in it."""
    of_category = events.categories[series.category] == series.category_value if series.category else slice(None)
    chosen = events.take(of_category)
    number = chosen.time // series.hop if series.hop else np.zeros(len(chosen.time), dtype=np.int64)
    return {
        "owner": chosen.owner,
        "tile": number,
        **{part.name: _LIFT[part.what](chosen, chosen.values.get(part.value)) for part in series.parts},
    }


def _or(absent: float) -> Callable[[Events, Any], NDArray[Any]]:
    return lambda _, value: np.where(np.isnan(value), absent, value)


def _time_or(absent: int) -> Callable[[Events, Any], NDArray[Any]]:
    return lambda events, value: np.where(np.isnan(value), absent, events.time)


_LIFT: Mapping[str, Callable[[Events, Any], NDArray[Any]]] = {
    "rows": lambda events, _: np.ones(len(events.time), dtype=np.int64),
    "begin": lambda events, _: events.time,
    "end": lambda events, _: events.time,
    "present": lambda _, value: (~np.isnan(value)).astype(np.int64),
    "sum": _or(0.0),
    "squares": lambda _, value: np.zeros(len(value)),
    "min": _or(math.inf),
    "max": _or(-math.inf),
    "first_at": _time_or(_NEVER),
    "first": lambda _, value: value,
    "last_at": _time_or(NOTHING),
    "last": lambda _, value: value,
}


def _no_tiles(series: Series) -> Tiles:
    names = ["owner", "tile", *(part.name for part in series.parts if part.dtype != "<f8")]
    floats = [part.name for part in series.parts if part.dtype == "<f8"]
    return {name: np.zeros(0, dtype=np.int64) for name in names} | {name: np.zeros(0) for name in floats}


def _joined(series: Series, one: Tiles, other: Tiles) -> Tiles:
    if not len(other["owner"]):
        return one
    if not len(one["owner"]):
        return other
    return combine(series, {name: np.concatenate([one[name], other[name]]) for name in one})


def _reached(series: Series, tiles: Tiles, floor: Integers) -> Tiles:
    if not series.windows:
        return tiles
    oldest = (np.maximum(floor, 0) - series.windows[-1]) // series.hop
    reached = tiles["tile"] >= oldest[tiles["owner"]]
    return tiles if reached.all() else {name: column[reached] for name, column in tiles.items()}


class _Pending:
    """Collects events that are not visible yet, by owner, each as a small JSON list."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[bytes, ...]] = {}

    def add(self, name: str, events: Events) -> None:
        for row in range(len(events.owner)):
            values = {key: None if math.isnan(v := float(column[row])) else v for key, column in events.values.items()}
            texts = {key: column[row] for key, column in events.categories.items()}
            entry = [name, int(events.time[row]), int(events.visible[row]), values, texts]
            owner = int(events.owner[row])
            document = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
            self._found[owner] = (*self._found.get(owner, ()), document)

    def by_owner(self) -> Mapping[int, tuple[bytes, ...]]:
        return self._found


def _columns(entries: Iterable[tuple[int, list[Any]]]) -> dict[str, Events]:
    """Events again, from what was kept of them."""
    by_type: dict[str, list[tuple[int, list[Any]]]] = {}
    for owner, entry in entries:
        by_type.setdefault(entry[0], []).append((owner, entry))
    return {name: _events(rows) for name, rows in by_type.items()}


def _events(rows: Sequence[tuple[int, list[Any]]]) -> Events:
    first = rows[0][1]

    def integers(place: int) -> Integers:
        return np.array([entry[place] for _, entry in rows], dtype=np.int64)

    numbers = {name: np.array([entry[3][name] for _, entry in rows], dtype=np.float64) for name in first[3]}
    texts = {name: np.array([entry[4][name] for _, entry in rows], dtype=object) for name in first[4]}
    return Events(np.array([owner for owner, _ in rows], dtype=np.int64), integers(1), integers(2), numbers, texts)
