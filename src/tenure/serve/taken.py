"""What became of events that were posted, one result each.

Enters: places in the log, refusals. Leaves: `Taken`, and its bytes, from which it can be read again when a request is
repeated. Invariant: there is one result per event, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tenure.source.admit import Refusal

__all__ = ["Item", "Taken"]

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one event: either its place in the log, or why it has none.

    Parameters
    ----------
    partition, offset : int or None
        Its place; None where it was refused.
    reason, detail : str or None
        Why it was refused, in the words of the contract, and what was found; None where it was accepted.
    field : str or None
        The field that is wrong; None where it is the event as a whole.
    """

    partition: int | None = None
    offset: int | None = None
    reason: str | None = None
    detail: str | None = None
    field: str | None = None

    @classmethod
    def refused(cls, refusal: Refusal) -> Item:
        """A refusal as it may be shown: short, and text that UTF-8 can hold."""
        field = None if refusal.field is None else _shown(refusal.field)
        return cls(reason=_shown(refusal.reason), detail=_shown(refusal.detail), field=field)

    @property
    def accepted(self) -> bool:
        """Whether the event is in the log."""
        return self.partition is not None


def _shown(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of all of them.

    Parameters
    ----------
    results : tuple of Item
        One per event, in their order.
    replayed : bool
        Whether this is the answer to an earlier request with the same key and body.

    Examples
    --------
    >>> taken = Taken.of(2, {1: (0, 17)}, [Refusal(0, "missing time", "null")])
    >>> taken.accepted, taken.refused, Taken.read(taken.written()) == taken.again()
    (1, 1, True)
    """

    results: tuple[Item, ...]
    replayed: bool = False

    @classmethod
    def of(cls, count: int, places: Mapping[int, tuple[int, int]], refused: Sequence[Refusal]) -> Taken:
        """Put places and refusals in the order of the events."""
        found = {at: Item(*place) for at, place in places.items()}
        found.update((refusal.index, Item.refused(refusal)) for refusal in refused)
        return cls(tuple(found[index] for index in range(count)))

    @property
    def accepted(self) -> int:
        """How many are in the log."""
        return sum(item.accepted for item in self.results)

    @property
    def refused(self) -> int:
        """How many are not."""
        return len(self.results) - self.accepted

    def again(self) -> Taken:
        """The same, for a request that came later."""
        return replace(self, replayed=True)

    def written(self) -> bytes:
        """What is kept of it."""
        rows = [
            [one.partition, one.offset] if one.accepted else [one.reason, one.detail, one.field] for one in self.results
        ]
        return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def read(cls, answer: bytes) -> Taken:
        """The answer that was kept."""
        rows = json.loads(answer)
        return cls(
            tuple(Item(*row) if len(row) == 2 else Item(reason=row[0], detail=row[1], field=row[2]) for row in rows),
            replayed=True,
        )
