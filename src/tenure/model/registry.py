"""Which versions exist, and which of them the aliases point at.

Enters: sealed version folders, and the wish to point an alias at one of them. Leaves: `Version` rows, and a history
that is only ever added to. Invariant: a version is visible only once its folder is whole, an alias points only at a
version that verified at that moment, and a name is given out once, ever.

How a name is given out
-----------------------
`reserve` inserts a row and takes the number that the database gives it, so two trainers at once get two names and
neither waits for the other's training. Then the folder is written under that name, whole or not at all. Then `register`
marks the row as ready. A training that is killed in between leaves a reserved row, which nothing lists, and at most a
folder that no row vouches for, which nothing loads by name; both are harmless, and their name is never used again. A
database that was started anew beside old folders skips the names that are taken there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from tenure.core.errors import InputError, NotFoundError, StateError, did_you_mean
from tenure.core.time import Clock
from tenure.model.catalogue import (
    Move,
    Version,
    alias_rows,
    instant_text,
    move_rows,
    read_move,
    read_version,
    transaction,
    version_rows,
)
from tenure.model.verify import read_manifest, verify

__all__ = ["LATEST", "Move", "Registry", "Version"]

LATEST = "latest"
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"v([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Registry:
    """The versions of a project.

    Parameters
    ----------
    engine : Engine
        The project's database, from `tenure.core.database.open_database`.
    folder : Path
        Where version folders are; a version's own folder carries its name. The database does not keep this path, so a
        project may be moved.
    clock : Clock
        Says when something happened.
    check : callable, optional
        Called with a version's folder and the hash of its manifest before an alias may point at it; raises
        `ArtifactError` where the version may not be used. Default: `tenure.model.verify.verify`.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> from tenure.core.time import fixed_clock
    >>> registry = Registry(open_database("sqlite://"), Path("no-such-folder"), fixed_clock("2026-01-01"))
    >>> registry.reserve(), registry.reserve(), registry.versions()
    ('v1', 'v2', ())
    """

    engine: Engine
    folder: Path
    clock: Clock
    check: Callable[[Path, str], object] = verify

    def reserve(self) -> str:
        """Give out a name that nobody has and nobody had."""
        while True:
            row = version_rows.insert().values(state="reserved", reserved_at=instant_text(self.clock()))
            with transaction(self.engine) as connection:
                (number,) = connection.execute(row).inserted_primary_key or (0,)
            if not os.path.lexists(self.folder / f"v{number}"):
                return f"v{number}"

    def register(self, name: str, manifest_sha256: str) -> Version:
        """Make a version visible whose folder has been written under a reserved name.

        Parameters
        ----------
        name : str
            What `reserve` gave.
        manifest_sha256 : str
            What writing the folder returned.

        Raises
        ------
        ArtifactError
            The folder is absent or its manifest is another one.
        StateError
            The name was not reserved, or is registered already.
        """
        manifest = read_manifest(self.folder / name, manifest_sha256)
        whole = version_rows.update().where(version_rows.c.number == _number(name), version_rows.c.state == "reserved")
        with transaction(self.engine) as connection:
            done = connection.execute(whole.values(
                state="ready",
                created_at=instant_text(manifest.created_at),
                family=manifest.family,
                manifest_sha256=manifest_sha256,
                metrics=json.dumps({key: asdict(metric) for key, metric in manifest.metrics.items()}, sort_keys=True),
            ))  # fmt: skip
        if done.rowcount != 1:
            raise StateError(f"{name} is not a reserved name, so nothing can be registered under it.",
                             hint="Reserve a new name and write the version again.", version=name)  # fmt: skip
        return self.get(name)

    def versions(self) -> tuple[Version, ...]:
        """Every version that is whole, the newest first."""
        ready = sa.select(version_rows).where(version_rows.c.state == "ready").order_by(version_rows.c.number.desc())
        with transaction(self.engine) as connection:
            rows = connection.execute(ready).all()
            pointing = connection.execute(sa.select(alias_rows).order_by(alias_rows.c.alias)).all()
        names = {row.number: tuple(held.alias for held in pointing if held.version == row.number) for row in rows}
        return tuple(read_version(row, self.folder, names[row.number]) for row in rows)

    def aliases(self) -> dict[str, str]:
        """Every alias with the name of its version."""
        with transaction(self.engine) as connection:
            rows = connection.execute(sa.select(alias_rows).order_by(alias_rows.c.alias)).all()
        return {row.alias: f"v{row.version}" for row in rows}

    def get(self, name: str) -> Version:
        """The version of a name.

        Raises
        ------
        NotFoundError
            No version has that name.
        """
        found = {version.name: version for version in self.versions()}
        if name in found:
            return found[name]
        raise _not_found(name, found, self._is_reserved(name))

    def resolve(self, text: str) -> Version:
        """The version that a name, an alias or `latest` stands for.

        Raises
        ------
        NotFoundError
            Nothing is called so; the message names what comes nearest.
        """
        found = {version.name: version for version in self.versions()}
        names = dict(found)
        for version in found.values():
            names.update(dict.fromkeys(version.aliases, version))
        if found:
            names[LATEST] = next(iter(found.values()))
        if text in names:
            return names[text]
        raise _not_found(text, names, self._is_reserved(text))

    def promote(self, alias: str, version: str, *, reason: str, by: str) -> Move:
        """Point an alias at a version, after checking that the version may be used.

        Parameters
        ----------
        alias : str
            `champion`, `challenger` or another name of lower-case letters, digits, `_` and `-`.
        version : str
            A name, another alias or `latest`.
        reason, by : str
            Kept in the history.

        Returns
        -------
        Move
            The new entry; the last one where the alias pointed there already.

        Raises
        ------
        InputError
            The alias is not a name that an alias can have.
        NotFoundError
            There is no such version.
        ArtifactError
            The version's folder is damaged or foreign; the alias stays where it was.
        """
        if not _ALIAS.fullmatch(alias) or alias == LATEST or _VERSION.fullmatch(alias):
            raise InputError(
                f"{alias!r} cannot be an alias.", alias=alias,
                hint='Use lower-case letters, digits, "_" and "-", a letter first; not "latest", not "v1".',
            )  # fmt: skip
        return self._point(alias, self.resolve(version), reason, by)

    def rollback(self, alias: str, *, reason: str, by: str) -> Move:
        """Undo the last promotion of an alias that was not undone yet.

        Raises
        ------
        NotFoundError
            The alias does not exist, or pointed at nothing before.
        ArtifactError
            The earlier version's folder is damaged; the alias stays where it is.
        StateError
            Somebody moved the alias meanwhile.
        """
        kept = self._kept(alias)
        if len(kept) < 2:
            known = did_you_mean(alias, self.aliases()) if not kept else f"It only ever pointed at {kept[0]}."
            raise NotFoundError(f"{alias!r} has no earlier version to go back to. {known}", alias=alias,
                                hint="See `tenure models list`.")  # fmt: skip
        return self._point(alias, self.get(kept[-2]), reason, by, undone=kept[-1])

    def history(self, alias: str | None = None) -> tuple[Move, ...]:
        """Every move of one alias, or of all, the oldest first."""
        chosen = sa.select(move_rows).order_by(move_rows.c.id)
        with transaction(self.engine) as connection:
            rows = connection.execute(chosen if alias is None else chosen.where(move_rows.c.alias == alias)).all()
        return tuple(read_move(row) for row in rows)

    def _kept(self, alias: str) -> list[str]:
        """The versions that an alias pointed at, without the ones that were rolled back; the last one is in force."""
        kept: list[str] = []
        for move in self.history(alias):
            if move.is_rollback:
                kept.pop()
            else:
                kept.append(move.version)
        return kept

    def _point(self, alias: str, version: Version, reason: str, by: str, undone: str | None = None) -> Move:
        self.check(version.folder, version.manifest_sha256)
        try:
            return self._write(alias, version, reason, by, undone)
        except IntegrityError:  # another process gave the alias its first version in between; now it is there
            return self._write(alias, version, reason, by, undone)

    def _write(self, alias: str, version: Version, reason: str, by: str, undone: str | None) -> Move:
        number = int(version.name[1:])
        with transaction(self.engine) as connection:
            held = sa.select(alias_rows.c.version).where(alias_rows.c.alias == alias).with_for_update()
            previous = connection.scalar(held)
            if undone is not None and previous != int(undone[1:]):
                raise StateError(f"{alias!r} was moved to v{previous} meanwhile.", hint="Look again, then decide.")
            if previous == number:
                last = sa.select(move_rows).where(move_rows.c.alias == alias).order_by(move_rows.c.id.desc()).limit(1)
                return read_move(connection.execute(last).one())
            if previous is None:
                connection.execute(alias_rows.insert().values(alias=alias, version=number))
            else:
                connection.execute(alias_rows.update().where(alias_rows.c.alias == alias).values(version=number))
            written = move_rows.insert().values(
                alias=alias, version=number, previous=previous, at=instant_text(self.clock()), reason=reason, by=by,
                is_rollback=undone is not None,
            ).returning(*move_rows.c)  # fmt: skip
            return read_move(connection.execute(written).one())

    def _is_reserved(self, name: str) -> bool:
        row = sa.select(version_rows.c.state).where(version_rows.c.number == _number(name))
        with transaction(self.engine) as connection:
            return connection.scalar(row) == "reserved"


def _number(name: str) -> int:
    """The number in `v7`; 0, which no row has, for anything else."""
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else 0


def _not_found(text: str, known: Iterable[str], is_reserved: bool) -> NotFoundError:
    if is_reserved:
        return NotFoundError(f"{text} is the name of a training that has not finished.", version=text,
                             hint="See `tenure models list` for the versions that are whole.")  # fmt: skip
    names = list(known)
    if not names:
        return NotFoundError(f"There is no version {text!r}: nothing has been trained yet.", version=text,
                             hint="Train a version with `tenure train`.")  # fmt: skip
    return NotFoundError(f"There is no version or alias {text!r}. {did_you_mean(text, names)}", version=text,
                         hint="See `tenure models list`.")  # fmt: skip
