"""Names, aliases and their history, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from tenure.core.database import open_database
from tenure.core.errors import ArtifactError, InputError, NotFoundError, StateError
from tenure.core.time import Clock
from tenure.features.declare import FeatureSet
from tenure.model.catalogue import alias_rows, version_rows
from tenure.model.document import refused
from tenure.model.evaluate import Estimate
from tenure.model.manifest import MANIFEST, Cutoffs, Manifest
from tenure.model.registry import Registry

START = datetime(2026, 1, 1, tzinfo=UTC)


def ticking() -> Clock:
    """A clock that moves on by a second whenever somebody looks."""
    seconds = iter(range(1_000_000))
    return lambda: START + timedelta(seconds=next(seconds))


def unchecked(folder: Path, manifest_sha256: str) -> None:
    """Let everything pass: whether a version may be used is another module's business."""


def seal(folder: Path, family: str = "logistic", auc: float = 0.75) -> str:
    """A version folder that holds nothing but a manifest; gives the manifest's hash."""
    metrics = {"roc_auc": Estimate(auc, auc - 0.01, auc + 0.01)}
    manifest = Manifest(family, START, (), FeatureSet(), "f", Cutoffs(), 0.25, metrics, {"tenure": "0.1.0"}, {})
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(manifest.to_json())
    return hashlib.sha256(manifest.to_json()).hexdigest()


def add(registry: Registry, count: int = 1) -> None:
    for _ in range(count):
        name = registry.reserve()
        registry.register(name, seal(registry.folder / name))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/tenure.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = open_database(url)
    yield opened
    opened.dispose()


@pytest.fixture
def registry(engine: Engine, tmp_path: Path) -> Registry:
    return Registry(engine, tmp_path / "versions", ticking(), unchecked)


def test_names_are_given_out_once(registry: Registry) -> None:
    names = [registry.reserve() for _ in range(3)]
    assert len(set(names)) == 3
    assert [int(name[1:]) for name in names] == sorted(int(name[1:]) for name in names)
    assert registry.versions() == ()


def test_a_number_is_not_given_out_again_after_its_row_is_gone(registry: Registry) -> None:
    first = registry.reserve()
    with registry.engine.begin() as connection:
        connection.execute(version_rows.delete())
    assert registry.reserve() != first


def test_trainers_at_the_same_time_get_different_names(registry: Registry) -> None:
    start = threading.Barrier(8)

    def train(_: int) -> str:
        start.wait()
        name = registry.reserve()
        return registry.register(name, seal(registry.folder / name)).name

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(train, range(8)))
    assert len(set(names)) == 8
    assert {version.name for version in registry.versions()} == set(names)


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_a_name_taken_in_the_folder_is_skipped(registry: Registry, kind: str) -> None:
    taken = registry.folder / f"v{int(registry.reserve()[1:]) + 1}"
    taken.parent.mkdir()
    if kind == "folder":
        taken.mkdir()
    elif kind == "file":
        taken.touch()
    else:
        taken.symlink_to("nowhere")
    assert registry.reserve() == f"v{int(taken.name[1:]) + 1}"


def test_a_registered_version_says_what_its_manifest_says(registry: Registry) -> None:
    name = registry.reserve()
    checksum = seal(registry.folder / name, "xgboost", auc=0.875)
    version = registry.register(name, checksum)
    assert version == registry.get(name) == registry.versions()[0]
    assert (version.name, version.folder, version.family) == (name, registry.folder / name, "xgboost")
    assert (version.manifest_sha256, version.created_at, version.aliases) == (checksum, START, ())
    assert version.metrics == {"roc_auc": {"value": 0.875, "low": 0.865, "high": 0.885}}


def test_a_project_may_be_moved(registry: Registry, tmp_path: Path) -> None:
    add(registry)
    registry.folder.rename(tmp_path / "elsewhere")
    moved = Registry(registry.engine, tmp_path / "elsewhere", registry.clock, unchecked)
    assert (moved.resolve("latest").folder / MANIFEST).is_file()


def test_nothing_is_registered_twice(registry: Registry) -> None:
    add(registry)
    version = registry.resolve("latest")
    with pytest.raises(StateError, match="not a reserved name"):
        registry.register(version.name, version.manifest_sha256)


def test_a_name_that_was_not_reserved_is_refused(registry: Registry) -> None:
    checksum = seal(registry.folder / "v77")
    with pytest.raises(StateError, match="v77 is not a reserved name"):
        registry.register("v77", checksum)
    assert registry.versions() == ()


