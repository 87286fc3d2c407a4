"""A simulated service with two trained versions, made once; tests work on copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.world import done
from tests.journey.scored import Scored

CUSTOMERS, MONTHS = 300, 7


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service with the champion v1 (xgboost) and the challenger v2 (logistic)."""
    folder = tmp_path_factory.mktemp("journey") / "service"
    done("simulate", folder, "--customers", CUSTOMERS, "--months", MONTHS, "--seed", 3)
    config = folder / "tenure.toml"
    config.write_text(config.read_text(encoding="utf-8") + "\n[runtime]\nthreads = 1\n", encoding="utf-8")
    done("train", "-c", config)
    done("train", "-c", config, "--family", "logistic")
    return folder


@pytest.fixture
def service(trained: Path, tmp_path: Path) -> Path:
    """The settings of a copy that the test may change."""
    return Path(shutil.copytree(trained, tmp_path / "service")) / "tenure.toml"


@pytest.fixture(scope="session")
def scored_once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same service after `tenure score`."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("scored") / "service"))
    done("score", "-c", folder / "tenure.toml")
    return folder


@pytest.fixture
def scored(scored_once: Path, tmp_path: Path) -> Scored:
    """A copy of the scored service, with what `tenure score` reported."""
    return Scored.of(Path(shutil.copytree(scored_once, tmp_path / "service")))
