"""Paths that cannot be used are the user's to know, and no defect of tenure."""

from __future__ import annotations

from pathlib import Path

from tests.cli.world import tenure


def test_a_path_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    ran = tenure("models", "list", "--json", "--config", str(tmp_path / "file" / "tenure.toml"))
    error = ran.document["error"]
    assert ran.code == 1
    assert error["code"] == "state"
    assert error["message"] == f"{tmp_path}/file/tenure.toml cannot be used: Not a directory."
