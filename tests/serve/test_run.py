"""Workers that share a port: they count together, are replaced when they die, and leave without dropping anybody."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from tenure.core.errors import InputError, NotFoundError
from tenure.serve.listen import Tls, bind, has_newcomers, is_loopback, put_off_newcomers, url_of
from tests.serve.running import Service, beginning, running, until

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Load:
    """Callers that ask until nobody lets them in any more."""

    address: tuple[str, int]
    answered: int = 0
    dropped: list[str] = field(default_factory=list)
    statuses: dict[bytes, set[bytes]] = field(default_factory=dict)

    async def ask(self, path: bytes, *, stay: bool) -> None:
        """Ask one thing after the other, on connections that stay open or on a fresh one each."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self.address)
            except OSError:
                return
            while await self.once(reader, writer, path) and stay:
                self.answered += 1
            writer.close()

    async def once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes) -> bool:
        """Ask once; whether the connection may be used again."""
        try:
            writer.write(REQUEST % path)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
        except (OSError, EOFError) as error:
            self.dropped.append(repr(error))
            return False
        self.statuses.setdefault(path, set()).add(head[9:12])
        self.answered += 1
        return b"connection: close" not in head.lower()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_is_stopped_under_load_drops_nobody(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, workers=workers, drain_seconds=0.4) as service:
        address = urlsplit(service.url)
        load = Load((str(address.hostname), int(address.port or 0)))

        async def ask_while_it_stops() -> None:
            paths = [b"/slow", b"/fast", b"/slow", b"/readyz"]
            callers = [load.ask(path, stay=stay) for path in paths for stay in (True, False) for _ in range(2)]
            asking = asyncio.gather(*callers)
            await asyncio.sleep(0.4)
            service.process.send_signal(signal.SIGTERM)
            await asking

        asyncio.run(ask_while_it_stops())
        assert service.process.wait(60) == 0
    assert load.dropped == []
    assert load.answered > 100
    assert load.statuses == {b"/slow": {b"200"}, b"/fast": {b"200"}, b"/readyz": {b"200", b"503"}}
    messages = [line["message"] for line in service.lines]
    assert messages.count("The application was closed.") == messages.count("Stopped.") == workers


def test_connections_opened_before_the_end_are_kept_and_later_ones_put_off() -> None:
    with bind("127.0.0.1", 0, keyed=False) as listener, socket.socket() as late:
        listener.listen()
        early = socket.create_connection(listener.getsockname())
        assert has_newcomers(listener)
        if not put_off_newcomers(listener):
            pytest.skip("This system cannot put newcomers off.")
        late.settimeout(0.1)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
        with early, listener.accept()[0] as accepted:
            early.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
        assert not has_newcomers(listener)


def pids(service: Service, workers: int) -> set[int]:
    """The workers, as they name themselves: whoever takes a connection up answers it."""
    found: set[int] = set()

    def look() -> bool:
        found.add(int(service.get("/")))
        return len(found) == workers

    until(look)
    return found


def test_workers_count_together_and_what_a_dead_one_counted_stays(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as service:
        first, second = pids(service, 2)
        for _ in range(10):
            service.get("/counted")
        counted = 'tenure_requests_total{method="GET",route="/counted",status="200"} 10.0'
        until(lambda: counted in service.get("/metrics"))  # a request counts a moment after it was answered
        assert all(counted in service.get("/metrics") for _ in range(6))  # whoever is asked says the same
        assert service.count("tenure_workers") == 2

        with pytest.raises(OSError, match=r"without response|reset"):
            service.get("/die")
        until(lambda: service.count("tenure_workers") == 2 and any("exit_code" in line for line in service.lines))
        until(lambda: len(pids(service, 2) - {first, second}) == 1)
        assert counted in service.get("/metrics")
        (dead,) = {first, second} - pids(service, 2)
        serving = [line for line in service.get("/metrics").splitlines() if line.startswith("tenure_serving{")]
        assert len(serving) == 2
        assert not any(f"v{dead}" in line for line in serving)
        assert service.count("tenure_requests_in_flight") <= 2  # what the dead one was answering is forgotten
        assert {line["worker"] for line in service.lines if line["message"] == "A worker ended."} <= {0, 1}
        assert service.stop() == 0


def test_whoever_does_not_want_to_wait_says_it_twice(tmp_path: Path) -> None:
    with running(tmp_path, drain_seconds=600) as service:
        service.process.send_signal(signal.SIGINT)
        until(lambda: any("not ready" in line["message"] for line in service.lines))
        assert httpx.get(service.url + "/readyz").status_code == 503
        assert httpx.get(service.url + "/").status_code == 200
        assert service.stop(signal.SIGINT) == 0


def test_a_service_that_is_stopped_while_it_starts_says_so(tmp_path: Path) -> None:
    with beginning(tmp_path, spoiled="slow") as service:
        until(lambda: any(line["message"] == "It takes its time." for line in service.lines))
        assert service.stop() == 0
        messages = [line["message"] for line in service.lines]
        assert (messages[0], messages[-1]) == ("Starting.", "Told to stop before it was ready.")


def test_who_is_told_to_stop_twice_still_answers_until_the_end(tmp_path: Path) -> None:
    with running(tmp_path, drain_seconds=600) as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: any("not ready" in line["message"] for line in service.lines))
        service.process.send_signal(signal.SIGTERM)  # as from `timeout`, which tells the process and then its group
        time.sleep(1.0)  # time enough to leave for one who does not wait
        assert httpx.get(service.url + "/readyz").status_code == 503
        assert service.stop(signal.SIGINT) == 0