def test_a_version_is_registered_only_with_its_folder(registry: Registry) -> None:
    name = registry.reserve()
    with pytest.raises(ArtifactError, match="There is no version folder"):
        registry.register(name, "0" * 64)
    seal(registry.folder / name)
    with pytest.raises(ArtifactError, match="was changed"):
        registry.register(name, "0" * 64)
    assert registry.versions() == ()


def test_the_newest_comes_first_and_is_the_latest(registry: Registry) -> None:
    add(registry, 11)  # v10 is newer than v9, though its text is smaller
    names = [version.name for version in registry.versions()]
    assert names == sorted(names, key=lambda name: int(name[1:]), reverse=True)
    assert registry.resolve("latest").name == names[0]


def test_a_training_that_has_not_finished_is_invisible(registry: Registry) -> None:
    add(registry)
    latest = registry.resolve("latest")
    name = registry.reserve()
    seal(registry.folder / name)
    assert [version.name for version in registry.versions()] == [latest.name]
    assert registry.resolve("latest") == latest
    with pytest.raises(NotFoundError, match=f"{name} is the name of a training that has not finished"):
        registry.resolve(name)


def test_what_is_not_there_is_said_with_what_is(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="nothing has been trained yet"):
        registry.resolve("champion")
    add(registry)
    name = registry.versions()[0].name
    registry.promote("champion", "latest", reason="first", by="test")
    with pytest.raises(NotFoundError, match="Did you mean 'champion'"):
        registry.resolve("chmapion")
    with pytest.raises(NotFoundError, match=f"Known: champion, latest, {name}"):
        registry.resolve("8")
    with pytest.raises(NotFoundError, match="no version or alias 'champion'"):
        registry.get("champion")
    with pytest.raises(NotFoundError):
        registry.resolve("v99999999999999999999999")


def test_an_alias_moves_and_its_history_stays(registry: Registry) -> None:
    add(registry, 2)
    second, first = (version.name for version in registry.versions())
    before = registry.promote("champion", first, reason="only one", by="ana")
    after = registry.promote("champion", second, reason="better AUC", by="bo")
    assert (before.version, before.previous, before.reason, before.by) == (first, None, "only one", "ana")
    assert (after.version, after.previous, after.reason, after.by) == (second, first, "better AUC", "bo")
    assert START < before.at < after.at
    assert registry.history() == registry.history("champion") == (before, after)
    assert registry.aliases() == {"champion": second}
    assert registry.resolve("champion").aliases == ("champion",)
    assert registry.get(first).aliases == ()


def test_aliases_do_not_know_each_other(registry: Registry) -> None:
    add(registry, 2)
    second, first = (version.name for version in registry.versions())
    registry.promote("champion", first, reason="", by="")
    registry.promote("challenger", second, reason="", by="")
    registry.promote("champion", "challenger", reason="won", by="test")
    assert registry.get(second).aliases == ("challenger", "champion")
    assert [move.alias for move in registry.history()] == ["champion", "challenger", "champion"]
    assert len(registry.history("challenger")) == 1


def test_pointing_where_the_alias_points_adds_nothing(registry: Registry) -> None:
    add(registry)
    once = registry.promote("champion", "latest", reason="first", by="test")
    assert registry.promote("champion", "latest", reason="again", by="test") == once
    assert registry.history() == (once,)


@pytest.mark.parametrize(
    "alias", ["", "latest", "v1", "v12", "Champion", "1st", "a b", "_x", "é", "x" * 64, "a\n", "a'; DROP TABLE aliases"]
)
def test_what_cannot_be_an_alias_is_refused(registry: Registry, alias: str) -> None:
    add(registry)
    with pytest.raises(InputError, match="cannot be an alias"):
        registry.promote(alias, "latest", reason="", by="")
    assert registry.history() == ()


@pytest.mark.parametrize("alias", ["a", "canary-2", "eu_west", "version", "v", "vx1", "x" * 63])
def test_other_names_can_be_aliases(registry: Registry, alias: str) -> None:
    add(registry)
    registry.promote(alias, "latest", reason="", by="")
    assert registry.resolve(alias).aliases == (alias,)


def test_a_version_that_does_not_verify_is_not_promoted(registry: Registry) -> None:
    add(registry, 2)
    second, first = registry.versions()
    bad = {second.folder}

    def check(folder: Path, manifest_sha256: str) -> None:
        assert manifest_sha256 == registry.get(folder.name).manifest_sha256
        if folder in bad:
            raise refused("the golden rows differ")

    strict = Registry(registry.engine, registry.folder, registry.clock, check)
    strict.promote("champion", first.name, reason="", by="")
    with pytest.raises(ArtifactError, match="golden rows"):
        strict.promote("champion", second.name, reason="", by="")
    assert strict.resolve("champion").name == first.name
    assert len(strict.history()) == 1
    bad.clear()
    strict.promote("champion", second.name, reason="", by="")
    bad.add(first.folder)
    with pytest.raises(ArtifactError, match="golden rows"):
        strict.rollback("champion", reason="", by="")
    assert strict.resolve("champion").name == second.name


