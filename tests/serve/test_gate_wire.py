"""The gate behind a real server and real sockets: callers who lie about their bodies, and bodies without measure."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from tenure.serve.head import HEAD_LIMIT, LimitedProtocol
from tests.serve.gated import JSON, Behind, World

LIMIT = 1 << 20


class Served:
    """A gate that listens, and a key that may score."""

    def __init__(self, world: World, app: Behind, port: int) -> None:
        self.world, self.app, self.port = world, app, port
        self.url = f"http://127.0.0.1:{port}"

    def head(self, *lines: str, method: str = "POST", target: str = "/v1/score") -> bytes:
        key = f"Authorization: {self.world.bearer()['authorization']}"
        own = [f"{method} {target} HTTP/1.1", "Host: localhost", key, "Content-Type: application/json", *lines]
        return "\r\n".join([*own, "", ""]).encode("latin-1")

    def talk(self, *pieces: bytes, hang_up: bool = False) -> bytes:
        """Send pieces and read what is answered until the server has said everything."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            for piece in pieces:
                line.sendall(piece)
            if hang_up:
                line.shutdown(socket.SHUT_WR)
            said = b""
            while not is_whole(said):
                came = line.recv(65_536)
                if not came:
                    break
                said += came
            return said


def is_whole(said: bytes) -> bool:
    head, end, body = said.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths and len(body) >= int(lengths[0].split(b":")[1]))


def send_often(line: socket.socket, piece: bytes, times: int) -> None:
    for _ in range(times):
        line.sendall(piece)


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    world, app = World(), Behind()
    config = uvicorn.Config(
        world.gate(app), port=0, log_config=None, access_log=False, lifespan="off", loop="uvloop", http=LimitedProtocol
    )
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield Served(world, app, listening.getsockname()[1])
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(autouse=True)
def nothing_reached(served: Served) -> None:
    served.app.reached.clear()


def test_a_body_of_the_length_that_was_said_arrives(served: Served) -> None:
    assert status_of(served.talk(served.head("Content-Length: 2"), b"{}")) == 200
    assert [found.body for found in served.app.reached] == [b"{}"]


def test_a_body_in_chunks_arrives_whole(served: Served) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (b'{"a"', b": ", b"1}")) + b"0\r\n\r\n"
    pieces = [chunks[i : i + 3] for i in range(0, len(chunks), 3)]
    assert status_of(served.talk(served.head("Transfer-Encoding: chunked"), *pieces)) == 200
    assert [found.body for found in served.app.reached] == [b'{"a": 1}']


@pytest.mark.parametrize("extra", [1, 9 * LIMIT])
def test_too_large_a_body_is_told_to_a_caller_who_sends_all_of_it_first(served: Served, extra: int) -> None:
    body = b" " * (LIMIT + extra)
    with httpx.Client(base_url=served.url) as client:
        told = client.post("/v1/score", content=body, headers=served.world.bearer() | JSON)
        assert (told.status_code, told.json()["field"]) == (413, "body")
        assert client.post("/v1/score", content=b"{}", headers=served.world.bearer() | JSON).status_code == 200
    assert len(served.app.reached) == 1


@pytest.mark.parametrize("pieces", [17, 160])
def test_too_large_a_body_in_chunks_is_refused(served: Served, pieces: int) -> None:
    with httpx.Client(base_url=served.url) as client:
        body = (b" " * 65_536 for _ in range(pieces))
        told = client.post("/v1/score", content=body, headers=served.world.bearer() | JSON)
    assert (told.status_code, told.json()["field"]) == (413, "body")
    assert served.app.reached == []


