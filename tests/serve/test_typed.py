"""Requests as typed values: places as JSON paths, keys said twice, queries that are remembered."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.serve import typed
from tenure.serve.typed import MalformedError, check, field_path, parse, read_id, read_query
from tenure.serve.wire import ID_PATTERN, LARGEST, CustomerPath, ScoreQuery, ScoreRequest, ScoresRequest
from tenure.serve.wire_events import EventsRequest

words = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.none() | st.booleans() | words | st.integers(-(2**63), 2**64) | st.floats(-1e30, 1e30)


def asked(query: bytes = b"", customer_id: str = "c1") -> Request:
    return Request({"type": "http", "query_string": query, "path_params": {"customer_id": customer_id}})


@given(st.dictionaries(words, values, max_size=8), st.none() | st.sampled_from(["c1", "a:b", "Zoë"]))
def test_what_is_written_once_is_read_as_it_was_written(features: dict[str, Any], customer_id: str | None) -> None:
    document = {"customer_id": customer_id, "features": features}
    for body in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
        read = parse(ScoreRequest, body.encode())
        assert (read.customer_id, read.features) == (customer_id, features)
        many = parse(ScoresRequest, f'{{"requests": [{body}, {body}]}}'.encode())
        assert many.requests == [document, document]


@given(st.dictionaries(words, values, min_size=1, max_size=8), st.data())
def test_a_key_that_is_written_twice_is_found_wherever_it_stands(features: dict[str, Any], data: st.DataObject) -> None:
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in features.items()]
    twice = data.draw(st.sampled_from(members))
    members.insert(data.draw(st.integers(0, len(members))), twice)
    body = f'{{"features": {{{", ".join(members)}}}}}'
    with pytest.raises(InputError, match="is given twice"):
        parse(ScoreRequest, body.encode())
    with pytest.raises(InputError, match=r"requests\[1\]\.features.* is given twice"):
        parse(ScoresRequest, f'{{"requests": [{{"customer_id": "a:b"}}, {body}]}}'.encode())


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "`body` should be an object."),
        ({"customer_id": 7}, "`customer_id` should be text."),
        ({"customer_id": ""}, "`customer_id` is empty."),
        ({"customer_id": "c" * 201}, "`customer_id` has more than 200 characters."),
        ({"features": []}, "`features` should be an object."),
        ({"customer_id": "c1", "explain": 1}, "`explain` should be true or false."),
        ({"customer_id": "c1", "mode": "fast"}, "`mode` should be 'auto', 'batch' or 'realtime'."),
        ({"customer_id": "c1", "explian": True}, "`explian` is not known here."),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(document: Any, says: str) -> None:
    with pytest.raises(InputError) as parsed:
        parse(ScoreRequest, json.dumps(document).encode())
    with pytest.raises(InputError) as checked:
        check(ScoreRequest, document)
    assert parsed.value.message == checked.value.message == says


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "`requests` is missing."),
        ({"requests": {}}, "`requests` should be a list."),
        ({"requests": []}, "`requests` is empty."),
        ({"requests": [0] * 1_001}, "`requests` has 1,001 items, and at most 1,000 are taken."),
    ],
)
def test_what_is_wrong_with_a_list_is_said_in_plain_words(document: Any, says: str) -> None:
    with pytest.raises(InputError) as parsed:
        parse(ScoresRequest, json.dumps(document).encode())
    assert parsed.value.message == says


def test_what_is_wrong_with_a_query_is_said_in_plain_words() -> None:
    with pytest.raises(InputError, match="`explain` should be true or false"):
        read_query(ScoreQuery, asked(b"explain=perhaps"))


EVENT = {"type": "order", "customer_id": "c1", "time": "2026-01-31T12:00:00Z", "page": "https://shop:80/a?b=c:d"}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", "\t\n :\r ")])
def test_colons_in_texts_cost_no_second_parse(separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[bytes] = []
    monkeypatch.setattr(typed, "_refuse_doubles", again.append)
    body = json.dumps({"events": [EVENT] * 3}, separators=separators).encode()
    assert parse(EventsRequest, body).events == [EVENT] * 3
    assert again == []
    odd = json.dumps({"events": [EVENT | {"page": ':// ": x'}]}, separators=separators).encode()
    parse(EventsRequest, odd)
    assert again == [odd]  # what only looks like a key is looked at again, and let through


colons = st.text(st.sampled_from('":\\ a\n'), max_size=5)


@given(st.dictionaries(colons, colons, min_size=1, max_size=4), st.sampled_from([":", " :", "\n: ", "\t:"]), st.data())
def test_no_text_hides_a_key_that_is_written_twice(members: dict[str, str], colon: str, data: st.DataObject) -> None:
    texts = [f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in members.items()]
    assert parse(EventsRequest, listed(texts)).events == [members]
    name = data.draw(st.sampled_from(sorted(members)))
    texts.insert(data.draw(st.integers(0, len(texts))), f"{json.dumps(name)}:{json.dumps(data.draw(colons))}")
    with pytest.raises(InputError, match=r"events\[0\].* is given twice"):
        parse(EventsRequest, listed(texts))


def listed(members: list[str]) -> bytes:
    """A body with one event of these members."""
    return f'{{"events": [{{{",".join(members)}}}]}}'.encode()


@given(st.floats() | st.integers() | st.sampled_from([10**39, -(10**39), 10**400, LARGEST, -LARGEST, 2 * LARGEST]))
def test_a_number_is_taken_where_a_model_can_use_it(number: float) -> None:
    features = {"a": 1.0, "b": "text", "age": number, "c": None}
    if -LARGEST <= number <= LARGEST:
        assert check(ScoreRequest, {"features": features}).features == features
    else:
        with pytest.raises(InputError) as refused:
            check(ScoreRequest, {"features": features})
        assert refused.value.ids["field"] == "features.age"


def test_a_body_that_is_no_json_has_an_error_of_its_own() -> None:
    with pytest.raises(MalformedError, match="The body is no JSON"):
        parse(ScoreRequest, b'{"customer_id": ')


def test_places_are_written_as_json_paths() -> None:
    assert field_path([]) == ""
    assert field_path(["requests", 0, "customer_id"]) == "requests[0].customer_id"
    assert field_path(["a b", "c"], within="features") == 'features["a b"].c'
    assert len(field_path(["x y" * 10_000])) < 250


def test_the_same_query_is_parsed_once() -> None:
    assert read_query(ScoreQuery, asked(b"mode=batch")) is read_query(ScoreQuery, asked(b"mode=batch"))
    assert read_query(ScoreQuery, asked(b"mode=batch&explain=1")) == ScoreQuery(mode="batch", explain=True)
    assert read_query(ScoreQuery, asked()) == ScoreQuery()
    for _ in range(2):
        with pytest.raises(InputError, match="`mode` should be 'auto', 'batch' or 'realtime'"):
            read_query(ScoreQuery, asked(b"mode=slow"))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=200))
def test_an_id_of_ordinary_characters_is_read_as_it_is(text: str) -> None:
    if not {"\u2028", "\u2029", "\ufffd"} & set(text) and ".." not in text:
        assert read_id(asked(customer_id=text)) == text


def test_how_much_else_is_wrong_is_told() -> None:
    with pytest.raises(InputError, match=r"`mode` .*\. \(1 more are wrong\.\)"):
        check(ScoreRequest, {"customer_id": "c1", "mode": 3, "explain": "x"})


ids = st.text(st.sampled_from("./\\a\n\x85\u2028\ufffd") | st.characters(exclude_categories=["Cs"]), max_size=8)


@given(ids)
def test_the_description_of_an_id_says_what_is_let_through(customer_id: str) -> None:
    described = jsonschema_rs.validator_for({"type": "string", "minLength": 1, "pattern": ID_PATTERN})
    try:
        check(CustomerPath, {"customer_id": customer_id})
    except InputError:
        assert not described.is_valid(customer_id)
    else:
        assert described.is_valid(customer_id)


def test_so_many_keys_that_none_is_listed() -> None:
    keys = ", ".join(f'"k{number}": 1' for number in range(500))
    for body in (f'{{"explain": true, {keys}}}', f'{{"explain": 3, "customer_id": 4, {keys}}}'):
        with pytest.raises(InputError, match=r"`k0` is not known here\. \(\d+ more are wrong\.\)") as caught:
            parse(ScoreRequest, body.encode())
        assert caught.value.ids["field"] == "k0"
    with pytest.raises(InputError) as caught:
        check(ScoreRequest, {"a" * 100_000: 1}, within="requests[3]")
    assert len(str(caught.value)) < 1_000
