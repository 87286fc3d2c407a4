"""A training is killed before every deed and at random moments, and no half version is ever seen.

Visible are the folders under `versions/`, the versions and aliases that the registry lists. A killed training may leave
a whole folder that no row vouches for, and a name that nobody will have.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from tenure.core.errors import NotFoundError
from tenure.model.manifest import MANIFEST
from tenure.model.parts import read_parts, reproduce
from tenure.model.registry import Registry
from tenure.model.seal import check_names, copy_sealed
from tenure.model.verify import read_manifest, verify
from tests.fault import version_child
from tests.fault.score_child import KILLED
from tests.model.versions import forge

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a prepared process"
)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes are forked from one that has imported everything, so dozens of them are cheap."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["__main__", version_child.__name__])
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one version, which is the champion."""
    workspace = tmp_path_factory.mktemp("before")
    with registry_in(workspace) as registry:
        assert version_child.release(registry) == "v1"
    return workspace


@contextmanager
def registry_in(workspace: Path) -> Iterator[Registry]:
    registry = version_child.open_registry(workspace)
    yield registry
    registry.engine.dispose()


def start(context: ForkServerContext, workspace: Path, die_at: int | None = None) -> ForkServerProcess:
    process = context.Process(target=version_child.run, args=(workspace, die_at), daemon=True)
    process.start()
    return process


def require_whole(folder: Path, scratch: Path, manifest_sha256: str | None = None) -> None:
    """All that `verify` asks of a version, without a process of its own."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    manifest = read_manifest(folder, manifest_sha256)
    check_names(folder, [MANIFEST, *(file.name for file in manifest.files)])
    copy_sealed(folder, scratch, manifest.files)
    shutil.copy(folder / MANIFEST, scratch)
    assert reproduce(*read_parts(scratch)) == 0


def check(workspace: Path, registry: Registry, scratch: Path) -> None:
    """Whatever is visible is whole, and what an alias points at is listed."""
    for folder in (workspace / "versions").iterdir():
        if not folder.name.startswith("."):
            require_whole(folder, scratch)
    versions = registry.versions()
    for version in versions:
        require_whole(version.folder, scratch, version.manifest_sha256)
    assert "v1" in {version.name for version in versions}
    moves = registry.history("champion")
    assert registry.aliases() == {"champion": moves[-1].version}
    assert registry.resolve("champion") in versions


def test_killed_before_every_deed_no_half_version_is_seen(
    context: ForkServerContext, before: Path, tmp_path: Path
) -> None:
    undisturbed = shutil.copytree(before, tmp_path / "undisturbed")
    process = start(context, undisturbed)
    process.join()
    assert process.exitcode == 0
    deeds = (undisturbed / "deeds.txt").read_text().splitlines()
    assert {deed.split()[0] for deed in deeds} >= {"os.mkdir", "open", "os.rename", "INSERT", "UPDATE", "COMMIT"}
    found: set[tuple[str, ...]] = set()
    for number, deed in enumerate(deeds, start=1):
        workspace = shutil.copytree(before, tmp_path / str(number))
        killed = start(context, workspace, die_at=number)
        killed.join()
        assert killed.exitcode == KILLED, deed
        with registry_in(workspace) as registry:
            check(workspace, registry, tmp_path / "scratch")
            taken = {folder.name for folder in (workspace / "versions").iterdir()}
            found.add(tuple(version.name for version in reversed(registry.versions())))
            name = version_child.release(registry)
            assert name not in taken
            assert registry.resolve("champion") == registry.resolve("latest") == registry.get(name)
            check(workspace, registry, tmp_path / "scratch")
    assert found == {("v1",), ("v1", "v2")}


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_moment_no_half_version_is_seen(
    context: ForkServerContext, before: Path, tmp_path: Path, seed: int
) -> None:
    """Killed by the system, one training after the other in the same workspace."""
    chance = random.Random(seed)
    workspace = shutil.copytree(before, tmp_path / "any")
    with registry_in(workspace) as registry:
        for _ in range(8):
            process = start(context, workspace)
            process.join(timeout=chance.uniform(0.05, 1.0))
            process.kill()
            process.join()
            check(workspace, registry, tmp_path / "scratch")
        name = version_child.release(registry)
        assert registry.resolve("latest").name == name
        assert verify(registry.get(name).folder, registry.get(name).manifest_sha256).family == version_child.FAMILY


def test_a_folder_without_a_row_is_ignored_and_its_name_not_used(before: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(before, tmp_path / "orphan")
    shutil.copytree(workspace / "versions" / "v1", workspace / "versions" / "v2")
    forge(workspace / "versions" / "v2")
    with registry_in(workspace) as registry:
        assert [version.name for version in registry.versions()] == ["v1"]
        with pytest.raises(NotFoundError, match="no version or alias 'v2'"):
            registry.resolve("v2")
        assert version_child.release(registry) == "v3"


def test_a_new_database_beside_old_folders_leaves_them_alone(before: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(before, tmp_path / "new")
    for file in workspace.glob("tenure.db*"):
        file.unlink()
    old = (workspace / "versions" / "v1" / MANIFEST).read_bytes()
    with registry_in(workspace) as registry:
        assert version_child.release(registry) == "v2"
        assert (workspace / "versions" / "v1" / MANIFEST).read_bytes() == old
