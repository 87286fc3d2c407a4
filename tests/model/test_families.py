"""Names become families; what cannot be is said before any work begins."""

from __future__ import annotations

import importlib

import pytest

from tenure.core.config import settings_from
from tenure.core.errors import ConfigError, MissingExtraError
from tenure.core.settings import ModelSettings
from tenure.model import families
from tenure.model.families import FAMILIES, NEEDS, candidates, find_member, installed_families, settled_family
from tenure.model.family_chain import ChainFamily
from tenure.model.family_ensemble import EnsembleFamily


def test_an_ensemble_has_the_members_and_weights_of_the_settings() -> None:
    family = settled_family("ensemble", ModelSettings(members=("logistic", "forest"), weights=(3, 1)))
    assert isinstance(family, EnsembleFamily)
    assert (family.members, family.weights) == (("logistic", "forest"), (0.75, 0.25))
    default = settled_family("ensemble", ModelSettings())
    assert isinstance(default, EnsembleFamily)
    assert (default.members, default.weights) == (("xgboost", "logistic"), (0.7, 0.3))
    learned = settled_family("ensemble", ModelSettings(weights="learned"))
    assert isinstance(learned, EnsembleFamily)
    assert learned.learns_weights


def test_a_chain_has_the_members_and_the_budget_of_the_settings() -> None:
    family = settled_family("chain", ModelSettings(members=("forest", "xgboost", "logistic"), budget_seconds=0.2))
    assert isinstance(family, ChainFamily)
    assert (family.members, family.budget_seconds) == (("forest", "xgboost", "logistic"), 0.2)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (("xgboost", "logistc"), "There is no model family 'logistc'. Did you mean 'logistic'?"),
        (("xgboost", "ensemble"), "A 'ensemble' cannot be a member"),
        (("xgboost",), "needs two or more different members, not xgboost"),
        (("xgboost", "xgboost"), "needs two or more different members, not xgboost, xgboost"),
    ],
)
@pytest.mark.parametrize("name", ["ensemble", "chain"])
def test_members_that_cannot_be_are_refused(name: str, members: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        settled_family(name, ModelSettings(members=members))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([0.7, 0.2, 0.1], "gives 3 numbers for 2 members"),
        ([1.2, -0.2], "must be above 0, not -0.2: leave a member out instead"),
        ([1, 0], "must be above 0, not 0"),
        ([float("nan"), 1], "finite"),
        ([1e308, 1e308], "only their ratio counts"),
        ("even", "learned"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_from({"model": {"family": "ensemble", "weights": weights}}, source="tenure.toml")


@pytest.mark.parametrize("budget", [0, -1, float("inf")])
def test_a_budget_that_cannot_be_is_refused(budget: float) -> None:
    with pytest.raises(ConfigError, match="budget_seconds"):
        settings_from({"model": {"family": "chain", "budget_seconds": budget}}, source="tenure.toml")


@pytest.mark.parametrize("name", NEEDS)
def test_a_family_whose_package_is_missing_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> None:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError) as caught:
        settled_family(name, ModelSettings())
    assert caught.value.hint == f"Install it with: pip install 'tenure[{name}]'"
    with pytest.raises(MissingExtraError, match=NEEDS[name][0]):
        settled_family("ensemble", ModelSettings(members=("logistic", name)))


def test_auto_compares_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(candidates(ModelSettings(family="auto"))) == set(FAMILIES) - {"ensemble", "chain"}
    monkeypatch.setattr(families, "is_installed", lambda _: False)
    assert installed_families() == ("logistic", "xgboost", "forest")
    assert candidates(ModelSettings(family="auto", members=("forest", "neural"))) == ("forest", "neural")
    with pytest.raises(ConfigError, match="'auto' needs two or more different members"):
        candidates(ModelSettings(family="auto", members=("forest",)))
    with pytest.raises(ConfigError, match="parameters mean nothing with family = 'auto'"):
        candidates(ModelSettings(family="auto", parameters={"max_depth": 3}))


def test_every_family_can_be_a_member_but_those_that_have_members() -> None:
    assert [find_member(name).name for name in installed_families()] == list(installed_families())
