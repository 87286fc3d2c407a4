r"""Times in text, thousands at once: ISO 8601 to microseconds since 1970.

Enters: texts. Leaves: whole numbers, and which texts could be read. Invariant: one grammar (`FORM`) judges one text
and many. It is the part of what tables may hold (`tenure.source.reading`) that ISO 8601 allows, with the same
meanings: a time without an offset is read in the project's zone, the earlier of two where clocks go back; digits
after the sixth of a second are dropped.

Many texts are read through their shape. `2026-01-31T12:00:00Z` and `2025-12-01T08:15:30Z` become the same shape
when every digit becomes a zero; the shape is matched against the grammar once, which says where its parts stand in
all texts that have it, and the parts of all of them are computed as columns of digits.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tenure.core.time import DAY_MICROS, span_micros
from tenure.source.reading import WHITESPACE, clock_changes

__all__ = ["read_instant", "read_instants"]

FORM = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<offset>Z|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)?)?"
)
SHORTEST, LONGEST = 10, 36
SHAPES = 16  # of one length; texts of further ones are read one by one
# Days since 1970 between which it is known on which ones a zone's clocks change: 1970 and 2099, and a bit to spare.
FIRST_DAY, LAST_DAY = 2, 47_000
_LOCAL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is subtracted from it has no zone either

ZERO = np.uint8(ord("0"))

Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def read_instant(text: str, zone: tzinfo) -> int | None:
    """Microseconds since 1970 in UTC; None where the text is no time.

    Examples
    --------
    >>> read_instant("1970-01-01T00:00:01.5Z", UTC), read_instant("1970-01-01 01:00+01:00", UTC)
    (1500000, 0)
    >>> read_instant("1970-02-30", UTC) is None
    True
    """
    match = FORM.fullmatch(text) or FORM.fullmatch(text.strip(WHITESPACE))
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset, sign, hours, minutes = match.groups("0")
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))  # noqa: DTZ001 - below
    except ValueError:
        return None
    passed = local - _LOCAL_EPOCH
    since = (passed.days * 86_400 + passed.seconds) * 1_000_000 + int(fraction.ljust(6, "0")[:6])
    if offset == "Z":
        return since
    if offset == "0":
        ahead = local.replace(tzinfo=zone).utcoffset() or timedelta(0)
        return since - span_micros(ahead)
    if int(hours) > 23 or int(minutes) > 59:
        return None
    return since - (-60 if sign == "-" else 60) * (int(hours) * 60 + int(minutes)) * 1_000_000


def read_instants(texts: pa.StringArray, zone: tzinfo) -> tuple[Longs, npt.NDArray[np.bool_]]:
    """Microseconds since 1970 in UTC, and which texts were read at once.

    Parameters
    ----------
    texts : StringArray, shape (n,)
        Times; null where there is none.
    zone : tzinfo
        Where times without an offset happened.

    Returns
    -------
    micros : int64 array, shape (n,)
        0 where nothing was read.
    read : bool array, shape (n,)
        False where there was no time, or one that only `read_instant` may understand.

    Examples
    --------
    >>> micros, read = read_instants(pa.array(["1970-01-01", "1970-01-01T00:00:01Z", "soon", None]), UTC)
    >>> micros.tolist(), read.tolist()
    ([0, 1000000, 0, 0], [True, True, False, False])
    """
    count = len(texts)
    micros, read = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    local = np.zeros(count, dtype=bool)
    lengths = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
    for length in np.unique(lengths[(lengths >= SHORTEST) & (lengths <= LONGEST)]).tolist():
        left = np.flatnonzero(lengths == length)
        characters = _characters(texts, left, length)
        shapes = np.where(characters - ZERO < 10, ZERO, characters)  # what lies before zero wraps around
        for _ in range(SHAPES):
            if not len(left):
                break
            alike = (shapes == shapes[:, :1]).all(axis=0)
            match = FORM.fullmatch(shapes[:, 0].tobytes().decode("latin-1"))
            if match is not None:
                rows = left[alike]
                micros[rows], read[rows] = _compute(characters[:, alike], match)
                local[rows] = match["offset"] is None
            left, characters, shapes = left[~alike], characters[:, ~alike], shapes[:, ~alike]
    if zone is not UTC:
        _to_utc(micros, read, local, zone)
    micros[~read] = 0
    return micros, read


def _characters(texts: pa.StringArray, rows: npt.NDArray[np.intp], length: int) -> Bytes:
    """The bytes of texts that all have one length, a column each: what is computed is computed along rows."""
    _, starts, data = texts.buffers()
    offsets = np.frombuffer(starts, dtype=np.int32)[texts.offset : texts.offset + len(texts)][rows]
    characters = np.frombuffer(data, dtype=np.uint8)
    return np.stack([characters[offsets + place] for place in range(length)])


def _compute(characters: Bytes, match: re.Match[str]) -> tuple[Longs, npt.NDArray[np.bool_]]:
    """The microseconds that texts of one shape mean, and whether each is a time that there is."""
    nothing = np.zeros(characters.shape[1], dtype=np.int32)

    def number(name: str, digits: int = 9) -> npt.NDArray[np.int32]:
        start, end = match.span(name)
        total = nothing
        for place in range(start, min(end, start + digits)):
            total = total * 10 + (characters[place] - ZERO)
        return total

    year, month, day = number("year"), number("month"), number("day")
    hour, minute, second = number("hour"), number("minute"), number("second")
    hours, minutes = number("hours"), number("minutes")
    months = ((year - 1970) * 12 + month - 1).astype(np.int64).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    exists = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)
    exists &= (hour <= 23) & (minute <= 59) & (second <= 59) & (hours <= 23) & (minutes <= 59)
    start, end = match.span("fraction")
    fraction = number("fraction", 6) * 10 ** max(0, 6 - (end - start))
    ahead = (-60 if match["sign"] == "-" else 60) * (hours * 60 + minutes)
    seconds = days.astype(np.int64) * 86_400 + hour * 3_600 + minute * 60 + second - ahead
    return seconds * 1_000_000 + fraction, exists


def _to_utc(micros: Longs, read: npt.NDArray[np.bool_], local: npt.NDArray[np.bool_], zone: tzinfo) -> None:
    """Read local times in a zone; leave those unread that lie in a day on which its clocks may change."""
    rows = np.flatnonzero(read & local)
    days, of = np.unique(micros[rows] // DAY_MICROS, return_inverse=True)
    steady, ahead = np.zeros(len(days), dtype=bool), np.zeros(len(days), dtype=np.int64)
    changes = clock_changes(zone)
    for n, day in enumerate(days.tolist()):
        if FIRST_DAY < day < LAST_DAY:
            noon = _LOCAL_EPOCH + timedelta(days=day, hours=12)
            steady[n] = noon.date() not in changes
            ahead[n] = span_micros(noon.replace(tzinfo=zone).utcoffset() or timedelta(0))
    micros[rows] -= ahead[of]
    read[rows] = steady[of]
