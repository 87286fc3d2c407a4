"""Load a scoring service with a mix of look-ups and live scores, and say how it bears it.

Requests are due at random instants, so many a second whatever the service does (open loop): 95 % look-ups and 5 % live
scores, a fraction of both with explanations. A latency counts from the instant at which its request was due.

    python -m bench.load --url http://127.0.0.1:8000 --customers ids.txt --rate 500 --seconds 60

The service is asked as the URL names it, by plain HTTP. The key comes from the environment (TENURE_KEY), so that it is
not seen in the list of processes. Without `--url`, a simulated project is trained, served and loaded; `--scale 1` is
20,000 customers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np

from bench import _serving as serving
from bench._serving import Address, Seen

KINDS = ("look-up", "look-up, explained", "live", "live, explained")
ASKED = 20_000


def requests(
    customers: list[str], token: str | None, host: str, *, live: float, explain: float, seed: int
) -> tuple[list[bytes], list[int]]:
    """Requests at random, and the kind of each."""
    rng = np.random.default_rng(seed)
    made, kinds = [], []
    for name in rng.choice(customers, ASKED).tolist():
        is_live, is_explained = bool(rng.random() < live), bool(rng.random() < explain)
        query = f"?mode={'realtime' if is_live else 'auto'}{'&explain=true' if is_explained else ''}"
        made.append(serving.get(f"/v1/score/{quote(name, safe='')}{query}", token, host=host))
        kinds.append(2 * is_live + is_explained)
    return made, kinds


def show(seen: Seen) -> None:
    print(f"{seen.rate:,.0f} answers a second, {seen.errors:,} errors of {len(seen.seconds) + seen.lost:,} requests")
    print(f"{'':<22}{'requests':>10}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}")
    for kind, name in enumerate(KINDS):
        if count := int((seen.kinds == kind).sum()):
            print(f"{name:<22}{count:>10,}" + "".join(f"{seen.p(percent, kind):>9.2f}" for percent in (50, 95, 99)))
    print(f"{'all':<22}{len(seen.seconds):>10,}" + "".join(f"{seen.p(percent):>9.2f}" for percent in (50, 95, 99)))
    print("sources (* degraded): " + ", ".join(f"{mark} {count:,}" for mark, count in sorted(seen.marks.items())))
    print("answers by status: " + ", ".join(f"{status} {count:,}" for status, count in sorted(seen.statuses.items())))


def target(url: str) -> tuple[Address, str]:
    """Where `http://host:port` is, and how requests name it.

    Raises
    ------
    ValueError
        It is another kind of URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        raise ValueError(f"{url}: https is not spoken here; name the service's own address, behind whatever does TLS.")
    if parts.scheme != "http" or not parts.hostname or url.rstrip("/") != f"http://{parts.netloc}" or "@" in url:
        raise ValueError(f"{url} is not http://host or http://host:port.")
    return (parts.hostname, 80 if parts.port is None else parts.port), parts.netloc


def load(url: str, customers: list[str], token: str | None, given: argparse.Namespace) -> None:
    address, name = target(url)
    made, kinds = requests(customers, token, name, live=given.live, explain=given.explain, seed=given.seed)
    show(
        serving.loaded(
            address,
            made,
            kinds=kinds,
            seconds=given.seconds,
            rate=given.rate,
            connections=given.connections,
            marks=True,
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Load a scoring service, and say how it bears it.")
    parser.add_argument("--url", help="http://host:port of a service; default: a simulated one is served")
    parser.add_argument("--customers", type=Path, help="a file with a customer's id in each line")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--live", type=float, default=0.05, help="share of live scores")
    parser.add_argument("--explain", type=float, default=0.1, help="share of explained answers")
    parser.add_argument("--connections", type=int, default=64, help="connections at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="of the simulated project")
    given = parser.parse_args(arguments)
    if given.url:
        if given.customers is None:
            parser.error("--url needs --customers: a file with a customer's id in each line.")
        try:
            target(given.url)
        except ValueError as error:
            parser.error(f"--url {error}")
        customers = [line.strip() for line in given.customers.read_text(encoding="utf-8").splitlines() if line.strip()]
        load(given.url, customers, os.environ.get("TENURE_KEY"), given)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = serving.served_project(folder / "project", max(int(20_000 * given.scale), 1_000))
        port = serving.free_port()
        with serving.server(serving.tenure_serve(project, port), port, folder / "tenure.log"):
            serving.await_ready(port)
            load(f"http://127.0.0.1:{port}", project.customers, project.token, given)


if __name__ == "__main__":
    main()
