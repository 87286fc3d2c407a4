"""A training that is asked to tune searches first, trains with what it found, and says what that was worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenure.app.place import Place
from tenure.app.training import TrainResult, train_version
from tenure.cli.main import main
from tenure.core.errors import ConfigError
from tenure.model.manifest import MANIFEST
from tenure.testing.shop import write_shop

QUICK = {
    ("model", "family"): "xgboost",
    ("model", "fallback"): None,
    ("model", "parameters"): {"max_depth": 2, "learning_rate": 0.3},
}


def trained(folder: Path, **changes: Any) -> TrainResult:
    overrides = QUICK | {("model", name): value for name, value in changes.items()}
    return train_version(Place.load(folder / "tenure.toml", overrides))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_shop(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_search_comes_before_the_training_and_is_told(shop: Path) -> None:
    result = trained(shop, tune=2)
    assert result.tuning is not None
    assert (result.tuning.trials, result.tuning.how) == (2, "later cutoffs")
    assert result.tuning.sentence in result.notes
    assert result.tuning.sentence.split(",")[0] in result.report.read_text(encoding="utf-8")
    settings = json.loads((result.folder / MANIFEST).read_text(encoding="utf-8"))["settings"]["model"]
    expected = {"max_depth": 2.0, "learning_rate": 0.3} | dict(result.tuning.parameters)
    assert settings["parameters"] == pytest.approx(expected)
    assert list((shop / ".tenure" / "tuning").glob("xgboost-*.log"))


def test_what_cannot_be_tuned_is_said_before_the_long_work(shop: Path) -> None:
    with pytest.raises(ConfigError, match="'auto' has nothing to tune"):
        trained(shop, tune=2, family="auto", parameters={})
    assert not (shop / ".tenure").exists()


def test_without_tune_nothing_is_searched(shop: Path) -> None:
    result = trained(shop)
    assert result.tuning is None
    assert not (shop / ".tenure" / "tuning").exists()


@pytest.mark.slow
def test_the_command_line_goes_on_with_a_search(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(shop / "tenure.toml"), "--json", "--family", "xgboost"]
    sets = ["--set", "model.parameters={max_depth=1,learning_rate=0.3}"]
    found = []
    for trials in ("1", "2"):
        assert main(["train", *options, *sets, "--tune", trials]) == 0
        found.append(json.loads(capsys.readouterr().out)["tuning"])
    assert [(one["trials"], one["resumed"]) for one in found] == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"depth": 3}, "has no parameter 'depth'"),
        ({"max_depth": 99}, "max_depth is 99; it must be a whole number from 1 to 10"),
        ({"subsample": -1}, "subsample is -1; it must be a number from 0.4 to 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(shop: Path, parameters: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(shop, parameters=parameters)


def test_a_family_without_parameters_takes_none(shop: Path) -> None:
    with pytest.raises(ConfigError, match="'logistic' has no parameters to set"):
        trained(shop, family="logistic")
