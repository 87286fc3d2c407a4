"""One workspace, one verb at a time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest

from tenure.app.place import Place
from tenure.app.training import _named
from tenure.core.config import settings_from
from tenure.core.progress import silent
from tenure.model.registry import Registry
from tests.model.versions import write

HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_verb_waits_for_another_process_and_goes_on_once_that_one_is_killed(tmp_path: Path) -> None:
    place = Place(settings_from({"table": {"path": "t.csv", "label": "left", "positive": "yes"}}), tmp_path)
    place.workspace.mkdir()
    told: list[str] = []
    command = [sys.executable, "-c", HOLD, str(place.workspace / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def kill(stage: str, done: float) -> None:
            told.append(stage)
            assert done == 0.0
            other.kill()

        with place.alone(kill), place.alone(kill):  # whoever has the workspace may ask for it again
            assert told == ["wait for another tenure in this folder"]


def test_of_two_first_trainings_at_once_one_is_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(settings_from({"table": {"path": "t.csv", "label": "left", "positive": "yes"}}), tmp_path)
    registry = replace(place.registry(), check=lambda *_: None)
    names = [registry.reserve(), registry.reserve()]
    for name in names:
        registry.register(name, write(registry.folder / name, "logistic"))
    both, look = Barrier(2), Registry.aliases

    def slowly(self: Registry) -> dict[str, str]:
        found = look(self)
        with suppress(BrokenBarrierError):
            both.wait(timeout=1)  # for the other training, should it look too before anything is promoted
        return found

    monkeypatch.setattr(Registry, "aliases", slowly)
    with ThreadPoolExecutor(2) as threads:
        given = list(threads.map(lambda name: _named(place, registry, name, silent), names))
    assert sorted(given) == ["challenger", "champion"]
    assert look(registry) == dict(zip(given, names, strict=True))
