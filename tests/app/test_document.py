from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tenure.app.propose.document import section, toml_value

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
PLAIN = st.one_of(TEXT, st.booleans(), NUMBERS)
VALUES = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3))
)


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert tomllib.loads(f"value = {toml_value(value)}")["value"] == value


@given(st.dictionaries(TEXT, PLAIN, max_size=4), st.lists(TEXT, max_size=3))
def test_evidence_never_becomes_a_setting(values: dict[str, Any], comments: list[str]) -> None:
    assert tomllib.loads(section("[part]", values, comments)) == {"part": values}
