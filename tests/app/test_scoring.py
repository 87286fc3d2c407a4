from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tenure.app.place import Place
from tenure.app.scoring import _meaning, score
from tenure.app.training import train_version
from tenure.core.config import settings_from
from tenure.core.errors import ConfigError, HistoryError, NotFoundError
from tenure.core.settings import ChurnSettings
from tenure.core.time import parse_instant
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


def test_a_version_whose_columns_are_gone_is_refused_by_their_names(tmp_path: Path) -> None:
    config = write_shop(tmp_path)
    train_version(Place.load(config))
    text = config.read_text(encoding="utf-8").replace('values = ["amount"]\n', "")
    config.write_text(text.replace('value = "amount"\nops = ["sum"]', 'ops = ["count"]'), encoding="utf-8")
    with pytest.raises(NotFoundError, match=r"v1 was trained with the value 'amount' of \[events\.order\]"):
        score(Place.load(config))


def test_periods_may_move_and_their_password_is_no_part_of_the_meaning() -> None:
    def meaning(path: str, grace: str) -> dict[str, Any]:
        expiry = {"path": path, "table": "periods", "start": "start", "end": "end", "grace": grace}
        return _meaning(ChurnSettings(expiry=expiry, horizon="28d").model_dump(mode="json"))

    here = meaning("postgresql://ana:secret@db/shop", "30d")
    assert here == meaning("postgresql://ana:***@db/shop", "30d")
    assert here != meaning("postgresql://ana:secret@db/shop", "7d")
    assert "secret" not in str(here)


def test_a_table_with_times_is_scored_as_of_a_cutoff(tmp_path: Path) -> None:
    lines = ["client,seen,visits,left"]
    for number in range(400):
        for month in (1, 2, 3):
            visits = (number * 7 + month) % 20
            lines.append(f"c{number},2026-{month:02d}-01,{visits},{'yes' if (visits + number % 23) < 14 else 'no'}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = {"path": "t.csv", "id": "client", "time": "seen", "label": "left", "positive": "yes"}
    place = Place(settings_from({"table": table, "model": {"family": "logistic"}}), tmp_path)
    train_version(place)
    early = score(place, parse_instant("2026-02-15"))
    assert early.as_of == parse_instant("2026-02-15")
    assert early.tally.customers == 400
    assert score(place).as_of == parse_instant("2026-03-01")
    with pytest.raises(HistoryError, match="No row of the table"):
        score(place, parse_instant("2025-01-01"))
