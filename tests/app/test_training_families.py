"""Which family is trained, what the version keeps beside it, and what is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenure.app import training
from tenure.app.place import Place
from tenure.app.scoring import load
from tenure.app.training import train_version
from tenure.core.errors import ConfigError, MissingExtraError
from tenure.model import families
from tenure.testing.shop import write_shop


def place(folder: Path, **model: Any) -> Place:
    return Place.load(write_shop(folder), {("model", name): value for name, value in model.items()})


def test_auto_says_how_it_chose_and_the_version_keeps_the_fallback(tmp_path: Path) -> None:
    project = place(tmp_path, family="auto", members=["logistic", "forest"], fallback="xgboost")
    result = train_version(project)
    assert result.family in {"logistic", "forest"}
    assert any(note.startswith(f"Of 2 families {result.family} has the lowest log loss") for note in result.notes)
    assert "Of 2 families" in result.report.read_text(encoding="utf-8")
    standby = load(project, result.version).parts.standby
    assert standby is not None
    assert (standby.family, standby.budget_seconds) == ("xgboost", 0.05)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": "forrest"}, "Did you mean 'forest'"),
        ({"fallback": "auto"}, "The fallback cannot be 'auto'"),
        ({"family": "chain", "members": ["xgboost", "chain"]}, "cannot be a member"),
        ({"family": "ensemble", "members": ["xgboost"]}, "two or more different members"),
    ],
    ids=["unknown", "fallback", "member", "alone"],
)
def test_what_cannot_be_trained_is_said_before_the_long_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], said: str
) -> None:
    project = place(tmp_path, **model)
    monkeypatch.setattr(training, "prepare", lambda *_: pytest.fail("the sources were read"))
    with pytest.raises(ConfigError, match=said):
        train_version(project)


def test_a_missing_package_is_said_before_the_long_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise MissingExtraError(f"no {package}", hint="install it")

    monkeypatch.setattr(families, "require", missing)
    monkeypatch.setattr(training, "prepare", lambda *_: pytest.fail("the sources were read"))
    with pytest.raises(MissingExtraError, match="no lightgbm"):
        train_version(place(tmp_path, family="lightgbm"))
