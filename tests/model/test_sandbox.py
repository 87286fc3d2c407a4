"""The throw-away process may crash, hang, grow or talk as it likes; this process survives and says what happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenure.core.errors import ArtifactError, StateError
from tenure.model import sandbox
from tenure.model.sandbox import Limits, rehearse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of this kind")
LIMITED = """
import sys; sys.path[:] = sys.argv[4:]
from tenure.model.rehearsal import _limit, _say
sys.excepthook = _say
_limit(int(sys.argv[2]), int(sys.argv[3]))
"""


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, limits: Limits | None = None) -> float:
    """Let another program run in place of the rehearsal."""
    monkeypatch.setattr(sandbox, "_PROGRAM", program)
    return rehearse(folder, "v1", limits)


def complaint(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str, limits: Limits | None = None) -> str:
    with pytest.raises(ArtifactError) as caught:
        run(monkeypatch, folder, program, limits)
    assert caught.value.ids["version"] == "v1"
    return caught.value.message


def answer(**fields: object) -> str:
    return f"print({json.dumps(json.dumps(fields))})"


def test_the_answer_is_the_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, answer(difference=0.25)) == 0.25
    assert run(monkeypatch, tmp_path, "print('a library talks')\n" + answer(difference=0)) == 0


@pytest.mark.parametrize(
    "program", ["", "print('fine')", "print('{}')", "print('[]')", answer(difference=None), answer(difference="x")]
)
def test_no_answer_is_no_proof(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    assert complaint(monkeypatch, tmp_path, program).endswith("the process that parsed it gave no answer.")


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS"])
def test_a_crash_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    program = (
        answer(difference=0) + f"\nimport os, signal, sys; sys.stdout.flush(); os.kill(os.getpid(), signal.{name})"
    )
    assert f"crashed the process that tried, with {name}." in complaint(monkeypatch, tmp_path, program)


def test_a_failure_without_words_gives_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert complaint(monkeypatch, tmp_path, "import os; os._exit(7)").endswith("ended with code 7")


def test_a_failure_before_the_rehearsal_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "No module named 'nowhere'" in complaint(monkeypatch, tmp_path, "import nowhere")


def test_a_hang_ends_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    message = complaint(monkeypatch, tmp_path, "import time; time.sleep(3600)", Limits(wall_seconds=0.5))
    assert message == "v1 cannot be used: parsing it took more than 0.5 seconds."
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = LIMITED + "while True: pass"
    message = complaint(monkeypatch, tmp_path, program, Limits(cpu_seconds=1))
    assert "with SIGXCPU (its limit is 1 seconds of processor time)" in message or "with SIGKILL" in message


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = LIMITED + "x = bytes(1 << 29)\n" + answer(difference=0)
    assert run(monkeypatch, tmp_path, program, Limits(memory_bytes=1 << 30)) == 0
    assert "MemoryError" in complaint(monkeypatch, tmp_path, program, Limits(memory_bytes=1 << 28))


def test_no_large_file_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = LIMITED + f"open({str(tmp_path / 'flood')!r}, 'wb').write(bytes(1 << 24))"
    assert "File too large" in complaint(monkeypatch, tmp_path, program)
    assert (tmp_path / "flood").stat().st_size <= 1 << 20


def test_a_flood_of_words_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = LIMITED + "sys.excepthook = sys.__excepthook__\nwhile True: print('x' * 100_000)"
    assert len(complaint(monkeypatch, tmp_path, program)) < 200_000


def test_the_environment_and_its_passwords_stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPASSWORD", "hush")
    monkeypatch.setenv("TENURE_PROJECT__DATABASE", "postgresql://ana:hush@db/x")
    program = "import os; print('hush' in str(os.environ)); " + answer(difference=0)
    program += "; raise SystemExit(int('hush' in str(os.environ)))"
    assert run(monkeypatch, tmp_path, program) == 0


def test_limits_never_rise_above_those_of_the_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = (
        """
import resource; resource.setrlimit(resource.RLIMIT_CPU, (50, 55))
"""
        + LIMITED
        + "print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_CORE)); sys.exit(3)"
    )
    assert "(55, 55) (0, 0)" in complaint(monkeypatch, tmp_path, program)


def test_a_folder_of_the_caller_is_not_searched_for_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    program = LIMITED + "import numpy; print(numpy.__version__); " + answer(difference=0)
    assert run(monkeypatch, tmp_path, program) == 0


def test_a_process_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(StateError, match="No process could be started to check v1"):
        rehearse(tmp_path, "v1")
