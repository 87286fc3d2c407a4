"""What hybrid scoring tells whoever counts.

Enters: nothing. Leaves: how often a kept score was found, how old fresh features were, which dependency stopped
answering. Invariant: whoever listens is never asked anything, so scoring is the same with nobody listening; and no
customer is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from tenure.core.guard import State

__all__ = ["Observer", "Where", "silent_observer"]

Where = Literal["memory", "database", "cache"]


class Observer(Protocol):
    """Somebody who counts. Every method may be called from any thread, and has to be quick."""

    def looked_up(self, where: Where, found: int, missed: int) -> None:
        """So many customers were looked up: those who had a score there, and those who had none.

        What was found in memory is told in sums, at every refresh.
        """

    def fresh(self, seconds: Sequence[float]) -> None:
        """Fresh features were read; of each customer, how many seconds before the reading the log had been folded."""

    def turned(self, name: str, state: State) -> None:
        """A dependency stopped answering, is tried again, or answers again."""


class _Silent:
    def looked_up(self, where: Where, found: int, missed: int) -> None:
        """Nobody counts."""

    def fresh(self, seconds: Sequence[float]) -> None:
        """Nobody counts."""

    def turned(self, name: str, state: State) -> None:
        """Nobody counts."""


silent_observer: Observer = _Silent()
