"""`tenure serve` as a real process: it starts, answers, follows the alias and the stream, and stops with exit code 0.

Whoever asks over a socket meets every part, put together from settings.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenure.core.time import format_instant, parse_instant
from tests.architecture.tree import ROOT
from tests.serve.project import AS_OF, SCORED, SILENT, STRANGER, Shop
from tests.serve.running import PATIENCE_SECONDS, Service, until
from tests.serve.sealed import promote

# Nobody is passed over for being late: the machine that tests run on may be busy.
SETTINGS = ("refresh_seconds=0.1", "invalidate_on_event=true", "budget_seconds=60")
FOLLOWING = tuple(part for setting in SETTINGS for part in ("--set", f"serve.{setting}"))


@contextmanager
def serving(config: Path, *options: str) -> Iterator[Service]:
    """Run the program, and wait until it says where it answers, or why it does not."""
    log = config.parent / "stderr.jsonl"
    command = [sys.executable, "-m", "tenure", "serve", "--json", "--port", "0", "--config", str(config), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TENURE_SERVE__DRAIN_SECONDS": "0.1"}
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=config.parent, env=environment, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield Service(process, json.loads(line) if line else {}, log)
        finally:
            process.terminate()  # so that its own children end, too
            process.wait(PATIENCE_SECONDS)


@dataclass
class Asker:
    """Asks the same question again and again on one connection, as fast as it is answered."""

    url: str
    path: str
    answers: list[tuple[int, Any]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()

    def _run(self) -> None:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
        while not self.over.is_set():
            connection.request("GET", self.path)
            response = connection.getresponse()
            self.answers.append((response.status, json.loads(response.read())))
        connection.close()

    @property
    def versions(self) -> list[str]:
        """The versions that answered, each once for as long as it did."""
        found: list[str] = []
        for _, answer in self.answers:
            if found[-1:] != [answer["model_version"]]:
                found.append(answer["model_version"])
        return found


def asked(service: Service, method: str, path: str, document: Any = None) -> tuple[int, Any]:
    parts = urlsplit(service.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    body = None if document is None else json.dumps(document)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


def score(service: Service, customer: str, query: str = "") -> Any:
    status, answer = asked(service, "GET", f"/v1/score/{customer}{query}")
    assert status == 200, answer
    return answer


def test_a_service_from_its_start_to_its_end(shop: Shop) -> None:
    with serving(shop.config, "--with-stream", "--as-of", format_instant(AS_OF), *FOLLOWING) as service:
        answers_from_every_source(service)
        counts_what_is_posted(service)
        follows_the_alias(service, shop)
        assert service.stop() == 0
    written = service.log.read_text(encoding="utf-8")
    assert "Traceback" not in written
    assert not re.findall(rf"\b(?:{SCORED}|{SILENT}|{STRANGER})\b", written), "nobody is named in the log"


def answers_from_every_source(service: Service) -> None:
    kept = score(service, SCORED)
    assert (kept["source"], kept["model_version"], kept["alias"], kept["degraded"]) == (
        "batch",
        "v1",
        "champion",
        False,
    )
    assert parse_instant(kept["features_as_of"]) == AS_OF
    live = score(service, SCORED, "?mode=realtime&explain=true")
    assert (live["source"], live["degraded"]) == ("realtime", False)
    assert live["reasons"]
    assert score(service, SILENT)["source"] == "realtime"
    assert score(service, SILENT)["source"] == "cache"
    assert asked(service, "GET", f"/v1/score/{STRANGER}")[0] == 404
    status, ready = asked(service, "GET", "/readyz")
    assert (status, ready["ready"], ready["version"], ready["reason"]) == (200, True, "v1", "")
    assert set(ready["dependencies"].values()) == {"closed"}
    about = asked(service, "GET", "/version")[1]
    assert (about["version"], about["family"], len(about["features"])) == ("v1", "xgboost", 6)


def follows_the_alias(service: Service, shop: Shop) -> None:
    """Whoever asks meanwhile is answered, by the old version or by the new one; a damaged one never answers."""
    place = shop.place()
    asker = Asker(service.url, f"/v1/score/{SCORED}?mode=realtime")
    with asker.asking():
        until(lambda: asker.versions == ["v1"])
        promote(place, "v2")
        until(lambda: asker.versions == ["v1", "v2"])
        with (place.workspace / "versions" / "v1" / "model.ubj").open("ab") as model:
            model.write(b" ")
        promote(place, "v1")
        until(lambda: service.count("tenure_versions_refused_total") == 1)
        asker.answers.clear()
        until(lambda: len(asker.answers) > 10)
    assert asker.versions == ["v2"]
    assert {status for status, _ in asker.answers} == {200}
    ready = asked(service, "GET", "/readyz")[1]
    assert (ready["ready"], ready["version"]) == (True, "v2")
    assert "the new version could not be looked at" in ready["reason"]


def counts_what_is_posted(service: Service) -> None:
    """A kept score is passed over once a newer event counts."""
    before = score(service, SILENT)
    assert before["source"] == "cache"
    time = format_instant(parse_instant(before["features_as_of"]) + timedelta(seconds=1))
    event = {"type": "order", "customer_id": SILENT, "time": time, "amount": 30.0}
    status, answer = asked(service, "POST", "/v1/events", {"events": [event]})
    assert (status, answer["accepted"]) == (200, 1)
    until(lambda: bool(score(service, SILENT)["probability"] != before["probability"]))
    assert score(service, SILENT)["probability"] < before["probability"]
    facts = asked(service, "GET", f"/v1/customers/{SILENT}")[1]
    assert facts["features"]["order_count_14d"] == 1


def test_a_damaged_champion_ends_the_start(shop: Shop) -> None:
    version = shop.folder / ".tenure" / "versions" / "v1"
    (version / "calibration.json").write_bytes(b"{}")
    with serving(shop.config) as service:
        assert service.process.wait(PATIENCE_SECONDS) == 3
    error = service.said["error"]
    assert error["code"] == "artifact"
    assert "v1/calibration.json" in error["message"]
    assert "Traceback" not in service.log.read_text(encoding="utf-8")
