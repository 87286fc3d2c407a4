"""Every registered family keeps every promise, and the checks find a family that breaks one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenure.model.families import FAMILIES
from tenure.model.family_logistic import LogisticFamily
from tenure.model.protocol import Contributions, Family, Matrix, Model, Vector, sigmoid
from tenure.testing.family import CHECKS, check_family


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_keeps_its_promises(name: str, check: Callable[[Any], None]) -> None:
    check(FAMILIES[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_registered_under_its_name(name: str) -> None:
    assert FAMILIES[name]().name == name


@dataclass(frozen=True)
class Broken:
    """A model with one flaw."""

    model: Model
    flaw: str

    def predict_margin(self, matrix: Matrix) -> Vector:
        margin = self.model.predict_margin(matrix)
        if self.flaw == "infinite":
            return np.where(np.abs(matrix[:, 0]) > 1e30, np.inf, margin)
        if self.flaw == "neighbours":
            return margin + len(matrix) / 1e6
        return -margin if self.flaw == "backwards" else margin

    def predict_proba(self, matrix: Matrix) -> Vector:
        return (
            self.model.predict_proba(matrix) * 0.99
            if self.flaw == "too little"
            else sigmoid(self.predict_margin(matrix))
        )

    def contributions(self, matrix: Matrix) -> Contributions:
        found = self.model.contributions(matrix)
        return replace(found, base=found.base + 0.01) if self.flaw == "adds up wrongly" else found

    def save(self, folder: Path) -> tuple[str, ...]:
        names = self.model.save(folder)
        if self.flaw == "unsafe":
            (folder / "model.pkl").write_bytes(b"")
            return (*names, "model.pkl")
        return names


class BrokenFamily(LogisticFamily):
    """A family whose models have one flaw."""

    flaw: str

    def __init__(self, flaw: str) -> None:
        super().__init__()
        object.__setattr__(self, "flaw", flaw)

    def fit(self, *arguments: Any, **named: Any) -> Model:
        return Broken(super().fit(*arguments, **named), self.flaw)

    def load(self, folder: Path) -> Model:
        return Broken(super().load(folder), self.flaw)

    def cross_fit(self, examples: Any, fold: Any, **named: Any) -> Any:
        crossed = super().cross_fit(examples, fold, **named)
        if self.flaw == "peeks":
            return replace(crossed, probability=examples.label * 0.8 + 0.1)
        return crossed


@pytest.mark.parametrize(
    ("flaw", "broken"),
    [
        ("backwards", "ranks new rows"),
        ("infinite", "not finite"),
        ("neighbours", "alone and among others"),
        ("too little", "unlike its margins"),
        ("unsafe", r"\.pkl"),
        ("adds up wrongly", "adds up to another margin"),
        ("peeks", "it has seen them"),
    ],
)
def test_a_broken_promise_is_found(flaw: str, broken: str) -> None:
    def make() -> Family:
        return BrokenFamily(flaw)

    with pytest.raises(AssertionError, match=broken):
        check_family(make)
