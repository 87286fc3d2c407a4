"""What must be remembered of a customer so that every declared feature can be finished at any later moment.

Enters: declared features. Leaves: a `Layout`: the *series* of tiles to keep, each with the parts of its tiles.

A tile is the mergeable state of one hop of time. Windows of one hop share a series, which is kept as long as the
longest of them reaches; what has no window is a series of one tile, kept for ever. A part is a number that merges with
its like: rows and values counted, a sum, squared deviations, a minimum, the value at the smallest time. Means and
standard deviations are never kept, only what they are made of.

Invariant: the layout follows from the declarations alone. Two sets of features with the same layout have the same hash
and can read each other's states; any other state is refused and built anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.core.settings import WINDOW_OPS
from tenure.core.time import DAY_MICROS, hop, span_micros
from tenure.features.declare import Feature, FeatureSet

__all__ = ["DAY_MICROS", "PARTS_OF", "Layout", "Part", "Reading", "Series"]

PARTS_OF: Mapping[str, tuple[str, ...]] = {
    "count": ("rows",),
    "active_days": (),
    "sum": ("sum",),
    "mean": ("present", "sum"),
    "std": ("present", "sum", "squares"),
    "min": ("min",),
    "max": ("max",),
    "first": ("first_at", "first"),
    "last": ("last_at", "last"),
}
_LIFETIME_PARTS = ("rows", "begin", "end")
_WIDTHS = {"rows": "<u4", "present": "<u4", "first_at": "<i8", "last_at": "<i8", "begin": "<i8", "end": "<i8"}


@dataclass(frozen=True, order=True)
class Part:
    """One number of a tile; `value` names the column that it is about, and is empty where it is about the events."""

    value: str
    what: str

    @property
    def name(self) -> str:
        """Field name in a table of tiles."""
        return f"{self.value}.{self.what}" if self.value else self.what

    @property
    def dtype(self) -> str:
        """How the number is written."""
        return _WIDTHS.get(self.what, "<f8")


@dataclass(frozen=True)
class Series:
    """Tiles of one event type, or of its events with one value of a category.

    Parameters
    ----------
    event, category, category_value : str
        Which events; both last ones empty for all of the type.
    hop : int
        Length of a tile in microseconds; 0: a single tile for all history.
    windows : tuple of int
        Lengths in microseconds, ascending; empty: tiles are kept for ever.
    parts : tuple of Part
        What a tile holds.
    """

    event: str
    category: str
    category_value: str
    hop: int
    windows: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def key(self) -> tuple[str, str, str, int, bool]:
        """What tells series apart."""
        return (self.event, self.category, self.category_value, self.hop, bool(self.windows))

    @functools.cached_property
    def columns(self) -> tuple[tuple[str, type], ...]:
        """The parts' names, and as what they are held in memory."""
        return tuple((part.name, np.float64 if part.dtype == "<f8" else np.int64) for part in self.parts)

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """A tile on the wire: its number, then its parts, without padding."""
        tile = [("tile", "<u4")] if self.hop else []
        return np.dtype(tile + [(part.name, part.dtype) for part in self.parts])


@dataclass(frozen=True)
class Reading:
    """One number to finish: from which series, about which value, over which of its windows.

    `over` is what a trend is divided by.
    """

    op: str
    place: int
    value: str = ""
    ring: int = 0
    over: Reading | None = None


