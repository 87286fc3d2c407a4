"""The shop, made once; tests work on copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.serve.project import Shop, build_shop


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop that all tests share; none of them changes it."""
    return build_shop(tmp_path_factory.mktemp("serve") / "shop")


@pytest.fixture
def shop(built_shop: Shop, tmp_path: Path) -> Shop:
    """A copy that the test may change."""
    return Shop(Path(shutil.copytree(built_shop.folder, tmp_path / "shop")) / built_shop.config.name)
