"""The end of the demonstration: the service is started, asked over HTTP, told an event, and stopped.

Enters: a scored project. Leaves: what it answered of three customers, and what it said of one before and after they
came back. Invariant: the service is `tenure serve` in a process of its own, asked through a socket like any other; it
has ended when this is over, whatever happens in between.

The clock of the service begins at the end of the log, for the log is from years ago and a customer who was silent since
then would be lost for sure.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from tenure.app.place import Place
from tenure.app.stream import bootstrap, open_stream
from tenure.core.errors import HistoryError, StateError
from tenure.core.progress import Progress, silent
from tenure.core.time import format_instant, parse_instant
from tenure.score.run import ScoreSummary

__all__ = ["Served", "Told", "ask_service"]

FOLD_SECONDS, STOP_SECONDS, ASK_SECONDS = 60.0, 60.0, 30.0
POLL_SECONDS = 0.05
LISTED = 10_000
USUAL = {"quantity": 12.0, "sales_value": 40.0}
LOG = "serve.log"
_SETTINGS = (
    "serve.port=0",
    "serve.workers=1",
    "serve.invalidate_on_event=true",
    "serve.drain_seconds=0",
    "serve.budget_seconds=10",  # whoever watches would rather wait for a slow laptop than see a degraded answer
)


@dataclass(frozen=True)
class Told:
    """What the service answered of a customer.

    Parameters
    ----------
    customer_id : str
        Whom it was asked for.
    probability : float
        That the customer leaves.
    decision, source : str
        What pays, and where the score comes from.
    expected_profit : float or None
        Of contacting.
    features_as_of : datetime or None
        UTC; what the features speak for.
    reasons : tuple of str
        What the probability goes with, the strongest first, with its effect.
    """

    customer_id: str
    probability: float
    decision: str
    source: str
    expected_profit: float | None
    features_as_of: datetime | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Served:
    """What the service did.

    Parameters
    ----------
    url : str
        Where it was.
    version : str
        The version that answered.
    scores : tuple of Told
        Three customers.
    event : mapping
        What was posted of one of them.
    before, after : Told
        The same question about that customer, before the event and once it was folded.
    """

    url: str
    version: str
    scores: tuple[Told, ...]
    event: Mapping[str, Any]
    before: Told
    after: Told


def ask_service(place: Place, config: Path, scored: ScoreSummary, progress: Progress = silent) -> Served:
    """Fill the stream, start the service, ask it, tell it an event, ask again, and stop it.

    Parameters
    ----------
    place : Place
        The project.
    config : Path
        Its settings file.
    scored : ScoreSummary
        Its scores, with a contact list.
    progress : Progress
        Told about the stages.

    Raises
    ------
    HistoryError
        Nobody is on the contact list.
    StateError
        The service did not start, did not answer as it should, or did not stop.

    Examples
    --------
    >>> ask_service.__module__
    'tenure.app.demo_service'
    """
    listed = _contacts(scored.contact_list)
    if not listed:
        raise HistoryError("Nobody is on the contact list, so there is nobody to ask for.", hint="Lower contact_cost.")
    with open_stream(place, progress) as (stream, features):
        bootstrap(place, stream, features, scored.as_of)
    progress("serve", 0.0)
    with _service(place, config, scored.as_of) as url, closing(_Service(url)) as service:
        progress("serve", 0.5)
        scores = tuple(service.score(customer) for customer in _three(listed))
        absent = next((customer for customer in listed if not service.knows(customer, scored.as_of)), listed[0])
        before = service.score(absent)
        event = _visit(place, absent, scored.as_of)
        service.tell(event, absent, scored.as_of)
        after = service.score(absent)
        version = service.get("/version")["version"]
    progress("serve", 1.0)
    return Served(url, version, scores, event, before, after)


def _contacts(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["customer_id"] for row in islice(csv.DictReader(file), LISTED)]


def _three(listed: Sequence[str]) -> Sequence[str]:
    """The first of a list, the one in the middle, and the last."""
    return list(dict.fromkeys((listed[0], listed[len(listed) // 2], listed[-1])))


def _visit(place: Place, customer: str, as_of: datetime) -> dict[str, Any]:
    """A customer comes back: an event of the type by which activity is judged."""
    churn, events = place.settings.churn, place.settings.events
    name = next(iter(churn.inactivity if churn else ()), next(iter(events)))
    values = {value: USUAL.get(value, 0.0) for value in events[name].values}
    categories = dict.fromkeys(events[name].categories, "demo")
    at = format_instant(as_of + timedelta(seconds=1))
    return {"type": name, "customer_id": customer, "time": at, "id": f"demo-{uuid4()}", **values, **categories}


@contextmanager
def _service(place: Place, config: Path, as_of: datetime) -> Iterator[str]:
    """A running `tenure serve`; gives its address."""
    sets = [part for setting in _SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "tenure", "serve", "--json", "--with-stream", "--config", str(config), *sets]
    path = place.workspace / LOG
    with path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [*command, "--as-of", format_instant(as_of)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
        try:
            yield _address(process, path)
            process.terminate()
            if process.wait(STOP_SECONDS) != 0:
                raise StateError(f"The service ended with exit code {process.returncode}.", hint=f"See {path}.")
        except subprocess.TimeoutExpired:
            raise StateError("The service did not stop.", hint=f"See {path}.") from None
        finally:
            process.kill()
            process.communicate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """What the service says once it answers: one line of JSON."""
    line = process.stdout.readline() if process.stdout else b""
    said: dict[str, Any] = json.loads(line) if line else {}
    if "url" not in said:
        reason = said.get("error", {}).get("message", "it said nothing")
        raise StateError(f"The service did not start: {reason}", hint=f"See {log}.")
    return str(said["url"])


class _Service:
    """A caller of the service."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ASK_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def score(self, customer: str) -> Told:
        found = self.get(f"/v1/score/{quote(customer, safe='')}?explain=true")
        as_of = found["features_as_of"]
        return Told(
            customer,
            found["probability"],
            found["decision"],
            found["source"],
            found["expected_profit"],
            None if as_of is None else parse_instant(as_of),
            tuple(f"{one['text']}, {100 * one['effect']:+.1f} points" for one in found["reasons"] or ()),
        )

    def knows(self, customer: str, since: datetime) -> bool:
        """Whether an event of a customer counts since an instant, say from an earlier demonstration."""
        newest = self.get(f"/v1/customers/{quote(customer, safe='')}")["newest_event_at"]
        return newest is not None and parse_instant(newest) > since

    def tell(self, event: Mapping[str, Any], customer: str, since: datetime) -> None:
        """Post an event, and wait until it counts."""
        results = self._ask("POST", "/v1/events", {"events": [event]})
        if results["accepted"] != 1:
            raise StateError(f"The service refused the event: {results['results']}.", hint="See its answer.")
        end = time.monotonic() + FOLD_SECONDS
        while not self.knows(customer, since):
            if time.monotonic() > end:
                raise StateError("The event was not folded in time.", hint=f"See {LOG} in the workspace.")
            time.sleep(POLL_SECONDS)

    def _ask(self, method: str, path: str, document: Mapping[str, Any] | None) -> Any:
        body = None if document is None else json.dumps(document)
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            found = json.loads(response.read())
        except (OSError, ValueError) as error:
            raise StateError(f"The service did not answer {method} {path}: {error}.", hint=f"See {LOG}.") from error
        if response.status != 200:
            raise StateError(f"The service answered {response.status}: {found.get('detail')}", hint=f"See {LOG}.")
        return found
