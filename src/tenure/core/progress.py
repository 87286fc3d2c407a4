"""How long work tells that it is alive.

A stage calls `progress(stage, done)` with `done` between 0 and 1; the command line draws it, a pipe hears nothing.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "part", "silent"]


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


def part(progress: Progress, start: float, width: float) -> Progress:
    """Progress of a piece of work as progress of the whole, of which it is `width`, from `start` on.

    Examples
    --------
    >>> told = []
    >>> part(lambda stage, done: told.append(done), 0.5, 0.25)("fit", 1.0)
    >>> told
    [0.75]
    """
    return lambda stage, done: progress(stage, start + width * done)
