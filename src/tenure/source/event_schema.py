"""What an event on the log may hold, and how many of them look as columns.

Enters: the names that the settings give. Leaves: `EventSchema`, `EventRows`, `Fault`. Invariant: every record of a
batch is in exactly one row of one type, or in exactly one fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure.core.errors import ConfigError

__all__ = ["LONGEST_ID_BYTES", "NEVER", "RESERVED", "EventRows", "EventSchema", "Fault"]

RESERVED = ("type", "customer_id", "time", "recorded", "id")
# What the narrowest store takes for a key: an entry of a PostgreSQL index holds some 2,700 bytes.
LONGEST_ID_BYTES = 2_000
# The `recorded` of an event that has none.
NEVER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True)
class EventSchema:
    """The fields of one event type beside those that all have.

    Parameters
    ----------
    name : str
        The type.
    values : tuple of str
        Numeric fields.
    categories : tuple of str
        Text fields.
    needs_id : bool
        Whether an event must carry an id; where not, ids are ignored.

    Raises
    ------
    ConfigError
        A field has the name of one that all events have, or two have the same name.

    Examples
    --------
    >>> EventSchema("purchase", values=("amount",), categories=("store",), needs_id=True).fields
    ('type', 'customer_id', 'time', 'recorded', 'id', 'amount', 'store')
    """

    name: str
    values: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    needs_id: bool = False

    def __post_init__(self) -> None:
        own = (*self.values, *self.categories)
        clashing = sorted({name for name in own if name in RESERVED or own.count(name) > 1})
        if clashing:
            raise ConfigError(
                f"[events.{self.name}] cannot be read from a log: it has two fields called {', '.join(clashing)}.",
                hint=f"Rename those columns; every event has {', '.join(RESERVED)}.",
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of a document that mean something."""
        return tuple(name for name in RESERVED if self.needs_id or name != "id") + self.values + self.categories


@dataclass(frozen=True)
class EventRows:
    """Events of one type, in the order of the batch.

    Attributes
    ----------
    row : int64 array, shape (n,)
        Where in the batch each event is.
    customer_id : StringArray
        Never blank.
    time, recorded : int64 array, shape (n,)
        Microseconds since 1970 in UTC; `recorded` is the smallest number there is where the event has none.
    id : StringArray or None
        None where the type has no id.
    values : dict of float64 array
        NaN where there is none.
    categories : dict of StringArray
        Null where there is none.
    """

    row: npt.NDArray[np.int64]
    customer_id: pa.StringArray
    time: npt.NDArray[np.int64]
    recorded: npt.NDArray[np.int64]
    id: pa.StringArray | None
    values: dict[str, npt.NDArray[np.float64]]
    categories: dict[str, pa.StringArray]


@dataclass(frozen=True)
class Fault:
    """A record that is no event: its row in the batch, the reason in the words of the contract, and what was found."""

    row: int
    reason: str
    detail: str
