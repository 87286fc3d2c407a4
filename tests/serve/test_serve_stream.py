"""The consumer beside a service writes what it meets as the service does: in lines of JSON, and in nobody's words."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.architecture.tree import ROOT

FOLDING = """
import os
from pathlib import Path
from tenure.app import serve_stream
from tenure.app.serve import Launch
from tenure.core.errors import StateError

fates = iter([StateError("c100 waits"), ValueError("c100 broke")])

def fold_features(place, is_over):
    raise next(fates)

Launch.place = lambda self: serve_stream.Place(None, Path())
serve_stream._fold_features, serve_stream.AGAIN_SECONDS = fold_features, 0.0
serve_stream._fold(Launch(Path("tenure.toml"), {}).to_json(), os.getppid())
"""


def test_what_fails_in_the_consumer_is_told_without_its_message() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", FOLDING]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    waits, failed = (json.loads(line) for line in ended.stderr.splitlines())
    assert (waits["level"], waits["message"], waits["error"]) == ("WARNING", "The consumer waits.", "state")
    assert (failed["level"], failed["message"], failed["error"]) == ("CRITICAL", "The consumer failed.", "ValueError")
    assert "c100" not in ended.stderr
    assert ended.returncode == 1
