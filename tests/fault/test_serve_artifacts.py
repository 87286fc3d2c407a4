"""Two thousand versions that somebody or something has touched: none of them serves, and the champion goes on.

Each is promoted as a running service would find it: the alias points at it, and its folder is not what was registered.
Nearly all are told apart by their hashes. Some are forged by somebody who also rewrote what is registered; those are
parsed, in a throw-away process, and their golden rows give them away.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tenure.app.champion import AGAIN_SECONDS, Champion
from tenure.app.place import Place
from tenure.core.errors import ArtifactError
from tenure.model.catalogue import version_rows
from tenure.model.golden import split_golden
from tenure.model.manifest import GOLDEN, MANIFEST
from tenure.score.served import Ask, ServedScore
from tests.model.versions import forge
from tests.serve.sealed import promote, write_site

CORRUPTED = 2_000
CHAMPION, CANDIDATE = "v1", "v2"
Touch = Callable[[Path, random.Random], None]


class Hours:
    """A monotonic clock by which a minute passes between two looks."""

    now = 0.0

    def __call__(self) -> float:
        self.now += AGAIN_SECONDS
        return self.now


def flip(folder: Path, luck: random.Random) -> None:
    """Change some bits of a file."""
    path = any_file(folder, luck)
    content = bytearray(path.read_bytes())
    for place in luck.sample(range(len(content)), k=min(luck.choice([1, 1, 2, 8]), len(content))):
        content[place] ^= 1 << luck.randrange(8)
    path.write_bytes(content)


def truncate(folder: Path, luck: random.Random) -> None:
    """Cut the end off a file."""
    path = any_file(folder, luck)
    path.write_bytes(path.read_bytes()[: luck.randrange(path.stat().st_size)])


def grow(folder: Path, luck: random.Random) -> None:
    """Put bytes behind a file, or into it."""
    path = any_file(folder, luck)
    content = path.read_bytes()
    place = luck.choice([len(content), luck.randrange(len(content))])
    path.write_bytes(content[:place] + luck.randbytes(luck.choice([1, 100])) + content[place:])


def remove(folder: Path, luck: random.Random) -> None:
    """Take a file away."""
    any_file(folder, luck).unlink()


def add(folder: Path, luck: random.Random) -> None:
    """Put a file there, or a folder."""
    path = folder / luck.choice(["model.pkl", ".hidden", "extra.json", "é.bin", "fallback/model.json", "empty"])
    if path.name == "empty":
        path.mkdir()
        return
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(luck.randbytes(10))


def link(folder: Path, luck: random.Random) -> None:
    """Put a link in the place of a file: to the very same bytes, to nothing, to what never ends."""
    path = any_file(folder, luck)
    elsewhere = folder.parent / "elsewhere"
    elsewhere.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(luck.choice([str(elsewhere), "nowhere", "/dev/zero", path.name]))


def swap(folder: Path, luck: random.Random) -> None:
    """Exchange two files."""
    one, other = luck.sample(files(folder), k=2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def reseal(folder: Path, luck: random.Random) -> None:
    """Change a file, and write a manifest that agrees."""
    luck.choice([flip_beside_manifest, truncate_beside_manifest])(folder, luck)
    forge(folder)


def flip_beside_manifest(folder: Path, luck: random.Random) -> None:
    path = luck.choice([one for one in files(folder) if one.name != MANIFEST])
    content = bytearray(path.read_bytes())
    content[luck.randrange(len(content))] ^= 255
    path.write_bytes(content)


def truncate_beside_manifest(folder: Path, luck: random.Random) -> None:
    path = luck.choice([one for one in files(folder) if one.name != MANIFEST])
    path.write_bytes(path.read_bytes()[:-1])


def of_the_champion(folder: Path, luck: random.Random) -> None:
    """Put a file of another whole version in the place of its own."""
    path = luck.choice([one for one in files(folder) if one.name != "report.html"])
    other = folder.parent / CHAMPION / path.name
    path.write_bytes(other.read_bytes() if other.exists() else b"{}")


TOUCHES: tuple[Touch, ...] = (flip, truncate, grow, remove, add, link, swap, reseal, of_the_champion)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def any_file(folder: Path, luck: random.Random) -> Path:
    return luck.choice(files(folder))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A project with two versions; the alias points at the first."""
    return write_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def champion(site: Place) -> Champion:
    """What a service follows: it serves the first version, and the alias has just moved to the second."""
    found = Champion(site, site.database(), monotonic=Hours())
    promote(site, CANDIDATE)
    return found


