"""One workspace, one verb at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tenure.app.place import Place
from tenure.core.config import settings_from

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
