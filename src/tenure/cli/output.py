"""How every verb speaks: one JSON document or text for people on stdout, everything else on stderr.

Enters: what a verb has to say. Leaves: text. Invariant: with `--json`, stdout holds exactly one JSON document, also
when the verb fails; a progress bar appears only where a person watches a terminal, and only there is a table squeezed
into the width of a window.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tenure.core.errors import TenureError
from tenure.core.progress import Progress as Reporter
from tenure.core.progress import silent
from tenure.core.time import format_duration, format_instant

__all__ = ["CHECK_SAID_NO", "WRONG_INPUT", "console", "document_of", "emit", "emit_error", "end", "progress_bar"]

WRONG_INPUT, CHECK_SAID_NO = 2, 3
_PIPE_COLUMNS = 200

console = Console(stderr=False, highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def document_of(value: Any) -> Any:
    """Turn a result into plain JSON values: dataclasses become objects, instants ISO 8601, NaN null.

    Examples
    --------
    >>> document_of({"window": timedelta(days=7), "auc": float("nan")})
    {'window': '7d', 'auc': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return document_of(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): document_of(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [document_of(entry) for entry in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def emit(document: Any, text: RenderableType, *, as_json: bool) -> None:
    """Print a verb's result.

    Parameters
    ----------
    document : object
        The result, for `document_of`.
    text : str or rich renderable
        The same for people; text may hold rich markup, so what comes from the user has to be escaped.
    as_json : bool
        Which of the two.

    Examples
    --------
    >>> emit({"rows": 3}, "3 rows", as_json=True)
    {"rows": 3}
    """
    if as_json:
        sys.stdout.write(json.dumps(document_of(document), ensure_ascii=False) + "\n")
    else:
        width = None if console.is_terminal else _PIPE_COLUMNS
        Console(highlight=False, soft_wrap=True, width=width).print(text)


def emit_error(error: TenureError, *, as_json: bool) -> None:
    """Print an error: for people on stderr, and with `--json` as the one document on stdout too.

    Examples
    --------
    >>> emit_error(TenureError("It broke.", hint="Mend it."), as_json=True)
    {"error": {"code": "tenure", "message": "It broke.", "hint": "Mend it.", "retryable": false}}
    """
    _errors.print(f"[bold red]Error[/] ({error.code}): ", end="")
    _errors.print(error.message, markup=False)
    if error.hint:
        _errors.print(f"→ {error.hint}", markup=False)
    if as_json:
        fields = {"code": error.code, "message": error.message, "hint": error.hint, "retryable": error.retryable}
        sys.stdout.write(json.dumps({"error": fields}, ensure_ascii=False) + "\n")


def end(code: int) -> NoReturn:
    """End a verb that has said everything with an exit code of its own.

    Raises
    ------
    Exit
        Always.
    """
    raise typer.Exit(code)


@contextmanager
def progress_bar() -> Iterator[Reporter]:
    """Draw a bar per stage on a terminal, and nothing in a pipe.

    Examples
    --------
    >>> with progress_bar() as progress:
    ...     progress("features", 0.5)
    """
    if not _errors.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_errors) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=done)

        yield report
