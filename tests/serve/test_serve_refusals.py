"""What `tenure serve` cannot start with is said in a sentence, with the right exit code, before anything is started."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tenure.app.serve import TOLD, Launch, worker_app
from tenure.app.stream import open_stream
from tenure.core.errors import ConfigError
from tests.cli.world import TABLE, customers, done, refused, write_project
from tests.serve.project import Shop


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a refused start leaves in the environment goes with the test."""
    monkeypatch.setenv(TOLD, "")


def test_before_the_first_training(shop: Shop) -> None:
    shutil.rmtree(shop.folder / ".tenure")
    refused("serve", "-c", shop.config, says=["nothing has been trained yet", "tenure train"])


def test_a_version_that_is_gone(shop: Shop) -> None:
    shutil.rmtree(shop.folder / ".tenure" / "versions" / "v1")
    refused("serve", "-c", shop.config, says=["There is no version folder", "v1"], code=3)


def test_a_port_that_is_taken(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused("serve", "-c", shop.config, "--port", port, says=[f"Port {port} of 127.0.0.1", "--port"])


def test_an_address_that_others_reach_without_keys(shop: Shop) -> None:
    everybody = "0.0.0.0"  # noqa: S104 - which is what has to be refused
    refused("serve", "-c", shop.config, "--host", everybody, says=["there is no key", "tenure keys create"])


def test_a_certificate_that_is_none(shop: Shop, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    refused("serve", "-c", shop.config, "--tls-cert", cert, says=["--tls-cert is given without --tls-key"])
    refused("serve", "-c", shop.config, "--tls-key", cert, says=["--tls-key is given without --tls-cert"])
    given = ("--tls-cert", cert, "--tls-key", cert)
    refused("serve", "-c", shop.config, *given, says=[f"{cert} does not exist"])
    cert.write_text("no PEM", encoding="utf-8")
    refused("serve", "-c", shop.config, *given, says=[f"The certificate {cert}", "cannot be used"])


@pytest.mark.parametrize(
    ("as_of", "says"), [("yesterday", "'yesterday'"), ("2999-01-01", "lies in the future"), ("", "''")]
)
def test_an_instant_that_is_none(shop: Shop, as_of: str, says: str) -> None:
    refused("serve", "-c", shop.config, "--as-of", as_of, says=[says])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("serve.cache=disk", "disk"),
        ("serve.port=70000", "serve.port"),
        ("serve.workers=0", "serve.workers"),
        ("serve.entrys=1", "Did you mean 'entries'?"),
    ],
)
def test_a_setting_that_is_none(shop: Shop, setting: str, says: str) -> None:
    refused("serve", "-c", shop.config, "--set", setting, says=[says])


def test_a_plain_table_has_no_stream(tmp_path: Path) -> None:
    config = write_project(tmp_path, TABLE, table_parquet=customers())
    done("train", "-c", config)
    refused("serve", "-c", config, "--with-stream", says=["no events to stream"])
    refused("serve", "-c", config, "--as-of", "2026-01-01", says=["no events to stream"])


def test_an_archive_of_another_log(shop: Shop) -> None:
    place = shop.place()
    with open_stream(place) as (stream, _):
        shutil.rmtree(stream.archive.folder, ignore_errors=True)
        stream.archive.keep_for("another")
    refused("serve", "-c", shop.config, "--with-stream", says=["another event log", "[stream] archive"])


def test_a_worker_alone() -> None:
    with pytest.raises(ConfigError, match=TOLD), worker_app():
        pass


def test_what_is_told_to_workers_stays_the_same() -> None:
    launch = Launch(Path("tenure.toml"), {("serve", "port"): 0, ("churn", "train"): ["2026-01-01"]}, tls=True)
    assert Launch.from_json(launch.to_json()) == launch
