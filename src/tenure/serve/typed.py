"""A request's path, query and body as typed values, and an error that names the part that is wrong.

Enters: what the server parsed of a request line, and the bytes of a body. Leaves: a model of `serve/wire.py`.
Invariant: whatever does not fit is refused with its place as a JSON path (`requests[3].features.visits`), a key that is
not known with the nearest one that is, and a key that is said twice is refused and not decided by which comes last.

Why not FastAPI's own parameters: they cost 30 to 75 microseconds a request, a third of what a request costs at all.
The description of the API is made from the same models (`serve/describe.py`), and a test holds answers against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import numpy as np
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json

from tenure.core.errors import InputError, did_you_mean
from tenure.serve.describe import models_in
from tenure.serve.gate import admitted
from tenure.serve.wire import CustomerPath

__all__ = ["MalformedError", "check", "field_path", "read_body", "read_id", "read_query", "refuse_query"]

M = TypeVar("M", bound=BaseModel)
BODY = "body"  # the place of what is wrong with a body as a whole
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NESTED = frozenset({dict, list})
_QUOTE, _COLON, _BLANK = *b'":', *b" "  # every other blank of JSON is a smaller byte
_REMEMBERED = 512  # queries; a service is asked in few ways
_LONGEST_QUERY = 1_024
_LONGEST_NAME = 200  # as much of a name is repeated
_WORDS = {
    "missing": "is missing",
    "too_long": "has {actual_length:,} items, and at most {max_length:,} are taken",
    "too_short": "is empty",
    "string_too_long": "has more than {max_length:,} characters",
    "string_too_short": "is empty",
    "string_type": "should be text",
    "list_type": "should be a list",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
}
"""What is said in place of pydantic's own words, by the type of its error."""
_MANY = 100  # so many things that are wrong are listed in a millisecond


class MalformedError(InputError):
    """A body that is no JSON at all (status 400): there is no field to name."""

    code = "malformed"


def field_path(places: Sequence[str | int], *, within: str = "") -> str:
    """The place of a value inside a document, as a JSON path without its leading `$.`.

    Parameters
    ----------
    places : sequence of str or int
        Keys and indexes from the outside in.
    within : str
        The path that they start from.

    Returns
    -------
    str
        For example `requests[3].features.visits`; a name that is no plain word is quoted.

    Examples
    --------
    >>> field_path(["requests", 3, "features", "total spend"])
    'requests[3].features["total spend"]'
    """
    path = within
    for place in places:
        if isinstance(place, int):
            path += f"[{place}]"
        elif len(place) <= _LONGEST_NAME and _PLAIN_NAME.match(place):
            path += f".{place}" if path else place
        else:
            path += f"[{json.dumps(place[:_LONGEST_NAME], ensure_ascii=False)}]"
    return path


def check(model: type[M], value: Any, *, within: str = "") -> M:
    """Make a model of a parsed value, or say what is wrong with it.

    Parameters
    ----------
    model : type
        A pydantic model.
    value : object
        Parsed JSON, or a mapping of strings.
    within : str
        Where in the request the value stands, for example `requests[3]`.

    Raises
    ------
    InputError
        It does not fit; `field` is the place of the first thing that is wrong.

    Examples
    --------
    >>> from tenure.serve.wire import ScoreQuery
    >>> check(ScoreQuery, {"mode": "batch"}).mode
    'batch'
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refusal(model, _first_of(model, error, value), error.error_count(), within) from None


def _first_of(model: type[BaseModel], error: ValidationError, value: Any) -> ErrorDetails:
    """The first thing that is wrong with a value."""
    if error.error_count() > _MANY and isinstance(value, dict):
        # Only keys that are not known can be so many, and a list of all that a body holds takes a quarter of a second.
        for name in value:
            if name not in model.model_fields:
                return {"type": "extra_forbidden", "loc": (name,), "msg": "", "input": None}
    return error.errors(include_url=False, include_input=False)[0]


def _refusal(model: type[BaseModel], first: ErrorDetails, count: int, within: str) -> InputError:
    context = first.get("ctx") or {}
    places = [*first["loc"], *([context["at"]] if "at" in context else [])]
    field = field_path(places, within=within) or BODY
    more = f" ({count - 1:,} more are wrong.)" if count > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, first["loc"][:-1])
        hint = did_you_mean(str(places[-1])[:_LONGEST_NAME], known) if known else "Leave it out."
        return InputError(f"`{field}` is not known here.{more}", hint=hint, field=field)
    return InputError(f"`{field}` {_words(first)}.{more}", field=field)


def _words(detail: ErrorDetails) -> str:
    """What is wrong, as the end of a sentence that begins with the place."""
    words = _WORDS.get(detail["type"])
    if words is not None:
        return words.format(**detail.get("ctx", {}))
    text = detail["msg"].rstrip(".").replace("Input should", "should")
    return text[:1].lower() + text[1:]


def _known_keys(model: type[BaseModel], places: Sequence[str | int]) -> list[str]:
    """The keys of the object at a place of a model's document."""
    for place in places:
        if isinstance(place, str) and place in model.model_fields:
            model = next(iter(models_in(model.model_fields[place].annotation)), model)
    return list(model.model_fields)


