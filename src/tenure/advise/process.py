"""Candidates run one after the other, each in a process of its own.

Enters: labelled rows, their split, a candidate's settings. Leaves: a `Trial`, or the reason why there is none.
Invariant: no candidate can end the comparison: one that crashes or runs out of memory is an entry in the list of those
that failed, with the signal that ended it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pyarrow import feather

from tenure.advise.candidate import Candidate
from tenure.advise.trial import FEATURES, PREDICTIONS, RESULT, ROWS, TASK, Costs
from tenure.core.errors import InputError, StateError
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.core.time import format_instant
from tenure.model.frame import Frame
from tenure.model.protocol import Vector
from tenure.model.split import Split

__all__ = ["Failure", "Trial", "Workshop"]

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from tenure.advise.trial import main; main(sys.argv[1])"
_COMPLAINT_BYTES = 2000


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate that was trained and timed.

    Parameters
    ----------
    candidate : Candidate
        Which.
    probability : float64 array (test rows,)
        As they would be served: prior and calibration put right.
    uncorrected : float64 array (test rows,)
        What the model alone says. Learned from evened-out rows, it takes churn for more common than it is.
    costs : Costs
        Time, memory, size.
    explanation, calibration : str
        How its reasons are found, and which calibration was kept.
    choice : mapping of str to float
        What cross-fitting chose.
    notes : tuple of str
        What a reader must know of it.
    """

    candidate: Candidate
    probability: Vector
    uncorrected: Vector
    costs: Costs
    explanation: str
    calibration: str
    choice: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A candidate that could not be trained, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Workshop:
    """Rows on disk, ready for one process after the other.

    Parameters
    ----------
    folder : Path
        Empty, and the workshop's own; the rows lie in it once.
    split : Split
        Blocks of the rows.
    threads : int, optional
        Threads of each training.

    Examples
    --------
    >>> import numpy as np
    >>> from tenure.model.split import split_table
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), visits < 6, pa.table({"visits": visits}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     workshop = Workshop.open(Path(folder), frame, split_table(frame), threads=1)
    ...     trial = workshop.run(Candidate("logistic"), ModelSettings(family="logistic", fallback=None))
    >>> trial.probability.shape, trial.costs.artifact_bytes > 0
    ((80,), True)
    """

    folder: Path
    split: Split
    threads: int | None = None

    @classmethod
    def open(cls, folder: Path, frame: Frame, split: Split, threads: int | None = None) -> Workshop:
        """Write the rows that all candidates learn from and are judged on."""
        rows = pa.table({"customer_id": frame.customer_id, "label": frame.label, "cutoff": frame.cutoff})
        feather.write_feather(rows, folder / ROWS)
        feather.write_feather(frame.features, folder / FEATURES)
        return cls(folder, split, threads)

    def run(self, candidate: Candidate, model: ModelSettings, progress: Progress = silent) -> Trial | Failure:
        """Train and time a candidate.

        Raises
        ------
        StateError
            No process could be started.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place = Path(name)
            for file in (ROWS, FEATURES):
                _lay(self.folder / file, place / file)
            (place / TASK).write_text(json.dumps(self._task(model)), encoding="utf-8")
            reason = _run(place, candidate.name, progress)
            return Failure(candidate.name, reason) if reason else _trial(candidate, place)

    def _task(self, model: ModelSettings) -> dict[str, Any]:
        split = self.split
        blocks = {name: [format_instant(t) for t in getattr(split, name)] for name in ("train", "calibrate", "test")}
        boundary = format_instant(split.boundary) if split.boundary else None
        return {
            "split": blocks | {"how": split.how, "boundary": boundary, "seed": split.seed},
            "settings": {
                "table": {"path": "rows", "label": "label", "positive": True},
                "model": model.model_dump(mode="json"),
            },
            "threads": self.threads,
        }


def _lay(source: Path, target: Path) -> None:
    """Put a file into a second folder: by a hard link where the file system has them, else as a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _run(place: Path, name: str, progress: Progress) -> str:
    """Run the process; why it gave nothing, or an empty text."""
    with tempfile.TemporaryFile() as complaint:
        with _start(place, name, complaint) as process:
            try:
                known = _listen(process.stdout, name, progress)
                code = process.wait()
            finally:
                process.kill()
        progress(f"compare {name}", 1.0)
        complaint.seek(0)
        complained = complaint.read().decode("utf-8", "replace")[-_COMPLAINT_BYTES:].strip()
    return "" if code == 0 else known or _reason(code, complained)


def _start(place: Path, name: str, complaint: IO[bytes]) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-c", _PROGRAM, str(place), *filter(None, sys.path)]
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, our own program text
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaint, encoding="utf-8"
        )
    except OSError as error:
        raise StateError(f"No process could be started to train {name}: {error}.", hint="Free memory.") from None


def _listen(lines: IO[str] | None, name: str, progress: Progress) -> str:
    """Pass on how far the training is; gives the error that it told, if any. Libraries may print what they like."""
    known = ""
    for line in lines or ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and "done" in told:
            progress(f"compare {name}", 0.9 * float(told["done"]))
        elif isinstance(told, dict) and "error" in told:
            known = " ".join(filter(None, (told["error"]["message"], told["error"]["hint"])))
    return known


def _reason(code: int, complained: str) -> str:
    if code >= 0:
        return complained.splitlines()[-1] if complained else f"its process ended with code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    often = "; that is how the system ends a process when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{often}"


def _trial(candidate: Candidate, place: Path) -> Trial:
    found = json.loads((place / RESULT).read_text(encoding="utf-8"))
    predictions = feather.read_table(place / PREDICTIONS, memory_map=False)
    probability, uncorrected = (predictions[name].to_numpy() for name in ("probability", "uncorrected"))
    if not predictions.num_rows:
        raise InputError("The test block has no rows.", hint="Check [churn] test.")
    return Trial(
        candidate=candidate,
        probability=probability,
        uncorrected=uncorrected,
        costs=Costs(**found["costs"]),
        explanation=found["explanation"],
        calibration=found["calibration"],
        choice=found["choice"],
        notes=tuple(found["notes"]),
    )
