"""The second model of a version, which answers where the first one fails or is late.

Enters: the fallback family's model with a calibration of its own. Leaves: the folder `fallback/` of a version, and the
members that can be asked for a probability, in their order. Invariant: whoever is asked gives a calibrated probability,
and what each of them says of the golden rows is kept with the version, so that a model that hardly ever answers is
proved as the one that always does.

| file | what |
| --- | --- |
| `fallback/fallback.json` | family, and how long the model before it may take |
| `fallback/calibration.json` | how its probabilities become ones that come true |
| `fallback/…` | the model, as its family writes it |
| `relay.parquet` | what each member says of the golden rows; only where there is more than one |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.errors import did_you_mean
from tenure.core.guard import State, nobody
from tenure.model.calibrate import Calibration
from tenure.model.document import canonical, parse, read_file, refused, write_file
from tenure.model.families import FAMILIES
from tenure.model.family_chain import ChainModel
from tenure.model.family_ensemble import EnsembleModel
from tenure.model.golden import largest_difference
from tenure.model.manifest import CALIBRATION
from tenure.model.protocol import Matrix, Model, Vector, sigmoid
from tenure.model.relay import LAST_SECONDS, Member, Relay

__all__ = [
    "Standby",
    "families_of",
    "find_members",
    "load_family",
    "members_difference",
    "read_answers",
    "read_standby",
    "relay_of",
    "write_answers",
    "write_standby",
]

FOLDER, FILE, RELAY = "fallback", "fallback.json", "relay.parquet"
_WHERE = f"{FOLDER}/{FILE}"


@dataclass(frozen=True)
class _Record:
    """What `fallback.json` holds."""

    family: str
    budget_seconds: float


@dataclass(frozen=True, eq=False)
class Standby:
    """The model that stands by.

    Parameters
    ----------
    family : str
        Key in `tenure.model.families.FAMILIES`.
    model : Model
        Gives uncalibrated probabilities.
    calibration : Calibration
        Corrects them; learned for this model.
    budget_seconds : float
        How long the model before it may take to answer somebody who waits.
    """

    family: str
    model: Model
    calibration: Calibration
    budget_seconds: float


def load_family(name: str, folder: Path) -> Model:
    """Read a model that a family wrote.

    Raises
    ------
    ArtifactError
        The family is foreign.
    MissingExtraError
        The family needs a package that is not installed here.
    """
    if name not in FAMILIES:
        raise refused(f"The model family {name!r} is foreign. {did_you_mean(name, FAMILIES)}", family=name)
    return FAMILIES[name]().load(folder)


def write_standby(folder: Path, standby: Standby) -> None:
    """Write `fallback/` into a version's folder."""
    (folder / FOLDER).mkdir()
    standby.model.save(folder / FOLDER)
    write_file(folder, _WHERE, _Record(standby.family, standby.budget_seconds))
    (folder / FOLDER / CALIBRATION).write_bytes(canonical(standby.calibration.to_json()))


def read_standby(folder: Path) -> Standby | None:
    """Read what `write_standby` wrote; None where the version has no fallback.

    Raises
    ------
    ArtifactError
        The family is foreign, or a document is damaged.
    """
    place = folder / FOLDER
    if not place.exists():
        return None
    if not (folder / _WHERE).exists():
        raise refused(f"{FOLDER} holds no {FILE}.", file=_WHERE)
    record = read_file(folder, _WHERE, _Record)
    calibration = Calibration.from_json(parse((place / CALIBRATION).read_bytes(), f"{FOLDER}/{CALIBRATION}"))
    return Standby(record.family, load_family(record.family, place), calibration, record.budget_seconds)


