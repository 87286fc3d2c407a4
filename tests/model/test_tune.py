"""A search goes on where it stopped, judges by what came later, and leaves the defaults only for evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenure.core.errors import ConfigError, InputError, MissingExtraError
from tenure.core.settings import ModelSettings
from tenure.model.families import settled_family
from tenure.model.family_xgboost import XGBoostFamily, XGBoostSettings
from tenure.model.tune import Tuning, tune
from tests.model.worlds import SPLIT, world

FRAME = world(150)
FIELDS = ("trials", "pruned", "default_loss", "best_loss", "gain", "gain_error", "parameters")


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds: what a search does with its trials does not depend on how good they are."""
    short = XGBoostFamily(XGBoostSettings(depths=(3,), parallel_trees=1, patience=3, most_rounds=12))
    whole = settled_family

    def settled(name: str, settings: ModelSettings) -> Any:
        return short if name == "xgboost" else whole(name, settings)

    monkeypatch.setattr("tenure.model.tune.settled_family", settled)


def search(folder: Path, trials: int, **changes: Any) -> Tuning:
    given: dict[str, Any] = {"fingerprint": "one", "threads": 1, "journal": folder} | changes
    frame, split = given.pop("frame", FRAME), given.pop("split", SPLIT)
    settings = ModelSettings(tune=trials, family=given.pop("family", "xgboost"), seed=given.pop("seed", 0))
    return tune(frame, split, settings, **given)


def same(one: Tuning, other: Tuning) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in FIELDS)


def test_a_search_that_was_interrupted_finds_what_it_would_have_found(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", 7)
    first = search(tmp_path / "parts", 3)
    rest = search(tmp_path / "parts", 7)
    assert (whole.resumed, first.resumed, rest.resumed) == (0, 0, 3)
    assert (first.trials, rest.trials) == (3, 7)
    assert same(whole, rest)


class Killed(BaseException):
    """What a signal does to a search."""


def test_a_trial_that_was_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, calls = XGBoostFamily.cross_fit, []

    def dies(self: XGBoostFamily, *given: Any, **named: Any) -> Any:
        calls.append(self)
        if len(calls) == 3:
            raise Killed
        return learn(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(XGBoostFamily, "cross_fit", dies)
        with pytest.raises(Killed):
            search(tmp_path / "killed", 5)
    rest = search(tmp_path / "killed", 5)
    assert 0 < rest.resumed < 5
    assert same(rest, search(tmp_path / "whole", 5))


def test_a_finished_search_trains_nothing_more_than_it_has_to(tmp_path: Path) -> None:
    told: list[float] = []
    done = search(tmp_path, 4)
    again = search(tmp_path, 4, progress=lambda _stage, share: told.append(share))
    assert same(done, again)
    assert again.resumed == 4
    assert told == [1.0]


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    told: list[float] = []
    search(tmp_path, 5, progress=lambda _stage, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 4


def test_other_data_or_another_seed_is_another_search(tmp_path: Path) -> None:
    search(tmp_path, 2)
    search(tmp_path, 2, fingerprint="two")
    search(tmp_path, 2, seed=1)
    search(tmp_path, 2)
    assert len(list(tmp_path.glob("xgboost-*.log"))) == 3


def test_the_test_block_plays_no_part(tmp_path: Path) -> None:
    test = SPLIT.blocks(FRAME).test
    turned = replace(FRAME, label=np.where(test, ~FRAME.label, FRAME.label))
    assert same(search(tmp_path / "one", 2), search(tmp_path / "other", 2, frame=turned))


def values(folder: Path) -> list[Any]:
    """What every trial was judged by, fold after fold."""
    lines = [json.loads(line) for journal in folder.glob("*.log") for line in journal.read_text().splitlines()]
    return [line.get("intermediate_value", line.get("values")) for line in lines]


def test_the_newest_cutoff_judges_what_was_found_and_plays_no_part_in_finding_it(tmp_path: Path) -> None:
    newest = FRAME.cutoff == np.datetime64(SPLIT.train[-1].replace(tzinfo=None))
    turned = replace(FRAME, label=np.where(newest, ~FRAME.label, FRAME.label))
    own, other = search(tmp_path / "one", 3), search(tmp_path / "other", 3, frame=turned)
    assert own.is_apart
    assert values(tmp_path / "one") == values(tmp_path / "other")
    assert own.default_loss != other.default_loss
    assert "kept out of the search" in own.sentence


@pytest.mark.parametrize("gain", [1.9, 2.0])
def test_a_lead_that_luck_may_reach_is_no_evidence_where_the_search_itself_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    monkeypatch.setattr("tenure.model.tune._gain", lambda *_: (gain, 1.0))
    found = search(tmp_path, 7, frame=FRAME, split=replace(SPLIT, train=SPLIT.train[:2]))
    assert not found.is_apart
    assert found.needed == pytest.approx(np.sqrt(2 * np.log(7)))  # 1.97
    assert bool(found.parameters) == (gain == 2.0)
    assert ("so they stay" in found.sentence) == (gain == 1.9)
    assert "what the luckiest of 7 may reach" in found.sentence


def test_one_trial_has_to_exceed_the_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure.model.tune._gain", lambda *_: (0.9, 1.0))
    found = search(tmp_path, 1, split=replace(SPLIT, train=SPLIT.train[:2]))
    assert (found.needed, found.parameters) == (1.0, {})


def test_parameters_that_do_better_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = XGBoostFamily().tuned({"max_depth": 1, "learning_rate": 0.01, "subsample": 0.4})
    hasty = replace(bad, settings=replace(bad.settings, most_rounds=3))

    class Hasty(XGBoostFamily):
        def tuned(self, parameters: Any) -> Any:
            return XGBoostFamily().tuned(parameters)

    monkeypatch.setattr("tenure.model.tune.settled_family", lambda *_: Hasty(hasty.settings))
    found = search(tmp_path, 3)
    assert found.gain > found.needed > 0
    assert set(found.parameters) == set(XGBoostFamily.space)
    assert found.best_loss == pytest.approx(found.default_loss - found.gain)
    assert "parameters = { colsample_bytree = " in found.sentence


def test_a_family_that_chooses_by_itself_has_nothing_to_tune(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'logistic' has nothing to tune"):
        search(tmp_path, 2, family="logistic")
    with pytest.raises(ConfigError, match="'auto' has nothing to tune: it is to be chosen itself"):
        search(tmp_path, 2, family="auto")


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match="optuna") as caught:
        search(tmp_path, 2)
    assert "tenure[tune]" in str(caught.value.hint)


def test_a_journal_whose_last_line_was_cut_goes_on(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", 4)
    search(tmp_path / "cut", 2)
    journal = next((tmp_path / "cut").glob("*.log"))
    journal.write_bytes(journal.read_bytes()[:-20])
    assert search(tmp_path / "cut", 4).parameters == whole.parameters


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    search(tmp_path, 2)
    journal = next(tmp_path.glob("*.log"))
    lines = journal.read_text().splitlines()
    lines[0] = json.dumps({"op_code": 99, "worker_id": "x"})
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="cannot be read") as caught:
        search(tmp_path, 2)
    assert "Remove that file" in str(caught.value.hint)
