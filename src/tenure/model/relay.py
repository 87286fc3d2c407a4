"""Whoever answers first: models in an order, each with so much time.

Enters: some rows of a matrix that somebody waits for. Leaves: an `Answer`, with the name of the model that gave it and
the reason why those before it did not. Invariant: an answer is finite, and whoever asks waits no longer than the
members' times together; a model that was too late cannot hold up later requests.

Only requests that somebody waits for are relayed. In training, in a batch and for golden rows there is no clock: there
the first model answers or the run fails, for otherwise a score would depend on how busy the machine was, and one batch
could be answered by two models.

A guard stands before each member (`tenure.core.guard`): who is late is given up, who hangs is not asked again until
some calls have ended, and who fails or is late several times in a row is left alone for a while and costs nothing. A
number that is not finite is passed over as well, but the guard does not hear of it: it is the row that is odd, and an
odd row must not take the model from everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tenure.core.errors import TenureError, UnavailableError
from tenure.core.guard import Guard, State, nobody
from tenure.model.protocol import Matrix, Vector

__all__ = ["LAST_SECONDS", "Answer", "Member", "PassedOver", "Relay"]

LAST_SECONDS = 1.0
"""How long the last member may take; after it there is only the base rate."""


@dataclass(frozen=True)
class Member:
    """One who may answer.

    Parameters
    ----------
    name : str
        Of the model family.
    predict : callable
        Gives one finite number per row.
    """

    name: str
    predict: Callable[[Matrix], Vector]


@dataclass(frozen=True)
class PassedOver:
    """A member that did not answer, and why; `is_odd` where a row was odd rather than the member silent."""

    name: str
    reason: str
    is_odd: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """What was answered, and by whom.

    Parameters
    ----------
    value : float64 array (rows,)
        The answer.
    by : str
        Name of the member that gave it.
    passed_over : tuple of PassedOver
        The members before it.
    """

    value: Vector
    by: str
    passed_over: tuple[PassedOver, ...] = ()


class Relay:
    """Members in their order; it may be asked from several threads at once.

    Parameters
    ----------
    members : sequence of Member
        At least one.
    budget_seconds : float
        How long each but the last may take.
    last_seconds : float
        How long the last one may take.
    told : callable
        Hears the name and the new state of a member that is left alone, or asked again.

    Attributes
    ----------
    guards : tuple of Guard
        One before each member, called like the member.

    Examples
    --------
    >>> def fails(matrix):
    ...     raise MemoryError("no room")
    >>> relay = Relay([Member("first", fails), Member("second", lambda matrix: np.zeros(len(matrix)))], 1.0)
    >>> answer = relay.ask(np.zeros((2, 1), np.float32))
    >>> answer.value.tolist(), answer.by, [(one.name, one.reason) for one in answer.passed_over]
    ([0.0, 0.0], 'second', [('first', 'first failed (MemoryError).')])
    """

    def __init__(
        self,
        members: Sequence[Member],
        budget_seconds: float,
        *,
        last_seconds: float = LAST_SECONDS,
        told: Callable[[str, State], None] = nobody,
    ) -> None:
        self._members = tuple(members)
        seconds = [budget_seconds] * (len(members) - 1) + [last_seconds]
        self.guards = tuple(Guard(member.name, most, told=told) for member, most in zip(members, seconds, strict=True))

    def ask(self, matrix: Matrix) -> Answer:
        """Give the first answer that comes in time.

        Parameters
        ----------
        matrix : float32 array (rows, columns)
            As the encoder makes it.

        Raises
        ------
        UnavailableError
            No member gave one; the message is about the last of them. Where a row made it give a number that is not
            finite, `ids["is_odd"]` is set: other rows may be answered without that one.
        """
        passed: list[PassedOver] = []
        for member, guard in zip(self._members[:-1], self.guards, strict=False):
            try:
                return Answer(_ask(member, guard, matrix), member.name, tuple(passed))
            except TenureError as error:
                passed.append(PassedOver(member.name, error.message, bool(error.ids.get("is_odd"))))
        last = self._members[-1]
        return Answer(_ask(last, self.guards[-1], matrix), last.name, tuple(passed))


def _ask(member: Member, guard: Guard, matrix: Matrix) -> Vector:
    value = guard.call(lambda: member.predict(matrix))
    if not np.isfinite(value).all():
        raise UnavailableError(
            f"{member.name} gave a number that is not finite.",
            hint="Look at the features of the customers that were asked about.",
            dependency=member.name,
            reason="failed",
            is_odd=True,
        )
    return value
