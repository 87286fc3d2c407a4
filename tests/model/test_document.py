"""Documents are written in one way and read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError
from tenure.core.time import EPOCH
from tenure.model.document import build, canonical, digest, parse, plain, read_file, write_file
from tenure.model.evaluate import CalibrationBin, Decile, Estimate, Judgement
from tenure.model.scorecard import read_scorecard, write_scorecard


@dataclass(frozen=True)
class Inner:
    share: float
    at: datetime


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    rows: int
    whole: bool
    maybe: float | None
    pair: tuple[float, str]
    many: tuple[Inner, ...]
    named: Mapping[str, Inner]


finite = st.floats(allow_nan=False, allow_infinity=False)
instants = st.integers(0, 2**51).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
inners = st.builds(Inner, finite, instants)
outers = st.builds(
    Outer,
    st.text(),
    st.sampled_from(["a", "b"]),
    st.integers(),
    st.booleans(),
    st.none() | finite,
    st.tuples(finite, st.text()),
    st.lists(inners, max_size=3).map(tuple),
    st.dictionaries(st.text(), inners, max_size=3),
)
estimates = st.builds(Estimate, finite, finite, finite)
points = st.lists(st.tuples(finite, finite), max_size=3).map(tuple)
deciles = st.builds(Decile, st.integers(), st.integers(), st.integers(), estimates, estimates)
judgements = st.builds(
    Judgement,
    name=st.text(),
    kind=st.sampled_from(["model", "baseline"]),
    block=st.text(),
    rows=st.integers(0),
    positives=st.integers(0),
    metrics=st.dictionaries(st.text(), estimates, max_size=3),
    deciles=st.lists(
        st.builds(Decile, st.integers(), st.integers(), st.integers(), estimates, estimates), max_size=2
    ).map(tuple),
    roc=points,
    precision_recall=points,
    calibration=st.lists(st.builds(CalibrationBin, finite, estimates, st.integers()), max_size=2).map(tuple),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(outers)
def test_a_dataclass_survives_the_way_there_and_back(outer: Outer) -> None:
    assert build(Outer, parse(canonical(plain(outer)), "x.json"), "x.json") == outer


@given(st.lists(judgements, max_size=3).map(tuple))
def test_a_scorecard_survives_the_way_there_and_back(scorecard: tuple[Judgement, ...]) -> None:
    assert read_scorecard(write_scorecard(scorecard)) == scorecard


@given(st.dictionaries(st.text(), values, max_size=4))
def test_one_document_has_one_form(document: dict[str, Any]) -> None:
    data = canonical(document)
    assert canonical(parse(data, "x.json")) == data
    assert canonical(dict(reversed(document.items()))) == data
    assert json.loads(data) == document


@given(st.dictionaries(st.text(), values, max_size=4), st.dictionaries(st.text(), values, max_size=4))
def test_a_digest_tells_documents_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_anything_is_an_object_or_refused(data: bytes) -> None:
    try:
        document = parse(data, "x.json")
    except ArtifactError:
        return
    assert isinstance(document, dict)


@given(values)
def test_a_document_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(ArtifactError):
        build(Outer, value, "x.json")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a JSON document"),
        (b"\x80\x04\x95", "not a JSON document"),
        (b"{}{}", "not a JSON document"),
        (b"[1]", "not a JSON object but a list"),
        (b"null", "not a JSON object but null"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": 1, "a": 2}', "stands in it twice"),
        (b'{"a": {"b": 1, "b": 1}}', "stands in it twice"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not a JSON document"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_is_no_document_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        parse(data, "x.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [[float("-inf")]]])
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(ArtifactError, match="holds what JSON cannot"):
        canonical({"a": value})


def test_a_document_that_is_too_deep_is_not_written() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(ArtifactError, match="nested too deeply"):
        canonical({"a": deep})


GOOD = plain(Outer("n", "a", 1, True, None, (0.5, "x"), (Inner(0.5, datetime(2026, 1, 1, tzinfo=UTC)),), {}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": 3}, "x.json: name should be a text, not a whole number"),
        ({"kind": "c"}, "x.json: kind should be one of a, b, not 'c'"),
        ({"kind": ["a"]}, "x.json: kind should be one of"),
        ({"rows": True}, "x.json: rows should be a whole number, not true or false"),
        ({"rows": 1.0}, "x.json: rows should be a whole number, not a number"),
        ({"whole": 1}, "x.json: whole should be true or false, not a whole number"),
        ({"maybe": "0.5"}, "x.json: maybe should be a number, not a text"),
        ({"maybe": float("inf")}, "x.json: maybe is not finite"),
        ({"pair": [0.5]}, "x.json: pair should have 2 entries, not 1"),
        ({"pair": {"0": 0.5}}, "x.json: pair should be a list, not an object"),
        ({"many": [{"share": 0.5}]}, r"x.json: many\[0\] has no at"),
        ({"many": [{"share": 0.5, "at": "x"}]}, r"x.json: many\[0\]: at: 'x' is not an instant"),
        ({"many": [{"share": 0.5, "at": "0001-01-01T00:00:00+23:00"}]}, "is not an instant"),
        ({"many": [{"share": 0.5, "at": 20260101}]}, "at should be a text, not a whole number"),
        ({"named": {"k": []}}, "x.json: named: k should be an object, not a list"),
        ({"named": None}, "x.json: named should be an object, not null"),
        ({"more": 1, "evil": 2}, "x.json has unknown keys: evil, more"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(change: dict[str, Any], reason: str) -> None:
    assert build(Outer, GOOD, "x.json").rows == 1
    with pytest.raises(ArtifactError, match=reason):
        build(Outer, GOOD | change, "x.json")


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ArtifactError, match=f"x.json has no {key}"):
        build(Outer, {name: value for name, value in GOOD.items() if name != key}, "x.json")


def test_a_record_has_a_file_of_its_own(tmp_path: Path) -> None:
    record = Inner(0.5, EPOCH)
    write_file(tmp_path, "inner.json", record)
    assert read_file(tmp_path, "inner.json", Inner) == record
    assert (tmp_path / "inner.json").read_bytes() == canonical(plain(record))
    (tmp_path / "inner.json").write_text('{"share": 1}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"inner\.json has no at"):
        read_file(tmp_path, "inner.json", Inner)
