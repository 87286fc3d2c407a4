"""The disk is full at different moments of scoring: the error says so, and nothing is lost.

A limit on the size of files stands for the full disk: the system refuses the write that goes beyond it.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenure.core.errors import StateError
from tenure.score import table
from tests.fault import score_child
from tests.score.world import customers, hidden, stored, visible, write

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")


@dataclass(frozen=True)
class Finished:
    """What an undisturbed run leaves."""

    root: Path
    snapshot: Path
    files: dict[str, bytes]


def score(snapshot: Path, workspace: Path, limit_bytes: int = -1) -> None:
    engine = score_child.open_store(workspace)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, -1))
    score_child.score_and_publish(score_child.batch_in(snapshot, "ranged"), engine, workspace, 12)
    engine.dispose()


def score_with_limit(snapshot: Path, workspace: Path, limit_bytes: int) -> None:
    """In a process of its own: try under the limit, and write down what the error says."""
    table.CHUNK_ROWS = score_child.CHUNK_ROWS
    try:
        score(snapshot, workspace, limit_bytes)
    except StateError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        (workspace / "error.txt").write_text(str(error))


def content(workspace: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workspace / "scores" / "2026-01-31").iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("full")
    [snapshot] = write(customers(3_000), root)
    (root / "whole").mkdir()
    score(snapshot, root / "whole")
    return Finished(root, snapshot, content(root / "whole"))


@pytest.mark.parametrize("full_at", ["part-00000.parquet", "contacts.csv", "table"])
def test_a_full_disk_is_an_error_and_the_run_goes_on(full_at: str, finished: Finished) -> None:
    workspace = finished.root / full_at
    workspace.mkdir()
    sizes = {name: len(data) for name, data in finished.files.items()}
    limit = max(sizes.values()) + 1 if full_at == "table" else sizes[full_at] - 1
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=score_with_limit, args=(finished.snapshot, workspace, limit))
    process.start()
    process.join()
    said = (workspace / "error.txt").read_text()
    assert "un the same command again; it goes on where it stopped" in said
    assert visible(workspace) == (["2026-01-31"] if full_at == "table" else [])
    score(finished.snapshot, workspace)
    assert content(workspace) == finished.files
    assert (visible(workspace), hidden(workspace)) == (["2026-01-31"], [])
    engine = score_child.open_store(workspace)
    assert len(stored(engine)) == 3_000
    engine.dispose()
    shutil.rmtree(workspace)