def test_rolling_back_undoes_one_promotion_after_the_other(registry: Registry) -> None:
    add(registry, 3)
    third, second, first = (version.name for version in registry.versions())
    for name in (first, second, third):
        registry.promote("champion", name, reason="up", by="test")
    undone = registry.rollback("champion", reason="errors", by="test")
    assert (undone.version, undone.previous, undone.is_rollback) == (second, third, True)
    assert registry.rollback("champion", reason="still", by="test").version == first
    with pytest.raises(NotFoundError, match=f"only ever pointed at {first}"):
        registry.rollback("champion", reason="more", by="test")
    assert len(registry.history()) == 5


def test_an_unknown_alias_cannot_be_rolled_back(registry: Registry) -> None:
    add(registry)
    registry.promote("champion", "latest", reason="", by="")
    with pytest.raises(NotFoundError, match="Did you mean 'champion'"):
        registry.rollback("champoin", reason="", by="")


def test_a_rollback_does_not_undo_what_it_has_not_seen(registry: Registry) -> None:
    add(registry, 3)
    third, second, first = (version.name for version in registry.versions())
    for name in (first, second):
        registry.promote("champion", name, reason="up", by="test")

    def meanwhile(*_: object) -> None:
        registry.promote("champion", third, reason="meanwhile", by="other")

    slow = Registry(registry.engine, registry.folder, registry.clock, meanwhile)
    with pytest.raises(StateError, match=f"was moved to {third} meanwhile"):
        slow.rollback("champion", reason="errors", by="test")
    assert registry.resolve("champion").name == third


def test_promotions_at_the_same_time_leave_one_unbroken_history(registry: Registry) -> None:
    add(registry, 6)
    names = [version.name for version in registry.versions()]
    start = threading.Barrier(6)

    def promote(name: str) -> None:
        start.wait()
        registry.promote("champion", name, reason="race", by=name)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(promote, names))
    moves = registry.history("champion")
    assert {move.version for move in moves} == set(names)
    assert [move.previous for move in moves] == [None, *(move.version for move in moves[:-1])]
    assert registry.aliases() == {"champion": moves[-1].version}


def test_instants_are_text_in_utc(registry: Registry) -> None:
    registry.reserve()
    with registry.engine.connect() as connection:
        text = connection.scalar(sa.select(version_rows.c.reserved_at))
    assert text == "2026-01-01T00:00:00.000000+00:00"


def test_a_ready_row_without_a_hash_is_refused_by_the_database(registry: Registry) -> None:
    row = version_rows.insert().values(state="ready", reserved_at="2026")
    with pytest.raises(sa.exc.IntegrityError), registry.engine.begin() as connection:
        connection.execute(row)


def test_an_alias_cannot_point_at_nothing(registry: Registry) -> None:
    with pytest.raises(sa.exc.IntegrityError), registry.engine.begin() as connection:
        connection.execute(alias_rows.insert().values(alias="champion", version=77))


def test_a_database_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/tenure.db")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE versions"))
    with pytest.raises(StateError, match="no such table"):
        Registry(engine, tmp_path, ticking(), unchecked).versions()
    engine.dispose()


@given(st.lists(st.sampled_from(["v1", "v2", "v3", "undo"]), max_size=12))
def test_rolling_back_is_undoing(steps: list[str]) -> None:
    """Against a plain list that is pushed to and popped from."""
    engine = open_database("sqlite://")
    with engine.begin() as connection:
        for number in (1, 2, 3):
            connection.execute(version_rows.insert().values(
                number=number, state="ready", reserved_at="2026-01-01", created_at="2026-01-01", family="logistic",
                manifest_sha256="0" * 64, metrics="{}",
            ))  # fmt: skip
    registry = Registry(engine, Path("versions"), ticking(), unchecked)
    expected: list[str] = []
    for step in steps:
        if step != "undo":
            registry.promote("champion", step, reason="", by="")
            expected += [step] if expected[-1:] != [step] else []
        elif len(expected) > 1:
            expected.pop()
            assert registry.rollback("champion", reason="", by="").version == expected[-1]
        else:
            with pytest.raises(NotFoundError):
                registry.rollback("champion", reason="", by="")
        assert registry.aliases() == ({"champion": expected[-1]} if expected else {})
    engine.dispose()
