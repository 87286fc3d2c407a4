"""Events from Python become records of the log.

Enters: a mapping of names to Python's own values. Leaves: the customer's id and the bytes to append. Invariant:
what cannot be an event whatever the settings say (no type, no customer, no time that can be read) never reaches the
log, where it could only be set aside again; and nothing changes its meaning on the way: an id is the exact text of
a whole number, a number that is not finite is refused, and NaN is the absent value that pandas means by it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from tenure.core.errors import InputError
from tenure.source.instants import read_instant
from tenure.source.reading import WHITESPACE

__all__ = ["LARGEST", "render", "to_record"]

# As many bytes as a Kafka broker takes unless it is told otherwise.
LARGEST = 1_000_000
TIMES = ("time", "recorded")
IDS = ("customer_id", "id")


def render(event: Mapping[str, Any]) -> bytes:
    """The bytes of an event as the log keeps them.

    Parameters
    ----------
    event : mapping of str to object
        `type`, `customer_id` and `time`, further fields as the event's section names them. Times are ISO 8601 text,
        dates or datetimes; ids are text or whole numbers.

    Raises
    ------
    InputError
        It can be no event; the message says what is wrong with which field.

    Examples
    --------
    >>> render({"type": "visit", "customer_id": 7, "time": date(2026, 1, 31), "minutes": float("nan")})
    b'{"type":"visit","customer_id":"7","time":"2026-01-31","minutes":null}'
    """
    return to_record(event)[1]


def to_record(event: Mapping[str, Any]) -> tuple[str, bytes]:
    """The customer's id and the bytes of an event, as `EventLog.append` takes them.

    Raises
    ------
    InputError
        It can be no event; the message says what is wrong with which field.

    Examples
    --------
    >>> to_record({"type": "visit", "customer_id": "ada", "time": "2026-01-31T12:00:00Z"})
    ('ada', b'{"type":"visit","customer_id":"ada","time":"2026-01-31T12:00:00Z"}')
    """
    plain = {name: _plain(name, value) for name, value in event.items()}
    for name in ("type", "customer_id", "time"):
        value = plain.get(name)
        if not isinstance(value, str) or not value.strip(WHITESPACE):
            found = (
                f"{name} is {value!r}"
                if name in plain
                else f"it has no {name}, only {', '.join(map(str, plain)) or 'nothing'}"
            )
            raise InputError(
                f"This cannot be an event: {found}.",
                hint="An event needs type, customer_id and time; name its fields as tenure does.",
                field=name,
            )
    if "\0" in plain["customer_id"]:
        raise InputError("This cannot be an event: customer_id holds the character NUL.", field="customer_id")
    try:
        payload = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        torn = next((name for name, value in plain.items() if isinstance(value, str) and _is_torn(value)), None)
        where = "the name of a field" if torn is None else torn
        raise InputError(
            f"This cannot be an event: {where} holds half a character (a lone surrogate).", field=torn
        ) from None
    if len(payload) > LARGEST:
        raise InputError(f"This event has {len(payload):,} bytes; at most {LARGEST:,} are allowed.", hint="Shorten it.")
    return plain["customer_id"], payload


def _plain(name: str, value: Any) -> Any:
    """A value that JSON has."""
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # numpy's scalars
        value = value.item()
    if name in TIMES:
        return _time(name, value)
    if name in IDS:
        return _id(name, value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return _number(name, value)
    if value is None or isinstance(value, str | bool | int):
        return value
    raise _unfit(name, value, "Give a number, a text or None.")


def _number(name: str, value: float) -> float | None:
    if math.isinf(value):
        raise _unfit(name, value, "Give a finite number, or None.")
    return None if math.isnan(value) else value


def _time(name: str, value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - pandas' NaT is the one time that differs from itself
        return None
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or (text.strip(WHITESPACE) and read_instant(text, UTC) is None):
        raise _unfit(name, value, 'Write it as "2026-01-31T12:00:00Z", or give a datetime.')
    return text


def _id(name: str, value: Any) -> str | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)  # what pandas makes of whole numbers beside a missing one
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    raise _unfit(name, value, "Give a text or a whole number.")


def _is_torn(text: str) -> bool:
    return text.encode(errors="ignore") != text.encode(errors="surrogatepass")


def _unfit(name: str, value: Any, hint: str) -> InputError:
    return InputError(f"This cannot be an event: {name} is {value!r}.", hint=hint, field=name)
