"""The family of errors that tenure raises on purpose.

Every message says what happened, with which values, what was available and what to do next. The command line turns an
error into its message and its exit code; anything else that escapes is tenure's own failure (exit code 1).
Identifiers travel as attributes (`error.ids`), so that a caller never parses a message.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "AuditError",
    "ConfigError",
    "ContractError",
    "FencedError",
    "HistoryError",
    "InputError",
    "MissingExtraError",
    "NotFoundError",
    "StateError",
    "TenureError",
    "UnavailableError",
    "UnreachableError",
    "did_you_mean",
    "nearest",
]


class TenureError(Exception):
    """Root of tenure's errors.

    Parameters
    ----------
    message : str
        What happened, with which values, and what was available.
    hint : str
        What to do next, one sentence; printed on its own line.
    **ids
        Values that a program may want: paths, columns, versions, counts.

    Examples
    --------
    >>> error = TenureError("No version is called 'v9'.", hint="Run `tenure models list`.", version="v9")
    >>> error.ids["version"], error.exit_code, error.retryable
    ('v9', 1, False)
    >>> print(error)
    No version is called 'v9'.
    → Run `tenure models list`.
    """

    code = "tenure"
    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "", **ids: object) -> None:
        self.message = message
        self.hint = hint
        self.ids = ids
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}\n→ {self.hint}" if self.hint else self.message


class InputError(TenureError, ValueError):
    """What the user gave cannot be used as it is (exit code 2)."""

    code = "input"
    exit_code = 2


class ConfigError(InputError):
    """`tenure.toml`, the environment or an option says something that tenure does not understand."""

    code = "config"


class NotFoundError(InputError, LookupError):
    """A name, file, column or version that was asked for does not exist."""

    code = "not_found"


class ContractError(InputError):
    """Rows of a source break its contract more often than the project allows."""

    code = "contract"


class HistoryError(InputError):
    """The log is too short, or holds too few customers or churners, for what was asked."""

    code = "history"


class MissingExtraError(InputError, ImportError):
    """An optional package is needed and not installed; the hint is the command that installs it."""

    code = "missing_extra"


class AuditError(TenureError, ValueError):
    """The leakage audit found a feature that knows the future (exit code 3: a check said no)."""

    code = "audit"
    exit_code = 3


class ArtifactError(TenureError, ValueError):
    """A trained version is damaged, foreign or of another format, and is refused (exit code 3)."""

    code = "artifact"
    exit_code = 3


class StateError(TenureError, RuntimeError):
    """The project's database or workspace is busy or broken; trying again may help."""

    code = "state"
    retryable = True


class FencedError(StateError):
    """Another consumer has taken over: what was about to be written is not, and must not be, written."""

    code = "fenced"


class UnreachableError(StateError):
    """A server or file that is needed does not answer; what was asked of it may or may not have happened."""

    code = "unreachable"


class UnavailableError(StateError):
    """Something that a guard stands before gave no answer: it failed, was late, is busy, or is left alone for a while.

    `ids` hold `dependency`, its name, and `reason`: `failed`, `late`, `busy` or `open`.
    """

    code = "unavailable"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a written one most likely stands for, or None where none is near.

    Examples
    --------
    >>> nearest("horizn", ["gap", "horizon"]), nearest("zzz", ["gap", "horizon"])
    ('horizon', None)
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Iterable[str], limit: int = 12) -> str:
    """Name the nearest known word, or list what is known.

    Parameters
    ----------
    word : str
        What was written.
    known : iterable of str
        What would have been understood.
    limit : int
        How many known words to list at most.

    Returns
    -------
    str
        A sentence to append to a message.

    Examples
    --------
    >>> did_you_mean("horizn", ["gap", "horizon"])
    "Did you mean 'horizon'?"
    >>> did_you_mean("zzz", ["gap", "horizon"])
    'Known: gap, horizon.'
    """
    names = sorted(set(known))
    near = nearest(word, names)
    if near is not None:
        return f"Did you mean {near!r}?"
    shown = ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
    return f"Known: {shown}." if names else "Nothing is known here."
