"""A version folder is damaged, forged or foreign in every way we can think of; it is refused and nothing crashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.database import open_database
from tenure.core.errors import ArtifactError
from tenure.model import verify as verification
from tenure.model.artifact import load_version
from tenure.model.document import canonical, digest
from tenure.model.manifest import GOLDEN, MANIFEST, Manifest
from tenure.model.registry import Registry
from tests.model.versions import CLOCK, forge, refusal, registered, write

FILES = [
    MANIFEST,
    "calibration.json",
    "encoder.json",
    "evaluation.json",
    GOLDEN,
    "model.ubj",
    "report.html",
    "usual.json",
]


@pytest.fixture
def never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage that hashes show must be refused before any parser sees the file, even in another process."""

    def parse(*_: object) -> float:
        raise AssertionError("a file was parsed before it was verified")

    monkeypatch.setattr(verification, "rehearse", parse)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()  # in case it is a second name of another test's file
    path.write_bytes(change(data))


def flip(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first byte flipped": flip(0),
    "byte in the middle flipped": lambda data: flip(len(data) // 2)(data),
    "last byte flipped": lambda data: flip(len(data) - 1)(data),
    "last byte gone": lambda data: data[:-1],
    "second half gone": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "byte added": lambda data: data + b"\n",
    "doubled": lambda data: data + data,
    "zeros": lambda data: bytes(len(data)),
    "reversed": lambda data: data[::-1],
}


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(version: Path, pristine: Path, file: str, damage: str) -> None:
    rewrite(version / file, DAMAGES[damage])
    with_registry, alone = refusal(version, registered(pristine)), refusal(version)
    if file == MANIFEST:
        assert "v1/manifest.json was changed: its SHA-256 is" in with_registry
        assert "manifest.json" in alone
    else:
        size = (version / file).stat().st_size - (pristine / file).stat().st_size
        reason = "has grown" if size > 0 else "is truncated" if size < 0 else "was changed"
        assert with_registry == alone
        assert f"v1/{file} {reason}" in alone


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(version: Path, file: str) -> None:
    (version / file).unlink()
    assert refusal(version) == f"v1 lacks {file}."


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["link", "broken link", "folder", "pipe"])
def test_what_is_no_plain_file_is_refused(version: Path, tmp_path: Path, file: str, kind: str) -> None:
    path = version / file
    shutil.move(path, tmp_path / file)
    if kind == "pipe":
        os.mkfifo(path)  # reading it would wait for ever
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / file if kind == "link" else "nowhere")
    message = refusal(version)
    assert f"v1/{file}" in message or f"v1 lacks {file}" in message
    assert any(reason in message for reason in ("is a link", "plain file", "cannot be opened", "empty folder"))


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("name", ["extra.json", ".hidden", "model.pkl", "manifest.json.bak", "é.json"])
def test_an_added_file_is_named(version: Path, name: str) -> None:
    (version / name).write_bytes(b"x")
    assert refusal(version) == f"v1 holds files that its manifest does not name: {name}."


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize(("one", "other"), list(combinations(FILES, 2)))
def test_swapped_files_are_refused(version: Path, pristine: Path, one: str, other: str) -> None:
    (version / one).rename(version / "third")
    (version / other).rename(version / one)
    (version / "third").rename(version / other)
    refusal(version, registered(pristine))
    refusal(version)


@pytest.mark.usefixtures("never_parsed")
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("absent", "file"):
        assert refusal(tmp_path / name) == f"There is no version folder {tmp_path / name}."
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == "empty lacks manifest.json."


@pytest.mark.usefixtures("never_parsed")
def test_another_version_in_its_place_is_refused(pristine: Path, tmp_path: Path) -> None:
    checksum = write(tmp_path / "v1", "logistic")
    assert checksum != registered(pristine)
    assert "but " + registered(pristine) + " was registered" in refusal(tmp_path / "v1", registered(pristine))


