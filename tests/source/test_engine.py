from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tenure.core.settings import RuntimeSettings
from tenure.source.engine import open_engine, quote_identifier, quote_literal, quote_path, read_parquet_sql


@pytest.mark.parametrize("memory", ["512MB", "512 MB", "1.5GB", "1GiB", "4096KB"])
def test_every_size_that_the_settings_allow_is_understood(tmp_path: Path, memory: str) -> None:
    with open_engine(RuntimeSettings(memory=memory, threads=1), tmp_path) as engine:
        assert engine.execute("SELECT current_setting('threads')").fetchone() == (1,)


def test_what_does_not_fit_into_memory_spills_into_the_workspace(tmp_path: Path) -> None:
    with open_engine(RuntimeSettings(memory="64MB", threads=1), tmp_path) as engine:
        engine.execute("CREATE TEMP TABLE big AS SELECT hash(n) AS h, n FROM range(5000000) t(n)")
        assert list((tmp_path / "spill").iterdir()) != []
        assert engine.execute("SELECT count(*) FROM (SELECT h FROM big ORDER BY h)").fetchone() == (5_000_000,)
    assert list((tmp_path / "spill").iterdir()) == []


def test_nothing_is_installed_behind_our_back(tmp_path: Path) -> None:
    with open_engine(RuntimeSettings(), tmp_path) as engine, pytest.raises(duckdb.Error):
        engine.execute("SELECT * FROM read_xlsx('a.xlsx')")


def test_engines_side_by_side_spill_apart(tmp_path: Path) -> None:
    ask = "SELECT current_setting('temp_directory')"
    with open_engine(RuntimeSettings(), tmp_path) as one, open_engine(RuntimeSettings(), tmp_path) as other:
        assert one.execute(ask).fetchone() != other.execute(ask).fetchone()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_needs_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True, text=True
    )
    dead, alive, foreign = (
        tmp_path / "spill" / name for name in (f"{int(ended.stdout)}-0", f"{os.getpid()}-999", "kept")
    )
    for folder in (dead, alive, foreign):
        folder.mkdir(parents=True)
    with open_engine(RuntimeSettings(), tmp_path):
        assert sorted(path.name for path in (tmp_path / "spill").iterdir()) == sorted([alive.name, foreign.name])


@pytest.mark.parametrize("text", ["plain", 'say "hi"', "O'Brien", "'; DROP TABLE x; --", "naïve 🦊", "", "a\nb"])
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    with duckdb.connect() as engine:
        assert engine.execute(f"SELECT {quote_literal(text)}").fetchone() == (text,)
        if text:
            engine.execute(f"CREATE TABLE {quote_identifier(text)} ({quote_identifier(text)} INTEGER)")
            assert engine.execute(f"DESCRIBE {quote_identifier(text)}").fetchall()[0][0] == text


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[1]", "it's", "a{b,c}"])
def test_a_quoted_path_means_that_one_file(tmp_path: Path, name: str) -> None:
    with duckdb.connect() as engine:
        for number, stem in enumerate([name, "a1", "axb"]):
            target = quote_literal(str(tmp_path / f"{stem}.parquet"))
            engine.execute(f"COPY (SELECT {number:d} AS n) TO {target} (FORMAT parquet)")
        path = tmp_path / f"{name}.parquet"
        assert engine.execute(f"SELECT n FROM read_parquet({quote_path(path)})").fetchall() == [(0,)]
        assert engine.execute(f"SELECT n FROM {read_parquet_sql([path])}").fetchall() == [(0,)]
