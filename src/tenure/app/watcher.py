"""Everything that may change while a service runs, looked at now and then, in a thread of its own.

Enters: what a service is made of. Leaves: a scorer with the version that the alias points at, keys as they are now, the
newest batch, and breakers that say which dependency answers. Invariant: whatever fails here, the service goes on with
what it had, and the next look tries again; a failure is logged when it begins and when it has passed, not every time.

A new version is loaded and verified here, beside the requests, and handed to the scorer whole: a request is scored by
the old version or by the new one, and none waits for the change.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from tenure.core.errors import TenureError

__all__ = ["Told", "Watcher"]

_PATIENCE_SECONDS = 5.0  # verifying a version takes longer at times; nobody waits for that in order to stop
_log = logging.getLogger("tenure.serve")


class Told(Protocol):
    """Who is told that everything was looked at."""

    def __call__(self, *, failed: bool) -> None:
        """Take note."""


class Watcher:
    """Looks after a running service; use it in a `with` block.

    Parameters
    ----------
    duties : mapping of str to callable
        What is looked at, in this order, by the name that the log gives it.
    told : callable
        Told after every look, with `failed`, whether something is the matter.
    every_seconds : float
        How long it rests between two looks.

    Examples
    --------
    >>> watcher = Watcher(
    ...     {"keys": lambda: None, "batch": lambda: 1 / 0}, lambda *, failed: print(failed), every_seconds=60
    ... )
    >>> watcher.look()
    True
    >>> sorted(watcher.troubles)
    ['batch']
    """

    def __init__(self, duties: Mapping[str, Callable[[], object]], told: Told, *, every_seconds: float) -> None:
        self._duties, self._told, self._every_seconds = dict(duties), told, every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tenure-watcher", daemon=True)
        self.troubles: dict[str, str] = {}

    def look(self) -> None:
        """Do every duty once; what fails is kept in `troubles` until it succeeds."""
        for name, duty in self._duties.items():
            try:
                duty()
            except Exception as error:  # noqa: BLE001 - a service does not end because a look did
                self._note(name, error)
            else:
                if self.troubles.pop(name, None) is not None:
                    _log.info("What could not be looked at is in order again.", extra={"dependency": name})
        self._told(failed=bool(self.troubles))

    def _note(self, name: str, error: Exception) -> None:
        trouble = error.message if isinstance(error, TenureError) else type(error).__name__
        if self.troubles.get(name) != trouble:
            _log.warning("Something could not be looked at.", exc_info=error, extra={"dependency": name})
        self.troubles[name] = trouble

    def _run(self) -> None:
        while not self._stopped.wait(self._every_seconds):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(_PATIENCE_SECONDS)
