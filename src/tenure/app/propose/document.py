"""Writes a proposal down as a `tenure.toml` that runs as it is and says why.

Enters: sections as plain values with their evidence. Leaves: TOML text. Invariant: what is written reads back as the
same values (every string is a TOML basic string, which JSON's escapes fit; TOML alone wants DEL to be escaped too).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["section", "toml_value"]


def toml_value(value: Any) -> str:
    """A value as TOML.

    Examples
    --------
    >>> toml_value({"within": "56d", "at_least": 2})
    '{ within = "56d", at_least = 2 }'
    >>> toml_value(["a", True, 0.3])
    '["a", true, 0.3]'
    """
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    return _quoted(value)


def toml_key(key: str) -> str:
    """A key, quoted where it has to be.

    Examples
    --------
    >>> toml_key("page view")
    '"page view"'
    """
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else _quoted(key)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """One line without control characters, which a TOML comment must not hold and a column's name may."""
    return "".join("\ufffd" if char < " " or char == "\x7f" else char for char in " ".join(text.split()))


def section(header: str, values: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """A section with comments above its keys.

    Parameters
    ----------
    header : str
        As it stands in the file, brackets included.
    values : mapping
        Keys whose value is None are left out.
    comments : iterable of str
        Evidence, a sentence each.

    Examples
    --------
    >>> print(section("[value]", {"clv": 600, "capacity": None}, ["what a customer is worth"]), end="")
    [value]
    # what a customer is worth
    clv = 600
    """
    lines = [header, *(f"# {_comment(comment)}" for comment in comments)]
    lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"
