"""States as bytes: what every store keeps of a customer.

Enters: states of many customers. Leaves: one compact byte string for each, and back.

A written state is a header (version, layout, floor, length of what is pending, number of tiles of every series), then
the tiles of each series without padding, then the pending events as JSON. Nothing in it can run code. Both directions
work on all customers at once: bytes are gathered and scattered by index, so that the cost of one more customer is that
of copying its tiles.

Invariant: `decode(layout, encode(states))` is `states`, and a state of another layout or version is refused, never read
as if it were of this one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.features.series import Layout, Series
from tenure.features.state import States, Tiles, empty

__all__ = ["VERSION", "decode", "encode"]

VERSION = 1
_ORIGIN = np.dtype([("version", "u1"), ("layout", "<u4")])  # every header begins with it
_MOST_TILES = np.iinfo(np.uint16).max


def encode(states: States) -> list[bytes]:
    """Write states, one byte string for each customer.

    Raises
    ------
    StateError
        A customer has more tiles in a series than can be written (65,535).

    Examples
    --------
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> layout = Layout.of(FeatureSet((Feature("pay", "count"),)))
    >>> [len(state) for state in encode(empty(layout, 2))]
    [19, 19]
    """
    layout, size = states.layout, states.size
    header = np.zeros(size, dtype=layout.header)
    header["version"], header["layout"], header["floor"] = VERSION, layout.tag, states.floor
    for place, tiles in enumerate(states.tiles):
        counts = np.bincount(tiles["owner"], minlength=size)
        if size and counts.max() > _MOST_TILES:
            raise StateError(
                f"A customer has {counts.max():,} tiles of event {layout.series[place].event!r}, and a state holds "
                f"{_MOST_TILES:,}.",
                hint="Shorten the longest window of that event.",
            )
        header["tiles"][:, place] = counts
    tails = {owner: _written(documents) for owner, documents in states.pending.items()}
    for owner, tail in tails.items():
        header["pending"][owner] = len(tail)
    return _scatter(layout, header, states.tiles, tails)


def decode(layout: Layout, written: Sequence[bytes | None]) -> States:
    """Read states; None stands for a customer without any.

    Raises
    ------
    StateError
        A state is damaged, or was written for other features or by another version.

    Examples
    --------
    >>> from tenure.features.declare import Feature, FeatureSet
    >>> layout = Layout.of(FeatureSet((Feature("pay", "count"),)))
    >>> decode(layout, [None, *encode(empty(layout, 1))]).size
    2
    """
    blank = encode(empty(layout, 1))[0] if None in written else b""
    parts = [blank if state is None else state for state in written]
    if not parts:
        return empty(layout, 0)
    lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    joined = np.frombuffer(b"".join(parts), dtype=np.uint8)
    starts = np.cumsum(lengths) - lengths
    header = _header(layout, joined, starts, lengths)
    tiles, at = [], starts + layout.header.itemsize
    for place, series in enumerate(layout.series):
        counts = header["tiles"][:, place].astype(np.int64)
        tiles.append(_gather(joined, at, counts, series))
        at = at + counts * series.dtype.itemsize
    pending = {
        int(owner): _read(joined[at[owner] : at[owner] + header["pending"][owner]].tobytes())
        for owner in np.flatnonzero(header["pending"])
    }
    return States(layout, len(parts), tuple(tiles), header["floor"].astype(np.int64), pending)


def _damaged() -> StateError:
    return StateError("A stored state is damaged.", hint="Run `tenure stream rebuild`.")


def _header(
    layout: Layout, joined: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
    if lengths.min() < _ORIGIN.itemsize:
        raise _damaged()
    origin = _rows(joined, starts, _ORIGIN)
    if (origin["version"] != VERSION).any() or (origin["layout"] != layout.tag).any():
        raise StateError(
            "A stored state was written for other features, or by another version of tenure.",
            hint="Run `tenure stream rebuild`.",
        )
    if lengths.min() < layout.header.itemsize:
        raise _damaged()
    header = _rows(joined, starts, layout.header)
    if (_lengths(layout, header) != lengths).any():
        raise _damaged()
    return header


def _lengths(layout: Layout, header: NDArray[Any]) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = header["tiles"].astype(np.int64) @ layout.widths + layout.header.itemsize
    lengths += header["pending"]
    return lengths


def _rows(joined: NDArray[np.uint8], at: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Records of one type that begin at the given bytes."""
    width = dtype.itemsize
    if len(at) == 1:
        return np.frombuffer(joined, dtype=dtype, count=1, offset=int(at[0]))
    if not width:
        return np.zeros(len(at), dtype=dtype)
    gathered: NDArray[Any] = sliding_window_view(joined, width)[at] if len(at) else joined[:0]
    return gathered.view(dtype).reshape(-1)


def _gather(joined: NDArray[np.uint8], at: NDArray[np.int64], counts: NDArray[np.int64], series: Series) -> Tiles:
    total = int(counts.sum())
    if len(counts) == 1:
        records = np.frombuffer(joined, dtype=series.dtype, count=total, offset=int(at[0]))
        owner = np.zeros(total, dtype=np.int64)
    else:
        owner = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        records = _rows(joined, at[owner] + within * series.dtype.itemsize, series.dtype)
    number = records["tile"].astype(np.int64) if series.hop else np.zeros(total, dtype=np.int64)
    parts = {
        part.name: records[part.name].astype(np.float64 if part.dtype == "<f8" else np.int64) for part in series.parts
    }
    return {"owner": owner, "tile": number, **parts}


def _scatter(layout: Layout, header: NDArray[Any], tiles: Sequence[Tiles], tails: Mapping[int, bytes]) -> list[bytes]:
    counts = header["tiles"].astype(np.int64)
    lengths = _lengths(layout, header)
    starts = np.cumsum(lengths) - lengths
    joined = np.zeros(int(lengths.sum()), dtype=np.uint8)
    _put(joined, starts, header)
    at = starts + layout.header.itemsize
    for place, series in enumerate(layout.series):
        mine, own = tiles[place], counts[:, place]
        within = np.arange(len(mine["owner"])) - np.repeat(np.cumsum(own) - own, own)
        _put(joined, at[mine["owner"]] + within * layout.widths[place], _records(series, mine))
        at = at + own * layout.widths[place]
    for owner, tail in tails.items():
        joined[at[owner] : at[owner] + len(tail)] = np.frombuffer(tail, dtype=np.uint8)
    whole = joined.tobytes()
    ends = [*starts.tolist(), len(whole)]
    return [whole[begin:end] for begin, end in itertools.pairwise(ends)]


def _records(series: Series, tiles: Tiles) -> NDArray[Any]:
    records = np.empty(len(tiles["owner"]), dtype=series.dtype)
    if series.hop:
        records["tile"] = tiles["tile"]
    for part in series.parts:
        records[part.name] = tiles[part.name]
    return records


def _put(joined: NDArray[np.uint8], at: NDArray[np.int64], records: NDArray[Any]) -> None:
    width = records.dtype.itemsize
    if width and len(records):
        sliding_window_view(joined, width, writeable=True)[at] = records.view(np.uint8).reshape(-1, width)


def _written(documents: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(documents) + b"]"


def _read(tail: bytes) -> tuple[bytes, ...]:
    try:
        entries = json.loads(tail)
    except ValueError:
        raise _damaged() from None
    return tuple(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() for entry in entries)
