"""The model families that there are.

Enters: the name in `[model] family` or in a version's manifest. Leaves: the family. Adding one means a file
`family_….py` with the names of `tenure.model.protocol`, and a line here; the conformance suite finds it by itself.

Some families need a package that a base install does not have, and say so before any work begins (`require_family`).
Ensembles and chains consist of other families; a member is never one of those two itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tenure.core.errors import ConfigError, did_you_mean
from tenure.core.extras import is_installed, require
from tenure.core.settings import ModelSettings
from tenure.model.family_catboost import CatBoostFamily
from tenure.model.family_chain import ChainFamily
from tenure.model.family_ensemble import EnsembleFamily
from tenure.model.family_forest import ForestFamily
from tenure.model.family_lightgbm import LightGBMFamily
from tenure.model.family_logistic import LogisticFamily
from tenure.model.family_neural import NeuralFamily
from tenure.model.family_xgboost import XGBoostFamily
from tenure.model.protocol import Family
from tenure.model.space import with_parameters

__all__ = [
    "AUTO",
    "FAMILIES",
    "NEEDS",
    "candidates",
    "find_family",
    "find_member",
    "installed_families",
    "require_family",
    "settled_family",
    "wanted_families",
]

AUTO = "auto"


def find_member(name: str) -> Family:
    """Give a family that can be a member of an ensemble or a chain.

    Raises
    ------
    ConfigError
        No family has this name, or it consists of members itself.

    Examples
    --------
    >>> find_member("logistic").name
    'logistic'
    >>> find_member("chain")
    Traceback (most recent call last):
    tenure.core.errors.ConfigError: A 'chain' cannot be a member: it consists of members itself.
    → Name single families in [model] members: catboost, forest, lightgbm, logistic, neural, xgboost.
    """
    if name not in _SINGLE and name in FAMILIES:
        raise ConfigError(
            f"A {name!r} cannot be a member: it consists of members itself.",
            hint=f"Name single families in [model] members: {', '.join(sorted(_SINGLE))}.",
            family=name,
        )
    return find_family(name)


_SINGLE: Mapping[str, Callable[[], Family]] = {
    LogisticFamily.name: LogisticFamily,
    XGBoostFamily.name: XGBoostFamily,
    ForestFamily.name: ForestFamily,
    NeuralFamily.name: NeuralFamily,
    CatBoostFamily.name: CatBoostFamily,
    LightGBMFamily.name: LightGBMFamily,
}

FAMILIES: Mapping[str, Callable[[], Family]] = {
    **_SINGLE,
    EnsembleFamily.name: lambda: EnsembleFamily(find_member),
    ChainFamily.name: lambda: ChainFamily(find_member),
}

NEEDS: Mapping[str, tuple[str, ...]] = {
    NeuralFamily.name: ("torch",),
    CatBoostFamily.name: ("catboost",),
    LightGBMFamily.name: ("lightgbm",),
}
"""Packages that a family's training imports, where a base install may lack them."""


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
    → Set [model] family, fallback and members to known ones.
    """
    if name not in FAMILIES:
        raise ConfigError(
            f"There is no model family {name!r}. {did_you_mean(name, FAMILIES)}",
            hint="Set [model] family, fallback and members to known ones.",
            family=name,
        )
    return FAMILIES[name]()


def settled_family(name: str, settings: ModelSettings) -> Family:
    """Give a family as the settings want it: an ensemble and a chain with their members.

    Raises
    ------
    ConfigError
        A family is unknown, a member consists of members itself, members are fewer than two or named twice, or the
        settings' parameters are not the family's.
    MissingExtraError
        A family or a member needs a package that is not installed.

    Examples
    --------
    >>> settled_family("ensemble", ModelSettings(members=("xgboost", "forest", "logistic"))).weights
    (0.7, 0.15, 0.15)
    """
    family = find_family(name)
    if name not in _SINGLE:
        members = settings.members or ("xgboost", "logistic")
        _check_members(name, members)
        family = ChainFamily(find_member, members, settings.budget_seconds)
        if name == EnsembleFamily.name:
            family = EnsembleFamily(find_member, members, _weights(settings, len(members)))
        for member in members:
            require_family(find_member(member).name)
    require_family(name)
    return with_parameters(family, settings.parameters) if name == settings.family else family


def require_family(name: str) -> None:
    """Import what a family's training needs.

    Raises
    ------
    MissingExtraError
        It is not installed; the hint is the command that installs it.

    Examples
    --------
    >>> require_family("xgboost")
    """
    for package in NEEDS.get(name, ()):
        require(package)


def installed_families(names: Iterable[str] = _SINGLE) -> tuple[str, ...]:
    """Those of the named families (default: all that are no ensemble or chain) whose packages are installed.

    Examples
    --------
    >>> installed_families(["xgboost", "logistic"])
    ('xgboost', 'logistic')
    """
    return tuple(name for name in names if all(map(is_installed, NEEDS.get(name, ()))))


def candidates(settings: ModelSettings) -> tuple[str, ...]:
    """The families that are asked for: one, or what `"auto"` compares: the named members, else all that are installed.

    Raises
    ------
    ConfigError
        Fewer than two are named, one of them twice, or parameters are set, which belong to one family.

    Examples
    --------
    >>> candidates(ModelSettings(family="auto", members=("logistic", "forest")))
    ('logistic', 'forest')
    """
    if settings.family != AUTO:
        return (settings.family,)
    if settings.parameters:
        raise ConfigError(
            f"[model] parameters mean nothing with family = {AUTO!r}: every family has others.",
            hint="Name the family that they belong to, or remove them.",
            parameters=sorted(settings.parameters),
        )
    if not settings.members:
        return installed_families()
    _check_members(AUTO, settings.members)
    return settings.members


def wanted_families(settings: ModelSettings) -> tuple[Family, ...]:
    """The families that a training trains: those that are asked for, then the fallback where it is another one.

    Raises
    ------
    ConfigError
        As `settled_family`, or the fallback is to be chosen automatically.
    MissingExtraError
        As `settled_family`.

    Examples
    --------
    >>> [family.name for family in wanted_families(ModelSettings(family="forest"))]
    ['forest', 'logistic']
    """
    fallback = settings.fallback
    if fallback == AUTO:
        raise ConfigError(f"The fallback cannot be {AUTO!r}.", hint="Name a family in [model] fallback, or omit it.")
    names = dict.fromkeys((*candidates(settings), fallback) if fallback else candidates(settings))
    return tuple(settled_family(name, settings) for name in names)


def _check_members(name: str, members: Sequence[str]) -> None:
    if len(members) < 2 or len(set(members)) != len(members):
        raise ConfigError(
            f"{name!r} needs two or more different members, not {', '.join(members)}.",
            hint='Write for example members = ["xgboost", "logistic"] in [model].',
            members=list(members),
        )


def _weights(settings: ModelSettings, members: int) -> tuple[float, ...] | None:
    if settings.weights == "learned":
        return None
    given = settings.weights or (0.7, *(0.3 / (members - 1) for _ in range(members - 1)))
    total = sum(given)
    return tuple(weight / total for weight in given)
