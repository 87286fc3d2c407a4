"""`tenure serve`: scores over HTTP, until it is told to stop."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from tenure.app.place import Place
from tenure.app.scorer import ahead_of
from tenure.app.serve import TOLD, Launch, require_startable, worker_app
from tenure.app.serve_stream import folding
from tenure.cli.options import Config, Json, Set, overrides
from tenure.cli.output import emit
from tenure.core.errors import ConfigError
from tenure.core.time import parse_instant, parse_timezone
from tenure.serve.keys import list_keys
from tenure.serve.run import Running, Tls
from tenure.serve.run import serve as answer

__all__ = ["serve"]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; any but loopback needs keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for one that is free.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM; with --tls-key.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    with_stream: Annotated[bool, typer.Option("--with-stream", help="Run `tenure stream` beside it.")] = False,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Instant at which live features begin, to replay a log from the past.")
    ] = None,
    config: Config = Path("tenure.toml"),
    sets: Set = None,
    as_json: Json = False,
) -> None:
    """Answer scores over HTTP; ends well at SIGTERM and Ctrl-C. It says where when it is ready."""
    put_over = overrides(sets, serve__host=host, serve__port=port, serve__workers=workers)
    place = Place.load(config, put_over)
    tls = _tls(tls_cert, tls_key)
    ahead = timedelta(0) if as_of is None else _ahead(place, as_of)
    launch = Launch(config.resolve(), put_over, ahead, tls is not None)
    require_startable(place)

    def tell(running: Running) -> None:
        emit(asdict(running), _ready_text(running, with_stream=with_stream), as_json=as_json)
        sys.stdout.flush()

    os.environ[TOLD] = launch.to_json()
    with ExitStack() as beside:
        if with_stream:
            beside.enter_context(folding(launch))
        answer(worker_app, place.settings.serve, tls, keyed=bool(list_keys(place.database())), ready=tell)


def _ahead(place: Place, as_of: str) -> timedelta:
    return ahead_of(place, parse_instant(as_of, parse_timezone(place.settings.project.timezone)))


def _tls(cert: Path | None, key: Path | None) -> Tls | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigError(
            f"--tls-{'key' if cert is None else 'cert'} is given without --tls-{'cert' if cert is None else 'key'}.",
            hint="A certificate and its key come together.",
        )
    return Tls(cert, key)


def _ready_text(running: Running, *, with_stream: bool) -> str:
    processes = "1 process" if running.workers == 1 else f"{running.workers} processes"
    events = ", and events are folded beside it" if with_stream else ""
    return f"[bold]{running.url}[/] answers, in {processes}{events}. How to ask: {running.url}/docs"
