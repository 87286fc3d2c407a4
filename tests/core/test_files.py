from __future__ import annotations

from pathlib import Path

import pytest

from tenure.core.files import atomic_folder, atomic_path


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as path:  # noqa: PT012 - the block is what fails
        path.write_text("new")
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    with atomic_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target, replace=True) as folder:  # noqa: PT012
        (folder / "a").write_text("new")
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["v1"]
    assert (target / "a").read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    for name in ("a", "b"):
        with atomic_folder(target, replace=True) as folder:
            (folder / name).write_text(name)
    assert [entry.name for entry in target.iterdir()] == ["b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["v1"]


def test_who_finishes_first_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    with pytest.raises(FileExistsError), atomic_folder(target) as folder:  # noqa: PT012
        (folder / "a").write_text("late")
        with atomic_folder(target) as faster:
            (faster / "a").write_text("first")
    assert (target / "a").read_text() == "first"
    with pytest.raises(FileExistsError), atomic_folder(target):
        pass