def test_workers_leave_when_nobody_watches_over_them(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        (worker,) = pids(service, 1)
        os.kill(service.process.pid, signal.SIGKILL)
        until(lambda: not is_alive(worker))
        assert [line["message"] for line in service.lines[-2:]] == ["Stopped.", "The application was closed."]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asks about is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_connections_are_encrypted_where_a_certificate_is_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(tmp_path / "cert.pem", append=True)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(tmp_path, cert=tmp_path / "cert.pem", key=tmp_path / "key.pem") as service:
        assert service.url.startswith("https://127.0.0.1:")
        with httpx.Client(verify=trusting) as client:
            assert client.post(service.url + "/echo", content=b"hidden").text == "hidden"
        with pytest.raises(httpx.HTTPError):
            httpx.get(service.url.replace("https", "http"))
        with pytest.raises(httpx.HTTPError):
            httpx.get(service.url)
        assert service.stop() == 0


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        issued = trustme.CA().issue_cert("localhost")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    (tmp_path / "words.pem").write_text("no certificate", encoding="utf-8")
    assert Tls(tmp_path / "one.pem", tmp_path / "one.key").context().minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(NotFoundError, match=r"none\.pem does not exist"):
        Tls(tmp_path / "none.pem", tmp_path / "one.key").context()
    for cert in ("two.pem", "words.pem"):
        with pytest.raises(InputError, match=f"{cert} and the key"):
            Tls(tmp_path / cert, tmp_path / "one.key").context()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.7"])  # noqa: S104
def test_others_are_let_in_only_where_there_are_keys(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(InputError, match="there is no key"):
        bind(host, 0, keyed=False)


def test_with_keys_every_address_may_be_listened_on() -> None:
    with bind("", 0, keyed=True) as listener:
        assert url_of(listener, tls=True) == f"https://0.0.0.0:{listener.getsockname()[1]}"


def test_a_name_is_loopback_where_all_its_addresses_are() -> None:
    assert is_loopback("localhost")
    with bind("localhost", 0, keyed=False) as listener:
        assert listener.getsockname()[0] in {"127.0.0.1", "::1"}
    with pytest.raises(InputError, match=r"'no such host\.invalid' is no address"):
        is_loopback("no such host.invalid")


def test_a_port_that_is_taken_is_named() -> None:
    with bind("127.0.0.1", 0, keyed=False) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 cannot be listened on") as refused:
            bind("127.0.0.1", port, keyed=False)
    assert refused.value.ids["port"] == port
    with pytest.raises(InputError, match=r"192\.0\.2\.7"):
        bind("192.0.2.7", 0, keyed=True)


@pytest.mark.parametrize(
    ("spoiled", "code", "words"),
    [("refused", "config", "The version is spoiled.\n→ Train another one."), ("dead", "state", "exit code -9 while")],
)
def test_a_service_whose_workers_cannot_start_does_not(tmp_path: Path, spoiled: str, code: str, words: str) -> None:
    with running(tmp_path, spoiled=spoiled) as service:
        assert service.said["code"] == code
        assert words in service.said["message"]
        assert service.process.wait(60) == (2 if code == "config" else 1)
