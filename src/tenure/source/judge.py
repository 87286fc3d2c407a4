"""One record, judged.

Enters: the bytes of a record. Leaves: the event that they mean, or the first reason against it, with what was
found. Invariant: the verdict depends on the bytes, the time at which the log took them and the settings alone;
judged again, anywhere and whenever, it is the same. That is why the depth of nesting has a limit of its own:
Python's depends on who calls.

This is the meaning of a record. `tenure.source.columns` reads many at once, but only those that are beyond doubt.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple

from tenure.core.time import span_micros, to_micros
from tenure.source.event_schema import LONGEST_ID_BYTES, NEVER, EventSchema
from tenure.source.fields import EARLIEST, TOLERANCE
from tenure.source.instants import read_instant
from tenure.source.reading import WHITESPACE

__all__ = ["DEEPEST", "EARLIEST_MICROS", "TOLERANCE_MICROS", "Event", "Rejected", "Rules", "judge", "read_document"]

DEEPEST = 64
EARLIEST_MICROS = to_micros(EARLIEST)
TOLERANCE_MICROS = span_micros(TOLERANCE)
SHOWN = 80

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[\]{}]', re.DOTALL)
# Objects become tuples of pairs, so that a name given twice is seen and no list passes for an object. Every number is a
# float, which has no limit of digits.
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=float)


class Rejected(Exception):  # noqa: N818 - a verdict about one record, caught one call away
    """Why a record is no event."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Rules:
    """What records of one batch are held to; `home` tells a customer's partition where that is to be checked."""

    schemas: Mapping[str, EventSchema]
    zone: tzinfo
    partition: int = 0
    home: Callable[[str], int] | None = None


class Event(NamedTuple):
    """An event: times in microseconds UTC, values and categories in the order of its schema."""

    schema: EventSchema
    customer_id: str
    time: int
    recorded: int
    id: str | None
    values: tuple[float, ...]
    categories: tuple[str | None, ...]


def judge(payload: bytes, appended: int, rules: Rules) -> Event:
    """Read one record.

    Parameters
    ----------
    payload : bytes
        The record.
    appended : int
        When the log took it, microseconds UTC.
    rules : Rules
        What it is held to.

    Raises
    ------
    Rejected
        It is no event, with the first reason.

    Examples
    --------
    >>> from datetime import UTC
    >>> rules = Rules({"login": EventSchema("login")}, UTC)
    >>> event = judge(b'{"type": "login", "customer_id": "ada", "time": "1971-01-01"}', 10**15, rules)
    >>> event.customer_id, event.time
    ('ada', 31536000000000)
    """
    pairs = read_document(payload)
    document = dict(pairs)
    schema = _schema(document, rules.schemas)
    if len(document) != len(pairs):
        _refuse_repeated([name for name, _ in pairs], schema)
    customer = _identity(document, "customer_id", "customer")
    time = _time(document, "time", "time", appended, rules.zone)
    if time == NEVER:
        raise Rejected("missing time", _shown(document.get("time")))
    recorded = _time(document, "recorded", "recorded time", appended, rules.zone)
    event_id = _identity(document, "id", "id") if schema.needs_id else None
    values = tuple([_number(document.get(name), name) for name in schema.values])
    categories = tuple([_text(document.get(name), name) for name in schema.categories])
    if rules.home is not None and (home := rules.home(customer)) != rules.partition:
        raise Rejected("wrong partition", f"{_shown(customer)} belongs to partition {home}")
    return Event(schema, customer, time, recorded, event_id, values, categories)


def read_document(payload: bytes) -> tuple[tuple[str, Any], ...]:
    """Read a JSON object as pairs of names and contents; objects inside are such tuples, too.

    Raises
    ------
    Rejected
        The bytes are no JSON object in UTF-8, or nested more than 64 deep.

    Examples
    --------
    >>> read_document(b'{"a": 1, "a": {"b": null}}')
    (('a', 1.0), ('a', (('b', None),)))
    """
    if payload.count(b"{") + payload.count(b"[") > DEEPEST and _too_deep(payload):
        raise Rejected("malformed event", f"nested more than {DEEPEST} deep")
    try:
        document = _DECODER.decode(payload.decode())
    except UnicodeDecodeError as error:
        raise Rejected("malformed event", f"not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise Rejected("malformed event", f"not JSON: {error}") from None
    if not isinstance(document, tuple):
        raise Rejected("malformed event", f"not an object: {_shown(document)}")
    return document


def _too_deep(payload: bytes) -> bool:
    depth = 0
    for token in _TOKEN.finditer(payload):
        opens = token[0] in {b"{", b"["}
        depth += 1 if opens else -1 if token[0] in {b"}", b"]"} else 0
        if depth > DEEPEST:
            return True
    return False


def _schema(document: Mapping[str, Any], schemas: Mapping[str, EventSchema]) -> EventSchema:
    name = document.get("type")
    if name is None:
        raise Rejected("missing type")
    schema = schemas.get(name) if isinstance(name, str) else None
    if schema is None:
        raise Rejected("unknown type", _shown(name))
    return schema


def _refuse_repeated(names: list[str], schema: EventSchema) -> None:
    repeated = [name for name in schema.fields if names.count(name) > 1]
    if repeated:
        raise Rejected("malformed event", f"{', '.join(repeated)} given twice")


def _identity(document: Mapping[str, Any], name: str, role: str) -> str:
    value = document.get(name)
    text = _text(value, role)
    if text is None or not text.strip(WHITESPACE):
        raise Rejected(f"missing {role}", _shown(value))
    if "\0" in text:  # no database keeps such a text
        raise Rejected(f"unreadable {role}", _shown(value))
    if len(text.encode()) > LONGEST_ID_BYTES:
        raise Rejected(f"{role} is too long", _shown(value))
    return text


def _text(value: Any, role: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Rejected(f"{role} is not text", _shown(value))
    if not value.isascii() and not _encodable(value):
        raise Rejected(f"unreadable {role}", _shown(value))
    return value


def _encodable(text: str) -> bool:
    """False where half of a surrogate pair stands alone: JSON can write that, but it is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time(document: Mapping[str, Any], name: str, role: str, appended: int, zone: tzinfo) -> int:
    value = document.get(name)
    if value is None or (isinstance(value, str) and not value.strip(WHITESPACE)):
        return NEVER
    micros = read_instant(value, zone) if isinstance(value, str) else None
    if micros is None:
        raise Rejected(f"unreadable {role}", _shown(value))
    if micros < EARLIEST_MICROS:
        raise Rejected(f"{role} out of range", _shown(value))
    if micros > appended + TOLERANCE_MICROS:
        raise Rejected(f"{role} in the future", _shown(value))
    return micros


def _number(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, float):
        raise Rejected(f"{name} is not a number", _shown(value))
    if not math.isfinite(value):
        raise Rejected(f"{name} is not finite", _shown(value))
    return value


def _shown(value: Any) -> str:
    """What was found, short and in ASCII, as JSON has it."""
    text = json.dumps(value) if not isinstance(value, str) else json.dumps(value[:SHOWN])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
