"""What a family lets itself be told: the names of its parameters, and within which bounds.

Enters: names and numbers, from `[model] parameters` or from a search. Leaves: a family with those settings. Invariant:
a name that the family does not know and a number out of bounds are errors, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, runtime_checkable

from tenure.core.errors import ConfigError, did_you_mean
from tenure.model.protocol import Family

__all__ = ["Parameters", "Span", "Tunable", "check_parameters", "with_parameters"]

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Span:
    """Where a parameter may lie, and where a search looks.

    Parameters
    ----------
    low, high : float
        Bounds, both allowed.
    is_log : bool
        Whether a search goes through it by factors.
    is_whole : bool
        Whether only whole numbers make sense.
    """

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def allows(self, value: float) -> bool:
        """Whether the parameter may have this value."""
        return self.low <= value <= self.high and not (self.is_whole and value != int(value))

    def __str__(self) -> str:
        return f"a {'whole ' if self.is_whole else ''}number from {self.low:g} to {self.high:g}"


@runtime_checkable
class Tunable(Protocol):
    """A family that has something to tune."""

    space: ClassVar[Mapping[str, Span]]
    """Its parameters."""

    def tuned(self, parameters: Parameters) -> Self:
        """The family with some of its parameters set, checked before."""


def with_parameters(family: Family, parameters: Parameters) -> Family:
    """Set parameters of a family.

    Parameters
    ----------
    family : Family
        With its defaults.
    parameters : mapping of str to float
        What differs from them; nothing leaves the family as it is.

    Raises
    ------
    ConfigError
        The family has no such parameter, or a number is out of bounds.

    Examples
    --------
    >>> from tenure.model.family_xgboost import XGBoostFamily
    >>> with_parameters(XGBoostFamily(), {"max_depth": 4, "reg_lambda": 10}).settings.depths
    (4,)
    >>> with_parameters(XGBoostFamily(), {"lambda": 10})
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: The family 'xgboost' has no parameter 'lambda'. ...
    → Correct [model] parameters.
    """
    if not parameters:
        return family
    known = family.space if isinstance(family, Tunable) else {}
    check_parameters(family.name, known, parameters)
    return family.tuned(parameters) if isinstance(family, Tunable) else family


def check_parameters(family: str, known: Mapping[str, Span], parameters: Parameters) -> None:
    """Refuse names and numbers that a family does not know.

    Raises
    ------
    ConfigError
        With what is known.

    Examples
    --------
    >>> check_parameters("xgboost", {"max_depth": Span(1, 12, is_whole=True)}, {"max_depth": 3.5})
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: [model] parameters: max_depth is 3.5; it must be a whole number from 1 to 12.
    → Correct [model] parameters.
    """
    hint = "Correct [model] parameters."
    for name, value in parameters.items():
        if not known:
            raise ConfigError(f"The family {family!r} has no parameters to set, but {name!r} is given.",
                              hint="Remove [model] parameters.", family=family)  # fmt: skip
        if name not in known:
            raise ConfigError(f"The family {family!r} has no parameter {name!r}. {did_you_mean(name, known)}",
                              hint=hint, family=family)  # fmt: skip
        if not known[name].allows(value):
            raise ConfigError(f"[model] parameters: {name} is {value:g}; it must be {known[name]}.",
                              hint=hint, family=family)  # fmt: skip
