"""One posted document becomes a record, or a refusal in the words of the contract.

Enters: a value as it was parsed. Leaves: a record to be judged like any other, or why there is none. Invariant: what
would pass for something else, or be of no use later, is refused: a number that is not finite is no missing number, one
that is too large for a model makes no feature, and an id that no path of the API could name is no id.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from tenure.serve.wire import LARGEST, CustomerId
from tenure.source.record_files import Record, Unfit, as_record

__all__ = ["as_posted"]

_ROLES = {"customer_id": "customer", "id": "id"}
_id = TypeAdapter(CustomerId)


def as_posted(document: object) -> Record | Unfit:
    """The record of one document of a request.

    Parameters
    ----------
    document : object
        Parsed JSON.

    Examples
    --------
    >>> as_posted({"type": "visit", "customer_id": "ada", "time": "2026-01-31", "minutes": float("nan")}).reason
    'minutes is not finite'
    >>> as_posted({"type": "visit", "customer_id": "a/../b", "time": "2026-01-31"}).reason
    'unreadable customer'
    """
    if isinstance(document, Mapping):
        for name, value in document.items():
            unfit = _unfit_value(name, value) or (_unfit_id(name, value) if name in _ROLES else None)
            if unfit is not None:
                return unfit
    return as_record(document)


def _unfit_value(name: str, value: object) -> Unfit | None:
    """Why no field can have this value; asked before it is written anywhere, since Python writes no endless numbers."""
    if isinstance(value, list | dict):
        return Unfit(f"{name} is {'a list' if isinstance(value, list) else 'an object'}.", reason=f"unreadable {name}")
    if not isinstance(value, int | float) or abs(value) <= LARGEST:
        return None
    if abs(value) <= sys.float_info.max:
        return Unfit(f"{name} is beyond {LARGEST:.2g}, which no model can use.", reason=f"{name} out of range")
    return Unfit(f"{name} is no number, or larger than any.", reason=f"{name} is not finite")


def _unfit_id(name: str, value: object) -> Unfit | None:
    if value is not None and not isinstance(value, str):  # files may hold numbers; here 7 and "7" would be one customer
        return Unfit(f"{name} is no text.", reason=f"unreadable {_ROLES[name]}")
    if value is None or not value.strip() or (len(value) <= 200 and value.isascii() and value.isalnum()):
        return None
    try:
        _id.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        role = _ROLES[name]
        reason = f"{role} is too long" if first["type"] == "string_too_long" else f"unreadable {role}"
        return Unfit(f"{name}: {first['msg']}.", reason=reason)
    return None
