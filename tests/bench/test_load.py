"""What loads a service asks the one that it was pointed at, by its name."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.load import main, target

BODY = json.dumps({"source": "batch", "degraded": False}).encode()


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, set[str]]]:
    """A service at another address than the usual one, and the names by which it was asked."""
    names: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            names.add(self.headers["host"])
            self.send_response(200)
            self.send_header("content-length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.2", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.2:{server.server_address[1]}", names
        server.shutdown()
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not there without being asked for")
def test_the_host_of_the_url_is_asked_by_its_name(
    elsewhere: tuple[str, set[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, names = elsewhere
    (tmp_path / "ids.txt").write_text("c1\nc2\n", encoding="utf-8")
    told = ["--customers", str(tmp_path / "ids.txt"), "--rate", "40", "--seconds", "0.5", "--connections", "4"]
    main(["--url", f"http://{name}", *told])
    assert names == {name}
    assert "0 errors of 20 requests" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://shop.example", (("shop.example", 80), "shop.example")),
        ("http://shop.example:8000/", (("shop.example", 8000), "shop.example:8000")),
        ("http://[::1]:8000", (("::1", 8000), "[::1]:8000")),
    ],
)
def test_a_url_says_where_a_service_is(url: str, found: object) -> None:
    assert target(url) == found


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://shop.example", "https is not spoken here"),
        ("shop.example:8000", "is not http://host"),
        ("http://shop.example/api", "is not http://host"),
        ("http://shop.example:port", "Port could not be cast"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    url: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.txt").write_text("c1\n", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        main(["--url", url, "--customers", str(tmp_path / "ids.txt"), "--seconds", "0.1"])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
