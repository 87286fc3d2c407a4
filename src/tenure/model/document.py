"""JSON documents of a version: written in one way, read strictly.

Enters: plain values, or the bytes of a document that somebody may have changed. Leaves: canonical bytes, or values
whose type was checked. Invariant: what does not have exactly the expected keys and types is refused with the place and
the reason as `ArtifactError`; no other exception escapes, however deep, large or malformed the bytes are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from tenure.core.errors import ArtifactError, InputError
from tenure.core.time import format_instant, parse_instant

__all__ = ["build", "build_record", "canonical", "digest", "parse", "plain", "read_file", "refused", "write_file"]

Record = TypeVar("Record")
_KINDS: dict[type, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "an object",
}  # fmt: skip


def refused(reason: str, **ids: object) -> ArtifactError:
    """Build the error of a version that may not be used.

    Examples
    --------
    >>> print(refused("The file 'model.ubj' is missing.", file="model.ubj"))
    The file 'model.ubj' is missing.
    → Restore the version's folder from a copy, or train again; a version cannot be repaired by hand.
    """
    hint = "Restore the version's folder from a copy, or train again; a version cannot be repaired by hand."
    return ArtifactError(reason, hint=hint, **ids)


def canonical(document: Mapping[str, Any]) -> bytes:
    r"""Write a document in the one form that a version uses: sorted keys, two spaces, ASCII, no NaN.

    Examples
    --------
    >>> canonical({"b": 1, "a": "ö"})
    b'{\n  "a": "\\u00f6",\n  "b": 1\n}\n'
    """
    try:
        return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("ascii")
    except RecursionError:
        raise refused("A document of the version is nested too deeply.") from None
    except ValueError as error:
        raise refused(f"A document of the version holds what JSON cannot: {error}.") from None


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document's canonical bytes, in hexadecimal.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical(document)).hexdigest()


def parse(data: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    data : bytes
        The document, UTF-8.
    where : str
        How messages call it, for example `manifest.json`.

    Raises
    ------
    ArtifactError
        The bytes are not one JSON object, name a key twice, or hold NaN or an infinity.

    Examples
    --------
    >>> parse(b'{"a": 1}', "a.json")
    {'a': 1}
    """
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise refused(f"{where} is nested too deeply.", file=where) from None
    except ValueError as error:
        raise refused(f"{where} is not a JSON document: {error}.", file=where) from None
    if not isinstance(document, dict):
        raise refused(f"{where} is not a JSON object but {_kind(document)}.", file=where)
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError(f"one of the keys {', '.join(document)} stands in it twice")
    return document


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS.items() if type(value) is kind), "null")


def plain(value: Any) -> Any:
    """Turn frozen dataclasses, tuples, mappings and instants into what JSON knows.

    Examples
    --------
    >>> plain({"at": parse_instant("2026-01-02"), "share": (0.5, None)})
    {'at': '2026-01-02', 'share': [0.5, None]}
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return format_instant(value) if isinstance(value, datetime) else value


def build(kind: Any, value: object, where: str) -> Any:
    """Make a value of a declared type from what `parse` read; the reverse of `plain`.

    Parameters
    ----------
    kind : type
        A frozen dataclass, or what its fields may be: `str`, `int`, `float`, `bool`, `datetime`, `Literal`, `X | None`,
        `tuple[X, ...]`, `tuple[X, Y]`, `Mapping[str, X]`.
    value : object
        The document, or a part of one.
    where : str
        How messages call it.

    Raises
    ------
    ArtifactError
        A key is missing or unknown, a value is of another type, or a number is not finite.

    Examples
    --------
    >>> build(tuple[float, ...], [0.5, 0.25], "frame.json")
    (0.5, 0.25)
    >>> build(float, "0.5", "frame.json: share")
    Traceback (most recent call last):
    tenure.core.errors.ArtifactError: frame.json: share should be a number, not a text.
    → Restore the version's folder from a copy, or train again; a version cannot be repaired by hand.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else build(arguments[0], value, where)
    if origin is Literal:
        if value not in arguments:
            raise refused(f"{where} should be one of {', '.join(map(str, arguments))}, not {value!r}.", place=where)
        return value
    if origin is tuple:
        return _build_tuple(arguments, _exactly(list, value, where), where)
    if origin is Mapping:
        items = _exactly(dict, value, where).items()
        return {key: build(arguments[1], item, f"{where}: {key}") for key, item in items}
    if is_dataclass(kind):
        return build_record(kind, _exactly(dict, value, where), where)
    return _build_instant(value, where) if kind is datetime else _exactly(kind, value, where)


def build_record(kind: Any, document: Mapping[str, object], where: str, **made: object) -> Any:
    """Make a frozen dataclass from an object with exactly its fields, but for those that are made already.

    Raises
    ------
    ArtifactError
        As `build`.
    """
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name not in made}
    if missing := sorted(set(hints) - set(document)):
        raise refused(f"{where} has no {', '.join(missing)}.", place=where, missing=missing)
    if unknown := sorted(set(document) - set(hints)):
        raise refused(f"{where} has unknown keys: {', '.join(unknown)}.", place=where, unknown=unknown)
    return kind(**{name: build(hint, document[name], f"{where}: {name}") for name, hint in hints.items()}, **made)


def write_file(folder: Path, name: str, record: object) -> None:
    """Write a frozen dataclass as a document of its own."""
    (folder / name).write_bytes(canonical(plain(record)))


def read_file(folder: Path, name: str, kind: type[Record]) -> Record:
    """Read what `write_file` wrote.

    Raises
    ------
    ArtifactError
        As `parse` and `build`; messages call the document by its name.
    """
    record: Record = build(kind, parse((folder / name).read_bytes(), name), name)
    return record


def _exactly(kind: Any, value: object, where: str) -> Any:
    if kind is not Any and type(value) is not kind:
        raise refused(f"{where} should be {_KINDS[kind]}, not {_kind(value)}.", place=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise refused(f"{where} is not finite.", place=where)
    return value


def _build_tuple(kinds: tuple[Any, ...], items: list[object], where: str) -> tuple[Any, ...]:
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise refused(f"{where} should have {len(kinds)} entries, not {len(items)}.", place=where)
    return tuple(build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _build_instant(value: object, where: str) -> datetime:
    try:
        return parse_instant(_exactly(str, value, where))
    except (InputError, OverflowError):
        raise refused(f"{where}: {value!r} is not an instant.", place=where) from None
