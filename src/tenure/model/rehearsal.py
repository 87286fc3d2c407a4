"""What the throw-away process does: limit itself, parse a version, predict its golden rows.

Enters: the folder and the limits, on the command line. Leaves: one line on standard output, the difference as JSON or
the reason in words. Invariant: the limits are in force before the first byte of the version is read.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import TracebackType

from tenure.core.errors import TenureError
from tenure.model.manifest import EVALUATION
from tenure.model.parts import read_parts, reproduce
from tenure.model.scorecard import read_scorecard

if sys.platform != "win32":
    import resource

__all__ = ["main"]

_OUTPUT_BYTES = 1 << 20
# What means nothing to a reader: the private folder, and where in its own source XGBoost was.
_NOISE = re.compile(r"[^\s'`]*/(?=(?:model|encoder|golden)\.)|\[\d\d:\d\d:\d\d\] \S+:\d+: |Stack trace:.*", re.DOTALL)


def main(folder: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Parse the version in `folder` and print the largest difference to its golden rows.

    Parameters
    ----------
    folder : str
        Private copy of a version's files.
    cpu_seconds, memory_bytes : str
        Whole numbers, as the command line carries them.
    """
    sys.excepthook = _say
    _limit(int(cpu_seconds), int(memory_bytes))
    parts, golden = read_parts(Path(folder))
    read_scorecard((Path(folder) / EVALUATION).read_bytes())
    sys.stdout.write(json.dumps({"difference": reproduce(parts, golden)}) + "\n")


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    if sys.platform == "win32":  # Windows has no such limits; the wall clock remains
        return
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_FSIZE, _OUTPUT_BYTES)
    if taken := _address_space():
        _lower(resource.RLIMIT_AS, taken + memory_bytes)


def _lower(limit: int, value: int) -> None:
    """Set both limits, never above what the parent was allowed."""
    _, hard = resource.getrlimit(limit)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowest, lowest))


def _address_space() -> int:
    """Bytes of address space that this process has taken so far; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report a failure as one line of words; the whole traceback goes to standard error."""
    text = error.message if isinstance(error, TenureError) else f"{kind.__name__}: {_NOISE.sub('', str(error))}"
    sys.stdout.write(" ".join(text.split())[:500] + "\n")
    sys.stdout.flush()
    sys.__excepthook__(kind, error, trace)
