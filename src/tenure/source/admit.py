"""Which documents may go into the log: those that a consumer would count if it met them now.

Enters: documents that were turned into records, and those that cannot be. Leaves: the records to append, by their place
among the documents, and a refusal for every other document. Invariant: each document is in exactly one of the two, and
a record is refused here for the reason that would set it aside behind the log, by the same judgement.

The one thing that is not judged is the partition, which the log itself chooses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np

from tenure.source.event_schema import EventSchema, Fault
from tenure.source.log import Batch
from tenure.source.record import parse
from tenure.source.record_files import Record, Unfit

__all__ = ["Admitted", "Refusal", "admit"]

_ABOUT = re.compile(
    r"(?:missing|unreadable|unknown) (?P<before>.+)"
    r"|(?P<after>.+) (?:is (?:not (?:a number|finite|text)|too long)|out of range|in the future)"
)
# What the words of the contract call a field that has another name in an event.
_FIELDS = {"customer": "customer_id", "recorded time": "recorded"}


@dataclass(frozen=True)
class Refusal:
    """A document that is not appended.

    Parameters
    ----------
    index : int
        Its place among the documents, from 0.
    reason, detail : str
        The reason in the words of the contract, and what was found.

    Examples
    --------
    >>> Refusal(0, "unreadable recorded time", '"soon"').field, Refusal(0, "malformed event", "").field
    ('recorded', None)
    """

    index: int
    reason: str
    detail: str

    @property
    def field(self) -> str | None:
        """The field of the event that is wrong; None where it is the event as a whole."""
        about = _ABOUT.fullmatch(self.reason)
        role = None if about is None else about["before"] or about["after"]
        return None if role is None else _FIELDS.get(role, role)


@dataclass(frozen=True)
class Admitted:
    """What became of documents.

    Parameters
    ----------
    records : mapping of int to Record
        What to append, by the document's place; in the order of the documents.
    refused : tuple of Refusal
        The others, in their order.
    """

    records: Mapping[int, Record]
    refused: tuple[Refusal, ...]


def admit(
    documents: Sequence[Record | Unfit], schemas: Mapping[str, EventSchema], zone: tzinfo, appended: int
) -> Admitted:
    """Tell the documents that a consumer would count from those that it would set aside.

    Parameters
    ----------
    documents : sequence of Record or Unfit
        As `tenure.source.record_files` makes them.
    schemas : mapping of str to EventSchema
        The event types that are known.
    zone : tzinfo
        Where times without an offset happened.
    appended : int
        When the log would take them, microseconds UTC: what is much later than that is in the future.

    Examples
    --------
    >>> from datetime import UTC
    >>> good = ("ada", b'{"type": "visit", "customer_id": "ada", "time": "2026-01-31"}')
    >>> found = admit([("bo", b"{}"), good, Unfit("no")], {"visit": EventSchema("visit")}, UTC, 1_800_000_000_000_000)
    >>> list(found.records), [(one.index, one.reason) for one in found.refused]
    ([1], [(0, 'missing type'), (2, 'malformed event')])
    """
    records = {at: found for at, found in enumerate(documents) if not isinstance(found, Unfit)}
    faults = _faults(records, schemas, zone, appended)
    refused = [Refusal(at, one.reason, one.message) for at, one in enumerate(documents) if isinstance(one, Unfit)]
    refused += [Refusal(at, fault.reason, fault.detail) for at, fault in faults.items()]
    good = {at: record for at, record in records.items() if at not in faults}
    return Admitted(good, tuple(sorted(refused, key=lambda one: one.index)))


def _faults(
    records: Mapping[int, Record], schemas: Mapping[str, EventSchema], zone: tzinfo, appended: int
) -> dict[int, Fault]:
    count = len(records)
    payloads = [payload for _, payload in records.values()]
    batch = Batch(0, np.arange(count), np.full(count, appended), payloads, [None] * count)
    at = list(records)
    return {at[fault.row]: fault for fault in parse(batch, schemas, zone)[1]}
