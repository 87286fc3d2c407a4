"""The version that an alias points at takes over once it has proven itself, and not before."""

from __future__ import annotations

import pytest

from tenure.app.champion import AGAIN_SECONDS, Champion
from tenure.core.errors import ArtifactError, NotFoundError
from tenure.score.served import Ask
from tests.serve.project import Shop


class Clock:
    """A monotonic clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def champion_of(shop: Shop, monotonic: Clock | None = None, **serve: str) -> Champion:
    place = shop.place({("serve", name): value for name, value in serve.items()})
    return Champion(place, place.database(), monotonic=monotonic or Clock())


def promote(shop: Shop, version: str, alias: str = "champion") -> None:
    shop.place().registry().promote(alias, version, reason="a test", by="a test")


def features(champion: Champion) -> dict[str, float]:
    return {name: float(place) for place, name in enumerate(champion.model.features.names)}


def test_a_promoted_version_takes_over(shop: Shop) -> None:
    champion = champion_of(shop)
    before = champion.model
    assert (before.name, before.alias) == ("v1", "champion")
    assert champion.look() is None
    promote(shop, "v2")
    after = champion.look()
    assert after is champion.model
    assert (after.name, after.alias) == ("v2", "champion")
    assert champion.look() is None
    ask = Ask("c1", features=features(champion))
    assert before.score_given([ask]) != after.score_given([ask])


def test_a_version_that_was_touched_does_not(shop: Shop) -> None:
    monotonic = Clock()
    champion = champion_of(shop, monotonic)
    promote(shop, "v2")
    model = shop.place().workspace / "versions" / "v2" / "model.json"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + b" ")
    with pytest.raises(ArtifactError, match=r"v2/model\.json was changed") as first:
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


def test_a_rollback_ends_the_refusal(shop: Shop) -> None:
    champion = champion_of(shop)
    promote(shop, "v2")
    (shop.place().workspace / "versions" / "v2" / "extra").touch()
    with pytest.raises(ArtifactError):
        champion.look()
    promote(shop, "v1")
    assert champion.look() is None
    assert champion.model.name == "v1"


def test_before_the_alias_exists_the_latest_version_answers(shop: Shop) -> None:
    champion = champion_of(shop, alias="nightly")
    assert (champion.model.name, champion.model.alias) == ("v2", None)
    before = champion.model.version
    promote(shop, "v2", "nightly")
    aliased = champion.look()
    assert aliased is not None
    assert (aliased.alias, aliased.version) == ("nightly", before), "the same version is not loaded twice"


def test_without_a_version_there_is_nothing_to_serve(shop: Shop) -> None:
    (shop.folder / ".tenure" / "tenure.db").unlink()
    with pytest.raises(NotFoundError, match="nothing has been trained yet"):
        champion_of(shop)