class Golden:
    """The champion's golden rows, asked as a caller would ask them."""

    def __init__(self, champion: Champion, folder: Path) -> None:
        features, self.expected = split_golden(pq.read_table(folder / GOLDEN))
        self.champion = champion
        self.asks = [Ask(None, features=row) for row in features.to_pylist()]

    def require(self) -> None:
        """The champion gives what it gave when it was made."""
        assert self.champion.model.name == CHAMPION
        scores = [found for found in self.champion.model.score_given(self.asks) if isinstance(found, ServedScore)]
        np.testing.assert_allclose([score.probability for score in scores], self.expected, rtol=0, atol=1e-9)


def test_two_thousand_touched_versions_are_refused(site: Place, champion: Champion) -> None:
    folder, luck = site.workspace / "versions" / CANDIDATE, random.Random(0)
    whole = {path.name: path.read_bytes() for path in files(folder)}
    golden = Golden(champion, folder.parent / CHAMPION)
    golden.require()
    for number in range(CORRUPTED):
        touch = TOUCHES[number % len(TOUCHES)]
        touch(folder, luck)
        if is_whole(folder, whole):  # a swap of equal files, say: then it is no corruption
            remove(folder, luck)
        with pytest.raises(ArtifactError) as refusal:
            champion.look()
        assert refusal.value.hint, touch
        if number % 100 == 0:
            golden.require()
        restore(folder, whole)
    golden.require()


def is_whole(folder: Path, whole: dict[str, bytes]) -> bool:
    names = {path.name for path in folder.iterdir()}
    return names == set(whole) and not any(
        (folder / name).is_symlink() or (folder / name).read_bytes() != content for name, content in whole.items()
    )


def restore(folder: Path, whole: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)


def another_answer(folder: Path) -> None:
    """Golden rows that expect something else."""
    table = pq.read_table(folder / GOLDEN)
    moved = pc.add(table.column("expected_probability"), 1e-3)
    pq.write_table(table.set_column(table.num_columns - 1, "expected_probability", moved), folder / GOLDEN)


def no_golden_rows(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / GOLDEN).slice(0, 0), folder / GOLDEN)


def half_a_model(folder: Path) -> None:
    path = folder / "model.ubj"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("change", [another_answer, no_golden_rows, half_a_model])
def test_a_forged_version_is_refused_though_it_is_registered(
    site: Place, champion: Champion, change: Callable[[Path], None]
) -> None:
    folder = site.workspace / "versions" / CANDIDATE
    whole = {path.name: path.read_bytes() for path in files(folder)}
    golden = Golden(champion, folder.parent / CHAMPION)
    registered = register(site, None)
    try:
        change(folder)
        register(site, forge(folder))
        with pytest.raises(ArtifactError):
            champion.look()
        golden.require()
    finally:
        restore(folder, whole)
        register(site, registered)


def register(site: Place, manifest_sha256: str | None) -> str:
    """Rewrite what is registered of the candidate; gives what it was."""
    row = version_rows.c.number == int(CANDIDATE[1:])
    with site.database().begin() as connection:
        before: str = connection.execute(version_rows.select().where(row)).one().manifest_sha256
        if manifest_sha256 is not None:
            connection.execute(version_rows.update().where(row).values(manifest_sha256=manifest_sha256))
    return before