def find_members(family: str, model: Model, calibration: Calibration, standby: Standby | None) -> tuple[Member, ...]:
    """Who can be asked for a calibrated probability: the model, or each member of a chain, then the one standing by.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> even = SimpleNamespace(predict_margin=lambda matrix: np.zeros(len(matrix)))
    >>> standby = Standby("logistic", even, Calibration("sigmoid", intercept=1.0), 0.05)
    >>> one, other = find_members("xgboost", even, Calibration(), standby)
    >>> row = np.zeros((1, 1), np.float32)
    >>> one.name, one.predict(row).tolist(), other.name, other.predict(row).round(2).tolist()
    ('xgboost', [0.5], 'logistic', [0.73])
    """
    own = model.members if isinstance(model, ChainModel) else (Member(family, model.predict_margin),)
    found = [Member(member.name, _calibrated(member.predict, calibration)) for member in own]
    if standby is not None and standby.family not in {member.name for member in own}:
        found.append(Member(standby.family, _calibrated(standby.model.predict_margin, standby.calibration)))
    return tuple(found)


def families_of(family: str, model: Model, standby: Standby | None) -> set[str]:
    """Every family whose model a version holds, members included.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(predict_margin=len)
    >>> sorted(families_of("xgboost", model, Standby("logistic", model, Calibration(), 0.05)))
    ['logistic', 'xgboost']
    """
    found = {family}
    if isinstance(model, ChainModel):
        found |= {link.name for link in model.links}
    if isinstance(model, EnsembleModel):
        found |= set(model.names)
    return found if standby is None else found | families_of(standby.family, standby.model, None)


def relay_of(
    members: Sequence[Member],
    model: Model,
    standby: Standby | None,
    seconds: float | None = None,
    told: Callable[[str, State], None] = nobody,
) -> Relay:
    """The relay of a version's members, with the budget that the chain or the one standing by was made with.

    Parameters
    ----------
    members : sequence of Member
        As `find_members` gives them.
    model : Model
        The version's own.
    standby : Standby or None
        Its fallback.
    seconds : float, optional
        How long all of them may take together. The last one has what those before it leave, but no less than each of
        them, for it may be the one that works. Default: the last one has `LAST_SECONDS`.
    told : callable
        Hears the name and the new state of a member that is left alone, or asked again.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(predict_margin=len)
    >>> standby = Standby("logistic", model, Calibration(), 0.05)
    >>> members = find_members("xgboost", model, Calibration(), standby)
    >>> [guard.seconds for guard in relay_of(members, model, standby, 0.25).guards]
    [0.05, 0.2]
    """
    made = model if isinstance(model, ChainModel) else standby
    own = LAST_SECONDS if made is None else made.budget_seconds
    if seconds is None:
        return Relay(members, own, told=told)
    left = seconds - own * (len(members) - 1)
    return Relay(members, own, last_seconds=max(left, min(own, seconds)), told=told)


def write_answers(folder: Path, members: Sequence[Member], golden: Matrix) -> None:
    """Keep what each of several members says of the golden rows."""
    if len(members) > 1:
        pq.write_table(_answers(members, golden), folder / RELAY)


def read_answers(folder: Path) -> pa.Table:
    """Read what `write_answers` kept; a table without columns where there is one member only."""
    return pq.read_table(folder / RELAY) if (folder / RELAY).exists() else pa.table({})


def members_difference(kept: pa.Table, members: Sequence[Member], golden: Matrix) -> float:
    """The largest difference between what members say of the golden rows and what was kept.

    Raises
    ------
    ArtifactError
        The answers are those of other members.
    """
    names = [member.name for member in members] if len(members) > 1 else []
    if kept.column_names != names:
        given, wanted = (", ".join(some) or "nobody" for some in (kept.column_names, names))
        raise refused(f"{RELAY} holds answers of {given}, not of {wanted}.")
    if not names:
        return 0.0
    found = _answers(members, golden)
    return max(largest_difference(kept[name].to_numpy(), found[name].to_numpy()) for name in names)


def _answers(members: Sequence[Member], golden: Matrix) -> pa.Table:
    return pa.table({member.name: pa.array(member.predict(golden), pa.float64()) for member in members})


def _calibrated(margin: Callable[[Matrix], Vector], calibration: Calibration) -> Callable[[Matrix], Vector]:
    return lambda matrix: calibration.apply(sigmoid(margin(matrix)))