@settings(max_examples=150)
@given(data=st.data())
def test_any_single_mutation_of_any_file_is_refused(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whether or not the registry is asked; and no parser sees it."""
    folder = tmp_path_factory.mktemp("mutant") / "v1"
    shutil.copytree(pristine, folder)
    path = folder / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 8, len(content))) | st.just(len(content)))
    put = data.draw(st.binary(max_size=8) | st.just(content[start:end][::-1]))
    if put == content[start:end]:
        put += b"!"
    path.write_bytes(content[:start] + put + content[end:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "rehearse", lambda *_: pytest.fail("parsed before it was verified"))
        refusal(folder)
        refusal(folder, registered(pristine))
    shutil.rmtree(folder)


# The manifest itself, rewritten by somebody who knows how: its seal agrees with its content.


def reseal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    del document["seal"]
    change(document)
    data = canonical(document | {"seal": digest(document)})
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_bytes(data)


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize(
    "name",
    [
        "../secret.json",
        "/etc/hostname",
        "a/../b",
        "a//b",
        "a/",
        "a/b/c/d/e",
        "..",
        ".",
        "",
        "a\0b",
        "a\\b",
        ".hidden",
        "x" * 200,
        "é",
        "a\n",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(version: Path, name: str) -> None:
    (version.parent / "secret.json").write_text("{}")
    entry = {"name": name, "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    reseal(version, lambda document: document["files"].append(entry))
    assert "is not the name of a version's file" in refusal(version)


@pytest.mark.usefixtures("never_parsed")
def test_a_file_named_twice_is_refused(version: Path) -> None:
    reseal(version, lambda document: document["files"].append(document["files"][0]))
    assert "names a file twice" in refusal(version)
    reseal(version, lambda document: document["files"].pop())
    reseal(version, lambda document: document["files"].append(document["files"][0] | {"name": "CALIBRATION.json"}))
    assert "names a file twice" in refusal(version)


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("file", ["calibration.json", "encoder.json", "evaluation.json", GOLDEN, "usual.json"])
def test_a_version_that_does_without_a_needed_file_is_refused(version: Path, file: str) -> None:
    (version / file).unlink()
    forge(version)
    assert refusal(version) == f"The manifest of v1 names no {file}."


@pytest.mark.usefixtures("never_parsed")
def test_a_newer_format_says_what_to_install(version: Path) -> None:
    manifest = Manifest.from_json((version / MANIFEST).read_bytes())
    newer = replace(manifest, format_version=2, dependencies={"tenure": "9.1.0"})
    (version / MANIFEST).write_bytes(newer.to_json())
    with pytest.raises(ArtifactError, match="format is 2; this tenure reads formats up to 1") as caught:
        load_version(version)
    assert caught.value.hint == "Install the tenure that wrote it: pip install 'tenure>=9.1.0'."
    reseal(version, lambda document: document.update(format_version=7, dependencies=None))
    with pytest.raises(ArtifactError, match="format is 7") as caught:
        load_version(version)
    assert caught.value.hint == "Upgrade tenure."


def features(**change: Any) -> dict[str, Any]:
    """Declarations that are right but for `change`."""
    return {"features": {"events": [], "attributes": [], "tenure": True} | change}


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "another"}, "is of the format 'another'"),
        ({"format": None}, "it is foreign"),
        ({"format_version": 0}, "format version 0, which never existed"),
        ({"format_version": "1"}, "format_version should be a whole number"),
        ({"threshold": "0.5"}, "threshold should be a number"),
        ({"threshold": True}, "threshold should be a number"),
        ({"threshold": 1}, "threshold should be a number"),
        ({"files": {}}, "files should be a list"),
        ({"files": [{"name": "a", "size": "2", "sha256": ""}]}, "size should be a whole number"),
        ({"metrics": {"roc_auc": 0.9}}, "metrics: roc_auc should be an object"),
        ({"cutoffs": {"train": ["x"], "calibrate": [], "test": []}}, "'x' is not an instant"),
        ({"created_at": "yesterday"}, "'yesterday' is not an instant"),
        (features(events=[{"event": "e", "op": "count", "evil": 1}]), "features cannot be read"),
        (features(events=[{"event": 5, "op": "count"}]), "features cannot be read"),
        (features(attributes=[{"name": "a", "kind": "evil"}]), "does not know"),
        ({"features": []}, "features should be an object"),
        ({"features_sha256": "0" * 64}, "does not match its seal"),
        ({"dependencies": {"tenure": 1}}, "tenure should be a text"),
        ({"more": 1}, "unknown keys: more"),
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_with_a_wrong_value_says_which(version: Path, change: dict[str, Any], reason: str) -> None:
    reseal(version, lambda document: document.update(change))
    assert reason in refusal(version)


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95\x00",
        b"[]",
        b"[" * 1_000_000,
        b'{"a":' * 50_000,
        b'{"format": "tenure version", "format_version": 1, "settings": ' + b'{"a":' * 800 + b"1" + b"}" * 801,
        b"9" * 100_000,
        "{\ud800}".encode("utf-16", "surrogatepass"),
        b" " * (17 << 20),
    ],
    ids=lambda data: f"{data[:12]!r} of {len(data)}",
)
def test_a_manifest_that_is_none_is_refused(version: Path, data: bytes) -> None:
    (version / MANIFEST).write_bytes(data)
    assert "manifest.json" in refusal(version)


def test_a_registered_version_that_was_damaged_is_not_promoted(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/tenure.db")
    registry = Registry(engine, tmp_path / "versions", CLOCK)
    for _ in range(2):
        name = registry.reserve()
        registry.register(name, write(registry.folder / name, "logistic"))
    registry.promote("champion", "v1", reason="first", by="test")
    rewrite(registry.folder / "v2" / "model.json", DAMAGES["byte in the middle flipped"])
    with pytest.raises(ArtifactError, match=r"v2/model\.json was changed"):
        registry.promote("champion", "v2", reason="better", by="test")
    assert registry.aliases() == {"champion": "v1"}
    engine.dispose()
