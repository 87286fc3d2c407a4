"""The model families that there are.

Enters: the name in `[model] family` or in a version's manifest. Leaves: the family. Adding one means a file
`family_….py` with the names of `tenure.model.protocol`, and a line here; the conformance suite finds it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tenure.core.errors import ConfigError, did_you_mean
from tenure.model.family_logistic import LogisticFamily
from tenure.model.family_xgboost import XGBoostFamily
from tenure.model.protocol import Family

__all__ = ["FAMILIES", "find_family"]

FAMILIES: Mapping[str, Callable[[], Family]] = {
    LogisticFamily.name: LogisticFamily,
    XGBoostFamily.name: XGBoostFamily,
}


def find_family(name: str) -> Family:
    """Give a family with its default settings.

    Raises
    ------
    ConfigError
        No family has this name.

    Examples
    --------
    >>> find_family("xgboost").name
    'xgboost'
    >>> find_family("xgbost")
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: There is no model family 'xgbost'. Did you mean 'xgboost'?
    → Set [model] family and fallback to known ones.
    """
    if name not in FAMILIES:
        raise ConfigError(
            f"There is no model family {name!r}. {did_you_mean(name, FAMILIES)}",
            hint="Set [model] family and fallback to known ones.",
            family=name,
        )
    return FAMILIES[name]()
