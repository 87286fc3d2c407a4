"""Scores that are wanted at the same time are worked out together, away from the event loop.

Enters: asks, from any number of requests. Leaves: a score or an error for each, to the request that asked. Invariant:
an answer goes to its own ask and nowhere else, however many others were cancelled meanwhile; the event loop never
waits; and what would wait too long is refused at once.

Why together
------------
One ask alone costs a read of the store, a call of the model and two changes of threads: about 550 microseconds. Sixteen
at once cost 900. So asks gather for as long as a lane is at work, and then for as long as each turn of the event loop
brings more of them: the busier the service, the larger the batches, and an idle service makes nobody wait.

Lanes
-----
A lane is a thread. Python's threads share one core, so a second lane is worth having only when the first one waits, for
a slow store or a late model: it is taken when the first has been at work for `patience_seconds`. Many asks of one
request (`ask_many`) go in bites, one after another, so that they do not stand in the way of single ones.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from tenure.core.errors import StateError, TenureError
from tenure.score.served import Ask, ServedScore

__all__ = ["Batcher"]

Answer = ServedScore | TenureError
Future = asyncio.Future[Sequence[Answer]]
Score = Callable[[Sequence[Ask]], Sequence[Answer]]


@dataclass(slots=True, eq=False)
class _Batch:
    """Asks that go to a lane together, and who waits for which of them."""

    loop: asyncio.AbstractEventLoop
    jobs: list[tuple[Future, Sequence[Ask]]]
    lane: _Lane

    def asks(self) -> list[Ask]:
        return [ask for _, asks in self.jobs for ask in asks]

    def settle(self, outcome: Sequence[Answer] | BaseException) -> None:
        """Give everybody who still waits what is theirs."""
        first = 0
        for future, asks in self.jobs:
            last = first + len(asks)
            if future.done():
                pass  # whoever asked has gone
            elif isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome[first:last])
            first = last


class _Lane:
    """A thread that works out one batch at a time."""

    def __init__(
        self, name: str, score: Score, told: Callable[[_Batch, Sequence[Answer] | BaseException], None]
    ) -> None:
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._score, self._told = score, told
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def put(self, batch: _Batch | None) -> None:
        """Begin a batch, or end the thread."""
        self._batches.put(batch)

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            outcome = self._outcome(batch.asks())
            try:
                batch.loop.call_soon_threadsafe(self._told, batch, outcome)
            except RuntimeError:  # the loop was closed, and with it everybody who asked
                continue

    def _outcome(self, asks: list[Ask]) -> Sequence[Answer] | BaseException:
        try:
            answers = self._score(asks)
        except BaseException as error:  # noqa: BLE001 - it is raised again, to everybody who asked
            return error
        if len(answers) != len(asks):
            return RuntimeError(f"{len(asks)} asks were answered with {len(answers)} scores.")
        return answers


class Batcher:
    """Hands asks that come at the same time to a scorer together.

    Parameters
    ----------
    score : callable
        Answers many asks with as many scores or errors; called in a thread, and by several threads at once.
    lanes : int
        How many batches may be at work at once.
    most : int
        How many asks a batch may hold.
    waiting : int
        How many asks may wait; whoever comes then is told to come later.
    patience_seconds : float
        How long a batch may be at work before the next one is begun beside it.

    Examples
    --------
    >>> from tenure.core.errors import NotFoundError
    >>> async def nobody() -> str:
    ...     batcher = Batcher(lambda asks: [NotFoundError(f"No {ask.customer_id}.") for ask in asks])
    ...     try:
    ...         return str(await batcher.ask(Ask("c9")))
    ...     except NotFoundError as error:
    ...         return error.message
    ...     finally:
    ...         await batcher.close()
    >>> asyncio.run(nobody())
    'No c9.'
    """

    def __init__(
        self, score: Score, *, lanes: int = 4, most: int = 64, waiting: int = 2_000, patience_seconds: float = 0.005
    ) -> None:
        self._score, self._most, self._room, self._patience_seconds = score, most, waiting, patience_seconds
        self._unused = lanes
        self._idle: list[_Lane] = []
        self._jobs: dict[Future, Sequence[Ask]] = {}
        self._waiting = self._running = 0
        self._is_called = self._is_closed = False
        self._gathered = self._still = 0  # how many waited at the last turn of the loop, and for how many turns so many
        # The batch that others wait for; None once it has taken too long, and they go beside it.
        self._awaited: _Batch | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._quiet: asyncio.Future[None] | None = None

    async def ask(self, ask: Ask) -> ServedScore:
        """The score that is wanted.

        Raises
        ------
        TenureError
            What the scorer answers in place of a score; StateError also where too many wait.
        """
        (answer,) = await self._wait_for((ask,))
        if isinstance(answer, TenureError):
            raise answer
        return answer

    async def ask_many(self, asks: Sequence[Ask]) -> list[Answer]:
        """As many scores or errors as there are asks, in their order.

        Raises
        ------
        StateError
            Too many wait.
        """
        answers: list[Answer] = []
        for first in range(0, len(asks), self._most):
            answers.extend(await self._wait_for(asks[first : first + self._most]))
        return answers

    async def close(self) -> None:
        """Take nothing more, answer what waits, and end the threads."""
        self._is_closed = True
        if self._jobs or self._running:
            self._quiet = self._quiet or asyncio.get_running_loop().create_future()
            await self._quiet
        while self._idle:
            self._idle.pop().put(None)

    async def _wait_for(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        if self._is_closed:
            raise StateError("The service is being stopped.", hint="Ask again: another process answers.")
        if self._waiting + len(asks) > self._room:
            raise StateError(f"{self._waiting} scores are waiting already.", hint="Ask again in a second.")
        loop = asyncio.get_running_loop()
        future: Future = loop.create_future()
        self._jobs[future] = asks
        self._waiting += len(asks)
        self._call(loop)
        try:
            return await future
        finally:
            self._forget(future)

    def _forget(self, future: Future) -> None:
        """Take back an ask that was cancelled before a lane had it."""
        asks = self._jobs.pop(future, None)
        if asks is not None:
            self._waiting -= len(asks)

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a batch begun, once the others that are ready now have asked, too."""
        if self._jobs and self._awaited is None and not self._is_called:
            self._is_called = True
            self._gathered, self._still = self._waiting, 0
            loop.call_soon(self._gather, loop)

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin once the loop has brought nothing more: from a request's first byte to its ask it takes two turns."""
        self._still = self._still + 1 if self._waiting <= self._gathered else 0
        self._gathered = self._waiting
        if self._still < 2 and self._waiting < self._most:
            loop.call_soon(self._gather, loop)
        else:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the next batch to a lane, unless everybody should wait for one that is at work."""
        self._is_called = False
        if not self._jobs or self._awaited is not None or not (self._idle or self._unused):
            return
        batch = _Batch(loop, self._take(), self._lane())
        self._running += 1
        self._awaited = batch
        self._alarm = loop.call_later(self._patience_seconds, self._lose_patience, loop)
        batch.lane.put(batch)

    def _take(self) -> list[tuple[Future, Sequence[Ask]]]:
        """The asks that have waited longest, as many as a batch may hold."""
        jobs: list[tuple[Future, Sequence[Ask]]] = []
        size = 0
        for future, asks in self._jobs.items():
            size += len(asks)
            if size > self._most and jobs:
                break
            jobs.append((future, asks))
        for future, _ in jobs:
            self._forget(future)
        return jobs

    def _lane(self) -> _Lane:
        if self._idle:
            return self._idle.pop()
        self._unused -= 1
        return _Lane(f"score-{self._unused}", self._score, self._end)

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        self._awaited = None
        self._begin(loop)

    def _end(self, batch: _Batch, outcome: Sequence[Answer] | BaseException) -> None:
        """Give everybody their answers, and let the lane begin what has gathered meanwhile."""
        self._running -= 1
        self._idle.append(batch.lane)
        if self._awaited is batch:
            self._awaited = None
            if self._alarm is not None:
                self._alarm.cancel()
        batch.settle(outcome)
        self._call(batch.loop)
        if self._quiet is not None and not self._jobs and not self._running and not self._quiet.done():
            self._quiet.set_result(None)
