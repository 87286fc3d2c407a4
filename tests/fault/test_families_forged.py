"""Model files of every family, damaged by somebody who rewrote the manifest too: refused, and this process survives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.test_standby import write
from tests.model.versions import forge, refusal

FILES = {
    "forest": "model.ubj",
    "neural": "model.safetensors",
    "catboost": "model.json",
    "lightgbm": "model.txt",
    "ensemble": "xgboost/model.ubj",
    "chain": "chain.json",
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "second half gone": lambda data: data[: len(data) // 2],
    "scrambled": lambda data: data[:100] + bytes(255 - byte for byte in data[100:200]) + data[200:],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {family: tmp_path_factory.mktemp(family) / "v1" for family in FILES}
    for family, folder in made.items():
        write(folder, family, None)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("family", FILES)
def test_a_forged_model_is_refused(folders: dict[str, Path], family: str, damage: str) -> None:
    path = folders[family] / FILES[family]
    before, manifest = path.read_bytes(), (folders[family] / "manifest.json").read_bytes()
    try:
        path.write_bytes(DAMAGES[damage](before))
        forge(folders[family])
        assert refusal(folders[family]).startswith("v1 ")
    finally:
        path.write_bytes(before)
        (folders[family] / "manifest.json").write_bytes(manifest)
