"""A throw-away process in which a version is parsed first.

Enters: a private copy of a version's folder. Leaves: the largest difference to its golden rows, or the reason why it
may not be used. Invariant: whatever the files make a library do, this process survives it.

Why a process. XGBoost trusts its model files: one child index that points outside a tree is enough to make it read
foreign memory, which ends the process with a signal that Python cannot catch. Hashes tell who wrote a file only as long
as the manifest's own hash comes from the registry; a folder that is loaded by its path alone vouches for itself. So the
bytes are parsed and the golden rows predicted in a process that may only use so much memory, processor time and wall
clock, may not write files, leaves no core dump, and does not inherit this process's environment with its passwords.
It is no defence against code that breaks out of a parser; it turns crashes, hangs and floods into an `ArtifactError`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tenure.core.errors import StateError
from tenure.model.document import refused

__all__ = ["Limits", "rehearse"]

_PROGRAM = "import sys; sys.path[:] = sys.argv[4:]; from tenure.model.rehearsal import main; main(*sys.argv[1:4])"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ANSWER_BYTES = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What the throw-away process may use.

    Parameters
    ----------
    wall_seconds : float
        From start to answer; the interpreter and its libraries need two to four seconds of it.
    cpu_seconds : int
        Processor time.
    memory_bytes : int
        Address space beyond what the loaded libraries take.

    Examples
    --------
    >>> Limits().cpu_seconds
    60
    """

    wall_seconds: float = 180.0
    cpu_seconds: int = 60
    memory_bytes: int = 2 << 30


def rehearse(folder: Path, name: str, limits: Limits | None = None) -> float:
    """Parse a version and predict its golden rows in a throw-away process.

    Parameters
    ----------
    folder : Path
        Private copy of the version's files.
    name : str
        How messages call the version.
    limits : Limits, optional
        What the process may use.

    Returns
    -------
    float
        Largest absolute difference to the expected probabilities.

    Raises
    ------
    ArtifactError
        The files cannot be parsed, or the process crashed, hung or asked for too much.
    StateError
        No process could be started.
    """
    limits = limits or Limits()
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        code = _run(_command(folder, limits), answer, complaint, limits, name)
        said, complained = _read(answer), _read(complaint)
    if code == 0:
        return _difference(said, name)
    raise refused(f"{name} cannot be used: {_reason(code, said, complained, limits)}", version=name, exit_code=code)


def _command(folder: Path, limits: Limits) -> list[str]:
    paths = [path for path in sys.path if path]  # an empty entry would be the version's own folder
    given = [str(folder), str(limits.cpu_seconds), str(limits.memory_bytes)]
    return [sys.executable, "-I", "-c", _PROGRAM, *given, *paths]


def _run(command: list[str], answer: BinaryIO, complaint: BinaryIO, limits: Limits, name: str) -> int:
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ} | _ONE_THREAD
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own program text
            command, stdin=subprocess.DEVNULL, stdout=answer, stderr=complaint, env=environment, start_new_session=True
        )
    except OSError as error:
        raise StateError(f"No process could be started to check {name}: {error}.", hint="Free some memory.") from None
    try:
        return process.wait(limits.wall_seconds)
    except subprocess.TimeoutExpired:
        raise refused(f"{name} cannot be used: parsing it took more than {limits.wall_seconds:g} seconds.",
                      version=name) from None  # fmt: skip
    finally:
        process.kill()
        process.wait()


def _read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(_ANSWER_BYTES).decode("utf-8", "replace").strip()


def _difference(said: str, name: str) -> float:
    try:
        return float(json.loads(said.splitlines()[-1])["difference"])
    except (ValueError, LookupError, TypeError):
        raise refused(f"{name} cannot be used: the process that parsed it gave no answer.", version=name) from None


def _reason(code: int, said: str, complained: str, limits: Limits) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        limit = f" (its limit is {limits.cpu_seconds} seconds of processor time)" if name == "SIGXCPU" else ""
        return f"parsing it crashed the process that tried, with {name}{limit}."
    reason = said.splitlines()[-1] if said else complained[-200:]
    return f"{reason or f'the process that parsed it ended with code {code}'}"