def test_a_body_without_end_is_cut_off(served: Served) -> None:
    """A gigabyte is never read: the answer comes, or the line is cut, long before."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(served.head("Transfer-Encoding: chunked"))
        piece = b"100000\r\n" + b" " * LIMIT + b"\r\n"
        with pytest.raises(OSError, match=r"reset|pipe|aborted"):
            send_often(line, piece, 1024)
    assert served.app.reached == []


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * LIMIT),
        (b"GET /livez HTTP/1.1\r\nX: ", b"a" * LIMIT),
        (b"GET /livez HTTP/1.1\r\n", b"x: y\r\n" * 100_000),
        (b"POST /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ", b"a" * LIMIT),
    ],
    ids=["path", "header", "headers", "trailer"],
)
def test_a_head_without_end_is_cut_off(served: Served, begin: bytes, piece: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(begin)
        with pytest.raises(OSError, match=r"reset|pipe|aborted"):
            send_often(line, piece, 1024)
    assert served.app.reached == []


def test_whoever_waits_within_too_long_a_head_is_told(served: Served) -> None:
    lines = [f"X-{number}: {'a' * 8_000}" for number in range(HEAD_LIMIT // 8_000 + 1)]
    whole = served.head(*lines, method="GET", target="/livez")
    said = served.talk(whole[:-2])  # the line that would end it does not come
    assert status_of(said) == 431
    assert b"application/problem+json" in said
    assert status_of(served.talk(served.head(*lines[:-3], method="GET", target="/livez"))) == 200


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez"],
    ids=["nothing", "half", "half of the second"],
)
def test_a_head_that_never_ends_is_given_up(served: Served, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_seconds", 0.5)
    said = b""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(begun)
        while came := line.recv(65_536):
            said += came
    answers = [int(answer[:3]) for answer in said.split(b"HTTP/1.1 ")[1:]]
    assert answers == ([200, 408] if b"\r\n\r\n" in begun else [408])


def test_who_stays_connected_between_requests_is_not_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = served.head(method="GET", target="/livez")
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(whole)
        assert status_of(line.recv(65_536)) == 200
        monkeypatch.setattr(LimitedProtocol, "head_seconds", 0.05)
        time.sleep(0.2)  # longer than a head may take
        line.sendall(whole)
        assert status_of(line.recv(65_536)) == 200


def test_a_long_body_is_no_long_head(served: Served) -> None:
    body = b"[" + b" " * (LIMIT - 2) + b"]"
    for _ in range(2):
        assert status_of(served.talk(served.head(f"Content-Length: {len(body)}"), body)) == 200
    pieces = [b"%x\r\n%s\r\n" % (100, b" " * 100)] * 5_000
    assert status_of(served.talk(served.head("Transfer-Encoding: chunked"), *pieces, b"0\r\n\r\n")) == 200


def test_a_caller_who_asks_before_sending_need_not_send(served: Served) -> None:
    said = served.talk(served.head(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))
    assert status_of(said) == 413
    assert b"connection: close" in said.lower()


def test_a_caller_who_asks_before_sending_is_told_to_send(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(served.head("Content-Length: 2", "Expect: 100-continue"))
        assert line.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(b"{}")
        assert status_of(line.recv(65_536)) == 200


def test_an_answer_without_a_body_comes_at_once_and_the_connection_goes_on(served: Served) -> None:
    with httpx.Client(base_url=served.url, timeout=20) as client:
        told = client.head("/v1/score/c1", headers=served.world.bearer())
        assert (told.status_code, told.content) == (405, b"")
        assert client.get("/v1/score/c1", headers=served.world.bearer()).content == b"own"


def test_a_small_answer_comes_in_one_piece(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        for _ in range(20):
            line.sendall(served.head("Content-Length: 2") + b"{}")
            assert line.recv(65_536).endswith(b"\r\n\r\nown")


def test_a_caller_who_says_more_than_comes_gets_no_answer_of_the_application(served: Served) -> None:
    assert served.talk(served.head("Content-Length: 100"), b"{}", hang_up=True) == b""
    assert served.app.reached == []
    assert status_of(served.talk(served.head("Content-Length: 2"), b"{}")) == 200


def test_what_comes_beyond_the_said_length_is_no_part_of_the_body(served: Served) -> None:
    said = served.talk(served.head("Content-Length: 2"), b"{}" + b" " * 10 + b"{}")
    assert status_of(said) in {200, 400}
    assert {found.body for found in served.app.reached} <= {b"{}"}


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: -2",),
        ("Content-Length: 2 2",),
        ("Content-Length: 99999999999999999999999999",),
        ("Transfer-Encoding: chunked, gzip",),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(served: Served, lines: tuple[str, ...]) -> None:
    assert status_of(served.talk(served.head(*lines), b"{}")) in {400, 501}
    assert served.app.reached == []


@pytest.mark.parametrize(
    "target", ["/v1/score/\xff", "/v1/score/%ff%fe", "/v1/score/a%2Fb", "/v1/score/%00", "/v1/score/%2e%2e"]
)
def test_odd_paths_are_answered(served: Served, target: str) -> None:
    status = status_of(served.talk(served.head(method="GET", target=target)))
    assert status in {200, 400, 404}
    assert (status == 200) == bool(served.app.reached)


def test_a_deep_body_is_refused_over_the_wire(served: Served) -> None:
    body = b"[" * 10_000
    said = served.talk(served.head(f"Content-Length: {len(body)}"), body)
    assert status_of(said) == 400
    assert b'"field":"body"' in said
