"""One run at a time, and a result that appears at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure.core.errors import StateError
from tenure.score import place
from tenure.score.place import exclusive, put_in_place


def result(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "scores.txt").write_text(text)
    return folder


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_result_takes_the_place_of_another(
    can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(place, "_exchange", lambda *_folders: False)
    old, new = result(tmp_path / "2026-01-31", "old"), result(tmp_path / ".work", "new")
    put_in_place(new, old)
    assert (old / "scores.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["2026-01-31"]


def test_folders_are_exchanged_or_left_alone(tmp_path: Path) -> None:
    one, other = result(tmp_path / "one", "1"), result(tmp_path / "other", "2")
    swapped = place._exchange(one, other)
    texts = [(folder / "scores.txt").read_text() for folder in (one, other)]
    assert texts == (["2", "1"] if swapped else ["1", "2"])
    assert not place._exchange(one, tmp_path / "absent")


def test_a_held_folder_is_let_go_of(tmp_path: Path) -> None:
    folder = tmp_path / "scores" / "2026-01-31"
    with (
        exclusive(folder),
        pytest.raises(StateError, match="Another run is writing the scores of 2026-01-31"),
        exclusive(folder),
    ):
        pytest.fail("two runs at once")
    with exclusive(folder), exclusive(tmp_path / "scores" / "2026-02-28"):
        assert not folder.exists()


def test_a_place_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".2026-01-31.lock").mkdir()
    with pytest.raises(StateError, match="cannot be used"), exclusive(tmp_path / "2026-01-31"):
        pytest.fail("not locked")