@dataclass(frozen=True, eq=False)  # compared by `hash`; what is worked out for one is remembered for that one
class Layout:
    """Everything that is kept of a customer, in the order in which it is written.

    Examples
    --------
    >>> weekly = Feature("pay", "mean", "amount", timedelta(days=7))
    >>> layout = Layout.of(FeatureSet((weekly, Feature("pay", "days_since_last"))))
    >>> [(one.event, one.hop // DAY_MICROS, [part.name for part in one.parts]) for one in layout.series]
    [('pay', 0, ['begin', 'end', 'rows']), ('pay', 1, ['amount.present', 'amount.sum'])]
    """

    features: tuple[Feature, ...]
    series: tuple[Series, ...]

    @classmethod
    def of(cls, features: FeatureSet) -> Layout:
        """The layout that finishes these features; customer attributes are not made of events and not in it."""
        found: dict[tuple[Any, ...], Series] = {}
        for one in (series for feature in features.events for series in _series_of(feature)):
            kept = found.setdefault(one.key, one)
            found[one.key] = replace(
                kept,
                windows=tuple(sorted({*kept.windows, *one.windows})),
                parts=tuple(sorted({*kept.parts, *one.parts})),
            )
        return cls(features.events, tuple(found[key] for key in sorted(found)))

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of what a state holds."""
        written = [[*one.key[:4], one.windows[-1:], [part.name for part in one.parts]] for one in self.series]
        return hashlib.sha256(json.dumps(written).encode()).hexdigest()

    @functools.cached_property
    def tag(self) -> int:
        """The hash's first four bytes, which every written state carries."""
        return int(self.hash[:8], 16)

    @functools.cached_property
    def widths(self) -> NDArray[np.int64]:
        """Bytes of a tile of every series."""
        return np.array([one.dtype.itemsize for one in self.series], dtype=np.int64)

    @functools.cached_property
    def readings(self) -> Mapping[str, Reading]:
        """How every feature is finished, by its name."""
        return {feature.name: self._reading(feature) for feature in self.features}

    def _reading(self, feature: Feature) -> Reading:
        if feature.op not in WINDOW_OPS:
            return Reading(feature.op, self.index[lifetime(feature.event).key])
        own = self._windowed(feature, feature.window)
        return own if feature.over is None else replace(own, over=self._windowed(feature, feature.over))

    def _windowed(self, feature: Feature, window: timedelta | None) -> Reading:
        place = self.index[base(feature, window).key]
        ring = self.series[place].windows.index(span_micros(window)) if window else 0
        return Reading(feature.op, place, feature.value or "", ring)

    @functools.cached_property
    def windowed(self) -> tuple[Reading, ...]:
        """Everything that is read over windows, what trends are divided by included."""
        read = [one for reading in self.readings.values() for one in (reading, reading.over) if one is not None]
        return tuple(one for one in read if one.op in WINDOW_OPS)

    @functools.cached_property
    def groups(self) -> Mapping[int, tuple[int, ...]]:
        """For each series that is read over windows, those with the same windows and hop, which are finished as one."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for place in sorted({one.place for one in self.windowed}):
            found.setdefault((self.series[place].hop, self.series[place].windows), []).append(place)
        return {place: tuple(group) for group in found.values() for place in group}

    @functools.cached_property
    def events(self) -> tuple[str, ...]:
        """Event types that matter."""
        return tuple(dict.fromkeys(one.event for one in self.series))

    @functools.cached_property
    def columns(self) -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Which values and which categories of an event type matter."""
        return {
            event: (
                tuple(sorted({part.value for one in self.series if one.event == event for part in one.parts} - {""})),
                tuple(sorted({one.category for one in self.series if one.event == event} - {""})),
            )
            for event in self.events
        }

    @functools.cached_property
    def index(self) -> Mapping[tuple[Any, ...], int]:
        """Where a series is, by its key."""
        return {one.key: place for place, one in enumerate(self.series)}

    @functools.cached_property
    def header(self) -> np.dtype[Any]:
        """What a written state begins with."""
        return np.dtype(
            [
                ("version", "u1"),
                ("layout", "<u4"),
                ("pending", "<u4"),
                ("floor", "<i8"),
                ("tiles", "<u2", (len(self.series),)),
            ]
        )


def base(feature: Feature, window: timedelta | None) -> Series:
    """The series of tiles that a windowed operation is finished from.

    Examples
    --------
    >>> base(Feature("pay", "count"), timedelta(hours=1)).hop == span_micros(timedelta(minutes=5))
    True
    """
    parts = tuple(Part("" if what == "rows" else feature.value or "", what) for what in PARTS_OF[feature.op])
    group = (feature.event, feature.category or "", feature.category_value or "")
    if window is not None:
        return Series(*group, span_micros(hop(window)), (span_micros(window),), parts)
    # Days are counted over all history by remembering each of them.
    return Series(*group, DAY_MICROS if feature.op == "active_days" else 0, (), parts)


def lifetime(event: str) -> Series:
    """The single tile that says when a customer's events of a type began and ended, and how many they are."""
    return Series(event, "", "", 0, (), tuple(Part("", what) for what in _LIFETIME_PARTS))


def _series_of(feature: Feature) -> Iterator[Series]:
    if feature.op not in WINDOW_OPS:
        yield lifetime(feature.event)
        return
    yield base(feature, feature.window)
    if feature.over is not None:
        yield base(feature, feature.over)
