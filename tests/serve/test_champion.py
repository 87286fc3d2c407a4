"""The version that an alias points at takes over once it has proven itself, and not before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tenure.app.champion import AGAIN_SECONDS, Champion
from tenure.app.place import Place
from tenure.app.serve_stream import _has_others
from tenure.app.stream import stream_features
from tenure.core.errors import ArtifactError, NotFoundError
from tenure.features.declare import Feature, FeatureSet
from tenure.model import verify as verification
from tests.serve.sealed import promote, write_site


@pytest.fixture(autouse=True)
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the throw-away process, which has tests of its own; golden rows are still reproduced in this one."""
    monkeypatch.setattr(verification, "rehearse", lambda *_: 0.0)


@pytest.fixture
def site(tmp_path: Path) -> Place:
    return write_site(tmp_path)


class Clock:
    """A monotonic clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def champion_of(site: Place, monotonic: Clock | None = None) -> Champion:
    return Champion(site, site.database(), monotonic=monotonic or Clock())


def test_a_promoted_version_takes_over(site: Place) -> None:
    champion = champion_of(site)
    assert (champion.model.name, champion.model.alias) == ("v1", "champion")
    assert champion.look() is None
    promote(site, "v2")
    after = champion.look()
    assert after is champion.model
    assert (after.name, after.alias) == ("v2", "champion")
    assert champion.look() is None


def test_a_version_that_was_touched_does_not(site: Place) -> None:
    monotonic = Clock()
    champion = champion_of(site, monotonic)
    promote(site, "v2")
    model = site.workspace / "versions" / "v2" / "model.ubj"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + b" ")
    with pytest.raises(ArtifactError, match=r"v2/model\.ubj was changed") as first:
        champion.look()
    assert champion.model.name == "v1"

    model.write_bytes(whole)
    with pytest.raises(ArtifactError) as again:
        champion.look()
    assert again.value is first.value, "for a minute nothing is verified anew"
    monotonic.now += AGAIN_SECONDS
    restored = champion.look()
    assert restored is not None
    assert restored.name == "v2"


def test_a_rollback_ends_the_refusal(site: Place) -> None:
    champion = champion_of(site)
    promote(site, "v2")
    (site.workspace / "versions" / "v2" / "extra").touch()
    with pytest.raises(ArtifactError):
        champion.look()
    promote(site, "v1")
    assert champion.look() is None
    assert champion.model.name == "v1"


def test_before_the_alias_exists_the_latest_version_answers_and_the_log_says_so(
    site: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place.load(site.root / "tenure.toml", {("serve", "alias"): "nightly"})
    champion = champion_of(place)
    assert [(one.message, vars(one)["alias"], vars(one)["version"]) for one in caplog.records] == [
        ("The alias does not exist; the latest version answers.", "nightly", "v2")
    ]
    assert (champion.model.name, champion.model.alias) == ("v2", None)
    before = champion.model.version
    promote(site, "v2", "nightly")
    aliased = champion.look()
    assert aliased is not None
    assert (aliased.alias, aliased.version) == ("nightly", before), "the same version is not loaded twice"


@pytest.fixture
def differing(monkeypatch: pytest.MonkeyPatch) -> dict[str, FeatureSet]:
    """Let the versions have other features than each other."""
    found = {name: FeatureSet((Feature("order", op),)) for name, op in (("v1", "count"), ("v2", "days_since_last"))}
    monkeypatch.setattr(
        "tenure.app.wanted.read_manifest", lambda folder, _: SimpleNamespace(features=found[folder.name])
    )
    return found


def test_the_stream_folds_the_features_of_the_version_that_answers(
    site: Place, differing: dict[str, FeatureSet]
) -> None:
    assert stream_features(site) == differing["v1"]
    nightly = Place.load(site.root / "tenure.toml", {("serve", "alias"): "nightly"})
    assert stream_features(nightly) == differing["v2"], "the alias does not exist, and the latest version answers"
    promote(site, "v1", "nightly")
    assert stream_features(nightly) == differing["v1"]
    promote(site, "v2")
    assert stream_features(site) == differing["v2"]
    assert stream_features(nightly) == differing["v1"]


def test_the_stream_beside_a_service_notices_when_its_alias_moves(
    site: Place, differing: dict[str, FeatureSet]
) -> None:
    place = Place.load(site.root / "tenure.toml", {("serve", "alias"): "nightly"})
    assert not _has_others(place, place.registry(), differing["v2"])
    promote(site, "v1", "nightly")
    assert _has_others(place, place.registry(), differing["v2"])
    promote(site, "v2")
    assert not _has_others(place, place.registry(), differing["v1"]), "the champion serves elsewhere"


def test_features_of_events_that_the_settings_lost_are_not_folded(site: Place) -> None:
    with pytest.raises(
        NotFoundError, match=r"The features of v1 need events that tenure\.toml does not name: login, pay"
    ):
        stream_features(site)


def test_a_worth_that_the_new_version_does_not_know_is_refused(site: Place) -> None:
    """`clv` may name a feature; a version without it cannot say what pays."""
    champion = champion_of(Place.load(site.root / "tenure.toml", {("value", "clv"): "same"}))
    promote(site, "v2")
    assert champion.look() is not None
    with pytest.raises(NotFoundError, match="none_such"):
        champion_of(Place.load(site.root / "tenure.toml", {("value", "clv"): "none_such"}))


def test_without_a_version_there_is_nothing_to_serve(site: Place) -> None:
    (site.workspace / "tenure.db").unlink()
    with pytest.raises(NotFoundError, match="nothing has been trained yet"):
        champion_of(site)
