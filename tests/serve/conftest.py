"""Copies of the shop that is made once, and a service of one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.caller import Caller, serving
from tests.serve.project import Shop


@pytest.fixture
def shop(built_shop: Shop, tmp_path: Path) -> Shop:
    """A copy that the test may change."""
    return Shop(Path(shutil.copytree(built_shop.folder, tmp_path / "shop")) / built_shop.config.name)


@pytest.fixture(scope="session")
def caller(built_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """One running service for all tests that only ask; none of them changes what it stands on."""
    folder = Path(shutil.copytree(built_shop.folder, tmp_path_factory.mktemp("serving") / "shop"))
    with serving(Shop(folder / built_shop.config.name)) as opened:
        yield opened
