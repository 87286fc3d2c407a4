"""How long work tells that it is alive.

A stage calls `progress(stage, done)` with `done` between 0 and 1; the command line draws it, a pipe hears nothing.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called as `progress("features", 0.25)`; `done` is a share of the named step, from 0 to 1."""

    def __call__(self, stage: str, done: float) -> None:
        """Report that `done` of `stage` is finished."""


def silent(stage: str, done: float) -> None:
    """Report nothing.

    Examples
    --------
    >>> silent("features", 0.5)
    """