def read_query(model: type[M], request: Request) -> M:
    """The query of a request; the same query of another request is not parsed again.

    Raises
    ------
    InputError
        A parameter is not known, said twice, or has a value that it cannot have.
    """
    query: bytes = request.scope["query_string"]
    if len(query) > _LONGEST_QUERY:
        return _parse_query(model, query)
    found: M = _query(model, query)
    return found


def _parse_query(model: type[M], query: bytes) -> M:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise InputError("`query` is not percent-encoded UTF-8, or has over 100 parameters.", field="query") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            field = field_path([name])
            raise InputError(f"`{field}` is given twice.", hint="Give it once.", field=field)
        values[name] = value
    return check(model, values)


@lru_cache(maxsize=_REMEMBERED)
def _query(model: type[M], query: bytes) -> M:
    return _parse_query(model, query)


def refuse_query(request: Request) -> None:
    """Refuse a query where none is read.

    Raises
    ------
    InputError
        There is one.
    """
    if request.scope["query_string"]:
        read_query(_NoQuery, request)


class _NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")


def read_id(request: Request) -> str:
    """The customer's id out of the path `…/{customer_id}`.

    Raises
    ------
    InputError
        It is not UTF-8, too long, or holds characters that no id may hold.
    """
    customer_id: str = request.scope["path_params"]["customer_id"]
    if customer_id.isascii() and customer_id.isalnum() and len(customer_id) <= 200:
        return customer_id
    return check(CustomerPath, {"customer_id": customer_id}).customer_id


def read_body(model: type[M], request: Request) -> M:
    """The body of a request, which the gate has read.

    Raises
    ------
    MalformedError
        It is no JSON, or not UTF-8.
    InputError
        It is JSON that does not fit, or says a key twice; or there is a query, which would be a wish that nobody reads.
    """
    refuse_query(request)
    return parse(model, admitted(request.scope).body)


def parse(model: type[M], body: bytes) -> M:
    """JSON as a model, in which no key was said twice.

    Parameters
    ----------
    model : type
        A pydantic model.
    body : bytes
        UTF-8.

    Raises
    ------
    MalformedError
        It is no JSON, or not UTF-8.
    InputError
        It is JSON that does not fit, or says a key twice.

    Examples
    --------
    >>> from tenure.serve.wire import ScoreRequest
    >>> parse(ScoreRequest, b'{"customer_id": "c1"}').customer_id
    'c1'
    >>> parse(ScoreRequest, b'{"features": {"age": 1, "age": 2}}')
    Traceback (most recent call last):
    ...
    tenure.core.errors.InputError: `features.age` is given twice.
    → Give it once.
    """
    try:
        read = model.model_validate_json(body)
    except ValidationError as error:
        count = error.error_count()
        first = _first_of(model, error, from_json(body) if count > _MANY else None)
        if first["type"] == "json_invalid":
            raise MalformedError(f"The body is no JSON: {_words(first)[:200]}.", field=BODY) from None
        raise _refusal(model, first, count, "") from None
    # A member of an object has one colon, and a text may hold more: as many colons as members means no key was lost.
    members = len(read.model_fields_set) + sum(map(_members, vars(read).values()))
    if body.count(b":") != members and _colons_after_keys(body) != members:
        _refuse_doubles(body)
    return read


def _colons_after_keys(body: bytes) -> int:
    """How many colons of a JSON object may follow a key: all that do, and those of texts that look the same.

    A key ends in a quotation mark, and blanks may come before the colon. In a time of day or an address a colon follows
    something else, so that bodies with such texts need not be parsed a second time.
    """
    signs = np.frombuffer(body, np.uint8)
    before = signs[np.flatnonzero(signs == _COLON) - 1]
    return int(np.count_nonzero((before == _QUOTE) | (before <= _BLANK)))


def _members(value: Any) -> int:
    """How many members all objects in a document have."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return 0
    count, inner = (len(value), value.values()) if kind is dict else (0, value)
    if _NESTED.isdisjoint(map(type, inner)):  # most objects are flat, and a loop costs four times as much
        return count
    return count + sum(map(_members, inner))


class _Twice:
    """Stands for an object that has a key twice."""

    def __init__(self, key: str) -> None:
        self.key = key


def _refuse_doubles(body: bytes) -> None:
    """Parse once more, slowly, and refuse an object that has a key twice."""

    def noted(pairs: list[tuple[str, Any]]) -> Any:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                return _Twice(key)
            seen.add(key)
        return dict(pairs)

    places = _first_double(json.loads(body, object_pairs_hook=noted))
    if places is not None:
        field = field_path(places)
        raise InputError(f"`{field}` is given twice.", hint="Give it once.", field=field)


def _first_double(value: Any) -> list[str | int] | None:
    """Where the first key that is said twice stands."""
    if isinstance(value, _Twice):
        return [value.key]
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, item in inner:
        found = _first_double(item)
        if found is not None:
            return [place, *found]
    return None
