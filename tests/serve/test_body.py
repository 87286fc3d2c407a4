"""Bodies: whole, small, flat and in time, or refused before anything parses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.serve.body import BODY_LIMIT, DEPTH_LIMIT, Body, GoneError, RefusedError, check_depth, nesting
from tests.serve.asgi import Message, messages

Head = dict[bytes, bytes]


class Line:
    """A connection that gives one message after another, and notes how many were taken."""

    def __init__(self, come: Sequence[Message]) -> None:
        self.come = come
        self.taken = 0

    async def __call__(self) -> Message:
        if self.taken == len(self.come):
            await asyncio.Event().wait()
        self.taken += 1
        return self.come[self.taken - 1]


def read(pieces: Sequence[bytes], head: Head | None = None, limit: int = 100) -> bytes:
    return asyncio.run(Body(limit).read(head or {}, Line(list(messages(pieces)))))


def refused(line: Callable[[], Awaitable[Message]], head: Head, body: Body) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        asyncio.run(body.read(head, line))
    return caught.value


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_a_body_is_whole_or_refused_whatever_pieces_it_comes_in(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    if len(whole) <= 100:
        assert read(pieces) == whole
        return
    error = refused(Line(list(messages(pieces))), {}, Body(100))
    assert (error.failure.status, error.failure.field) == (413, "body")


def test_the_limit_is_a_megabyte() -> None:
    assert len(read([b"x" * BODY_LIMIT], limit=BODY_LIMIT)) == 1 << 20
    assert refused(Line(list(messages([b"x" * BODY_LIMIT, b"x"]))), {}, Body()).failure.status == 413


def test_a_head_that_says_too_much_is_believed_and_nothing_is_kept() -> None:
    line = Line(list(messages([b"x" * 60] * 3)))
    assert refused(line, {b"content-length": b"180"}, Body(100)).failure.status == 413
    assert line.taken == 3  # read to the end, so that the caller listens


def test_a_head_that_says_too_little_is_not_believed() -> None:
    assert refused(Line(list(messages([b"x" * 60] * 3))), {b"content-length": b"2"}, Body(100)).failure.status == 413


@pytest.mark.parametrize(
    "head", [{b"content-length": b"99999999999"}, {b"content-length": b"101", b"expect": b"100-Continue"}]
)
def test_what_need_not_be_read_is_not_read(head: Head) -> None:
    line = Line(list(messages([b"x" * 101])))
    error = refused(line, head, Body(100))
    assert (error.failure.status, error.headers, line.taken) == (413, {"connection": "close"}, 0)


def test_reading_what_is_thrown_away_ends() -> None:
    piece = b"x" * (8 << 20)
    line = Line(list(messages([piece] * 20)))
    assert refused(line, {}, Body(100)).headers == {"connection": "close"}
    assert line.taken < 20


@pytest.mark.parametrize("length", [b"-1", b"1.5", b"", b"0x10", b"1" * 21, "\u0663".encode()])
def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    assert refused(Line([]), {b"content-length": length}, Body()).failure.status == 400


@pytest.mark.parametrize("first", [[], list(messages([b"{", b"}"]))[:1]])
def test_a_caller_who_hangs_up_is_not_answered(first: list[Message]) -> None:
    line = Line([*first, {"type": "http.disconnect"}])
    with pytest.raises(GoneError):
        asyncio.run(Body().read({b"content-length": b"2"}, line))


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    body = Body(seconds=0.05)

    async def several() -> list[Any]:
        halves = [Line(list(messages([b"{", b"}"]))[:1]) for _ in range(3)]
        late = [body.read({}, half) for half in halves]
        return await asyncio.gather(*late, body.read({}, Line(list(messages([b"{", b"}"])))), return_exceptions=True)

    for _ in range(2):  # each in a loop of its own
        *late, right = asyncio.run(several())
        assert right == b"{}"
        assert [(error.failure.status, error.headers) for error in late] == [(408, {"connection": "close"})] * 3
        assert (body._waiting, body._late) == ({}, set())
        assert asyncio.run(body.read({}, Line(list(messages([b"{}"]))))) == b"{}"


def test_a_request_that_is_cancelled_is_not_taken_for_late() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(Body().read({}, Line([])))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def depth_of(value: Any) -> int:
    """How deep a parsed document nests, the slow and obvious way."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max((depth_of(entry) for entry in inner), default=0)


TEXTS = st.text(alphabet='"\\[]{}a\u00e9\ud83d/')
DOCUMENTS = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


@given(DOCUMENTS, st.booleans(), st.sampled_from([1, 2, 5, 1 << 15]))
def test_nesting_is_what_a_parser_finds(document: Any, ascii_only: bool, piece: int) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenure.serve.body._PIECE", piece)
        assert nesting(text) == depth_of(document)


@given(st.text(alphabet='"\\[]{}, a').map(str.encode) | st.binary())
def test_no_text_hides_its_depth_from_a_parser(text: bytes) -> None:
    """What is no JSON may be counted anyhow, but for what a parser has opened before it finds out."""
    reached = opened_before_error(text)
    assert nesting(text) >= reached


def opened_before_error(text: bytes) -> int:
    """How deep the longest part of a text nests that begins a document: what any parser can have opened."""
    most = depth = 0
    inside = escaped = False
    for byte in text:
        if inside:
            inside = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte in b"\\" or (byte in b"]}" and not depth):
            break
        elif byte == ord('"'):
            inside = True
        else:
            depth += (byte in b"[{") - (byte in b"]}")
            most = max(most, depth)
    return most


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"features": ' + b"[" * (DEPTH_LIMIT) + b"]" * DEPTH_LIMIT + b"}",
        b'["\\\\", ' + b"[" * DEPTH_LIMIT,
        b'["\\"", ' + b"[" * DEPTH_LIMIT,
        b"[" * (1 << 20),
        b'["",' * (1 << 18),
    ],
)
def test_a_deep_body_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        check_depth(body)
    assert (caught.value.failure.status, caught.value.failure.field) == (400, "body")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT,
        b'{"name": "' + b"[" * 10_000 + b'"}',
        b'{"name": "\\"' + b"[" * 10_000 + b'"}',
        b"[" + b"[]," * 10_000 + b"1]",
        b"\xff\xfe" * 100,
    ],
)
def test_a_flat_body_is_not_refused(body: bytes) -> None:
    check_depth(body)
