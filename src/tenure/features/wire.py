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
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.features.series import Layout, Series
from tenure.features.state import States, Tiles, empty

__all__ = ["VERSION", "decode", "encode"]

VERSION = 1
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
    _refuse_foreign(layout, parts)
    lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    joined = np.frombuffer(b"".join(parts), dtype=np.uint8)
    starts = np.cumsum(lengths) - lengths
    header = _header(layout, joined, starts, lengths)
    counts, at = _places(layout, header, starts)
    tiles = tuple(_gather(joined, at[place], counts[place], series) for place, series in enumerate(layout.series))
    pending = {
        int(owner): _read(joined[at[-1, owner] :][: header["pending"][owner]].tobytes())
        for owner in header["pending"].nonzero()[0]
    }
    return States(layout, len(parts), tiles, header["floor"].astype(np.int64), pending)


def _damaged() -> StateError:
    return StateError("A stored state is damaged.", hint="Run `tenure stream rebuild`.")


def _refuse_foreign(layout: Layout, parts: Sequence[bytes]) -> None:
    origin = VERSION.to_bytes(1, "little") + layout.tag.to_bytes(4, "little")  # every header begins with it
    if all(part.startswith(origin) for part in parts):
        return
    if min(map(len, parts)) < len(origin):
        raise _damaged()
    raise StateError(
        "A stored state was written for other features, or by another version of tenure.",
        hint="Run `tenure stream rebuild`.",
    )


def _header(
    layout: Layout, joined: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
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


def _places(
    layout: Layout, header: NDArray[Any], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """By series and customer how many tiles there are, and where they begin; and, last, where what is pending does."""
    counts = header["tiles"].T.astype(np.int64, order="C")
    at = np.empty((len(layout.series) + 1, len(starts)), dtype=np.int64)
    at[0] = starts + layout.header.itemsize
    at[1:] = counts * layout.widths[:, None]
    return counts, np.cumsum(at, axis=0, out=at)


def _window(joined: NDArray[np.uint8], width: int) -> NDArray[np.void]:
    """Every run of so many bytes, as items that are copied as a whole: several times as fast as copying fields."""
    return np.ndarray((max(len(joined) - width + 1, 0),), np.dtype((np.void, width)), joined, strides=(1,))


def _rows(joined: NDArray[np.uint8], at: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Records of one type that begin at the given bytes."""
    if len(at) == 1:
        return np.frombuffer(joined, dtype=dtype, count=1, offset=int(at[0]))
    if not dtype.itemsize:
        return np.zeros(len(at), dtype=dtype)
    gathered: NDArray[Any] = _window(joined, dtype.itemsize)[at].view(dtype)
    return gathered


def _gather(joined: NDArray[np.uint8], at: NDArray[np.int64], counts: NDArray[np.int64], series: Series) -> Tiles:
    if len(counts) == 1:
        total = int(counts[0])
        records = np.frombuffer(joined, dtype=series.dtype, count=total, offset=int(at[0]))
        owner = np.zeros(total, dtype=np.int64)
    else:
        owner, starts = _spread(at, counts, series.dtype.itemsize)
        total, records = len(owner), _rows(joined, starts, series.dtype)
    number = records["tile"].astype(np.int64) if series.hop else np.zeros(total, dtype=np.int64)
    tiles = {"owner": owner, "tile": number}
    for name, held_as in series.columns:
        tiles[name] = records[name].astype(held_as)
    return tiles


def _spread(
    at: NDArray[np.int64], counts: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The customer of every tile, and where it begins, from where and how many those of each customer are."""
    owner = np.repeat(np.arange(len(counts)), counts)
    first = at - (np.cumsum(counts) - counts) * width
    return owner, first[owner] + np.arange(len(owner)) * width


def _scatter(layout: Layout, header: NDArray[Any], tiles: Sequence[Tiles], tails: Mapping[int, bytes]) -> list[bytes]:
    lengths = _lengths(layout, header)
    starts = np.cumsum(lengths) - lengths
    joined = np.zeros(int(lengths.sum()), dtype=np.uint8)
    _put(joined, starts, header)
    counts, at = _places(layout, header, starts)
    for place, series in enumerate(layout.series):
        _, begins = _spread(at[place], counts[place], series.dtype.itemsize)
        _put(joined, begins, _records(series, tiles[place]))
    for owner, tail in tails.items():
        joined[at[-1, owner] : at[-1, owner] + len(tail)] = np.frombuffer(tail, dtype=np.uint8)
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
        _window(joined, width)[at] = records.view(np.dtype((np.void, width)))


def _written(documents: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(documents) + b"]"


def _read(tail: bytes) -> tuple[bytes, ...]:
    try:
        entries = json.loads(tail)
    except ValueError:
        raise _damaged() from None
    return tuple(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() for entry in entries)
