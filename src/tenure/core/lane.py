"""Threads that do one piece of work after another for whoever waits for it.

Enters: work that may hang. Leaves: its outcome, or nothing where it took too long. Invariant: nobody waits longer than
they said; a thread is used by one piece of work at a time and is used again as soon as that has ended.

To start a thread takes longer than most of the work that is guarded, so threads that have ended their work wait for
more, in a row that all guards of the process share: the one that worked last, whose memory is still warm, works next.
A piece of work that hangs keeps its thread; nothing can stop it. Threads end with the process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread

__all__ = ["Outcome", "Task", "run_in_lane"]

LANE, MOST_IDLE = "tenure-lane", 32
Outcome = tuple[object, BaseException | None]


class Task:
    """A piece of work, and the outcome once there is one.

    Parameters
    ----------
    work : callable
        What is to be done.
    ended : callable
        Called in the thread of the work when it has ended, before the outcome can be waited for.

    Examples
    --------
    >>> task = Task(lambda: 1 + 1, lambda task: None)
    >>> run_in_lane(task)
    >>> task.wait(60.0), task.outcome
    (True, (2, None))
    """

    __slots__ = ("_done", "_ended", "_work", "outcome")

    def __init__(self, work: Callable[[], object], ended: Callable[[Task], None]) -> None:
        self._work, self._ended = work, ended
        self.outcome: Outcome | None = None
        self._done = Lock()
        self._done.acquire()

    def run(self) -> None:
        """Do the work; never raises."""
        self.outcome = _attempt(self._work)
        self._ended(self)

    def hand_over(self) -> None:
        """Wake whoever waits."""
        self._done.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the outcome; whether it came. One thread may wait, once."""
        return self._done.acquire(timeout=seconds)


class _Lane:
    """A thread and the task that it is given next."""

    __slots__ = ("_given", "_task")

    def __init__(self) -> None:
        self._given = Lock()
        self._task: Task | None = None
        self._given.acquire()
        Thread(target=self._run, name=LANE, daemon=True).start()

    def give(self, task: Task) -> None:
        self._task = task
        self._given.release()

    def _run(self) -> None:
        while True:
            self._given.acquire()
            if not self._work():
                return

    def _work(self) -> bool:
        """Do what was given; whether this thread will be needed again."""
        task, self._task = self._task, None  # what it holds must not live until the next one comes
        if task is None:
            return False
        task.run()
        is_needed = len(_idle) < MOST_IDLE
        if is_needed:
            _idle.append(self)  # before the outcome is handed over: the next task finds this thread
        task.hand_over()
        return is_needed


_idle: deque[_Lane] = deque()
os.register_at_fork(after_in_child=_idle.clear)  # a child has none of its parent's threads


def run_in_lane(task: Task) -> None:
    """Hand a task to a thread that waits for one, or to a new one.

    Raises
    ------
    RuntimeError
        The system gives no more threads.
    """
    try:
        lane = _idle.pop()
    except IndexError:
        lane = _Lane()
    lane.give(task)


def _attempt(work: Callable[[], object]) -> Outcome:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for the work
        return None, error
