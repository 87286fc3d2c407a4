from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tenure.app.place import Place
from tenure.app.scoring import score
from tenure.app.training import train_version
from tenure.core.errors import ConfigError
from tenure.testing.shop import write_shop


def test_a_version_answers_only_the_question_it_was_trained_for(tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    train_version(Place.load(config))
    with pytest.raises(ConfigError, match=r"horizon was '28d' and is '14d'"):
        score(Place.load(config, {("churn", "horizon"): "14d"}))
    assert not (tmp_path / ".tenure" / "scores").exists()
    changed_schedule = Place.load(config, {("churn", "every"): "7d"})
    assert score(changed_schedule).tally.customers > 0


def test_features_are_the_versions_own(tmp_path: Path) -> None:
    """Settings that declare other features today do not change what the version is given."""
    config = write_shop(tmp_path)
    place = Place.load(config)
    train_version(place)
    before = score(place)
    text = config.read_text(encoding="utf-8").replace('windows = ["14d", "28d"]', 'windows = ["7d", "56d"]')
    config.write_text(text, encoding="utf-8")
    after = score(Place.load(config), before.as_of)
    assert timedelta(days=7) in Place.load(config).settings.features[0].windows
    assert after.already_done
