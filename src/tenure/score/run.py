"""What a run of scoring was asked for, what came out, and how far it is.

Enters: a batch. Leaves: its work folder, found again after a kill, and the records of finished results. Invariant: a
work folder belongs to exactly one identity, which says everything that the scores depend on; so whatever is found
finished in it is what an undisturbed run would have written. The moment at which the run first began is kept there as
well: a run that goes on does not date its scores anew.

A finished folder holds `part-00000.parquet` and so on, `contacts.csv`, `reasons.jsonl` where there are reasons,
`run.json` (the identity and when it began) and `manifest.json` (the summary, and size and SHA-256 of every other file).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tenure.core.errors import StateError
from tenure.core.files import atomic_path, sha256_file
from tenure.core.time import Clock, format_instant, parse_instant
from tenure.model.document import canonical, digest
from tenure.score.contacts import ContactList
from tenure.score.part import Tally

__all__ = ["CONTACTS", "Run", "ScoreSummary", "begin", "clear_work", "finish", "finished", "read_summary"]

CONTACTS = "contacts.csv"
_RUN = "run.json"
_MANIFEST = "manifest.json"
Identity = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run that has begun.

    Parameters
    ----------
    folder : Path
        Where it works; not visible yet.
    computed_at : datetime
        UTC; when it first began.
    """

    folder: Path
    computed_at: datetime


@dataclass(frozen=True)
class ScoreSummary:
    """What finished scores say on the whole.

    Parameters
    ----------
    folder : Path
        Where they are.
    run : str
        Identity of the run: the same inputs and settings give the same one.
    as_of, computed_at : datetime
        UTC; what the features speak for, and when the run began.
    version : str
        Version that scored.
    tally : Tally
        Everybody who is scored.
    contacts : ContactList
        Those of them who stand in the contact list.
    already_done : bool
        Whether the scores were there before and nothing had to be done.
    """

    folder: Path
    run: str
    as_of: datetime
    computed_at: datetime
    version: str
    tally: Tally
    contacts: ContactList
    already_done: bool = False

    @property
    def contact_list(self) -> Path:
        """The CSV file with the contact list."""
        return self.folder / CONTACTS

    @property
    def parts(self) -> tuple[Path, ...]:
        """The Parquet files with the scores, in the order of the customer ids."""
        return tuple(sorted(self.folder.glob("part-*.parquet")))


def begin(visible: Path, identity: Identity, clock: Clock) -> Run:
    """Find the work folder of an identity, or make it; remove what other runs left unfinished.

    Parameters
    ----------
    visible : Path
        Final name of the result.
    identity : mapping
        Everything that the scores depend on.
    clock : Clock
        Asked only where the run has not begun before.
    """
    folder = visible.with_name(f".{visible.name}.{digest(identity)[:16]}.work")
    clear_work(visible, keep=folder)
    begun = _read(folder / _RUN)
    if begun.get("identity") != identity:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        begun = {"identity": identity, "computed_at": format_instant(clock())}
        _write(folder / _RUN, begun)
    for litter in folder.glob(".*"):  # a file that was being written when the run was killed
        litter.unlink()
    return Run(folder, parse_instant(begun["computed_at"]))


def clear_work(visible: Path, keep: Path | None = None) -> None:
    """Remove the work folders of a result, except one."""
    for folder in visible.parent.glob(f".{visible.name}.*.work*"):
        if folder != keep:
            shutil.rmtree(folder)


def finish(run: Run, visible: Path, identity: Identity, tally: Tally, contacts: ContactList) -> ScoreSummary:
    """Write the record of a run whose files are all there."""
    files = {path.name: _measure(path) for path in sorted(run.folder.iterdir()) if path.name != _MANIFEST}
    summary = {
        "run": digest(identity),
        "as_of": identity["as_of"],
        "computed_at": format_instant(run.computed_at),
        "version": identity["version"],
        "tally": asdict(tally),
        "contacts": asdict(contacts),
    }
    _write(run.folder / _MANIFEST, {"summary": summary, "files": files})
    return _summary(visible, summary)


def finished(visible: Path, identity: Identity) -> ScoreSummary | None:
    """The visible result, if it belongs to this identity and every file is as it was written."""
    manifest = _read(visible / _MANIFEST)
    if not manifest or _read(visible / _RUN).get("identity") != identity:
        return None
    files = manifest["files"]
    if any(not (visible / name).is_file() or _measure(visible / name) != files[name] for name in files):
        return None
    return replace(_summary(visible, manifest["summary"]), already_done=True)


def read_summary(visible: Path) -> ScoreSummary:
    """Read what finished scores say on the whole.

    Parameters
    ----------
    visible : Path
        Folder of the result.

    Raises
    ------
    StateError
        There is no finished result.
    """
    manifest = _read(visible / _MANIFEST)
    if not manifest:
        raise StateError(f"There are no finished scores in {visible}.", hint="Run `tenure score`.", folder=str(visible))
    return _summary(visible, manifest["summary"])


def _summary(visible: Path, kept: Mapping[str, Any]) -> ScoreSummary:
    counted = {**kept["tally"], "bands": tuple(kept["tally"]["bands"])}
    return ScoreSummary(
        visible,
        kept["run"],
        parse_instant(kept["as_of"]),
        parse_instant(kept["computed_at"]),
        kept["version"],
        Tally(**counted),
        ContactList(**kept["contacts"]),
    )


def _measure(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(canonical(document))


def _read(path: Path) -> dict[str, Any]:
    """A document that this module wrote; empty where there is none, or where it is damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
