"""Which version answers: the one that `[serve] alias` points at, or the latest before the alias exists.

Enters: a project. Leaves: a version that is registered. Invariant: whoever scores live and whoever folds events asks
here, so that the states that are kept fresh are of the features that are scored; and nothing of the version is loaded.
"""

from __future__ import annotations

from tenure.app.place import Place
from tenure.core.errors import NotFoundError
from tenure.features.declare import FeatureSet
from tenure.model.registry import LATEST, Registry, Version
from tenure.model.verify import read_manifest

__all__ = ["wanted", "wanted_features"]


def wanted(place: Place, registry: Registry) -> tuple[Version, str | None]:
    """The version that shall answer, and the alias under which it does; None: the alias does not exist yet.

    Raises
    ------
    NotFoundError
        There is no version yet.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> wanted(place, place.registry())
    Traceback (most recent call last):
    tenure.core.errors.NotFoundError: There is no version 'latest': nothing has been trained yet.
    → Train a version with `tenure train`.
    """
    alias = place.settings.serve.alias
    versions = registry.versions()
    for version in versions:
        if alias in version.aliases:
            return version, alias
    return (versions[0] if versions else registry.resolve(LATEST)), None


def wanted_features(place: Place, registry: Registry) -> FeatureSet | None:
    """The features of the version that shall answer, as its manifest names them; None: there is no version yet.

    Raises
    ------
    NotFoundError
        They need events that the settings no longer name.
    ArtifactError
        The manifest is absent or another one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> wanted_features(place, place.registry()) is None
    True
    """
    try:
        version, _ = wanted(place, registry)
    except NotFoundError:
        return None
    # The manifest says which, and hashes to what was registered; the model beside it is nobody's business here.
    features = read_manifest(version.folder, version.manifest_sha256).features
    missing = sorted({feature.event for feature in features.events} - place.settings.events.keys())
    if missing:
        raise NotFoundError(
            f"The features of {version.name} need events that tenure.toml does not name: {', '.join(missing)}.",
            hint="Bring the sections back, or train and promote a version without them.",
        )
    return features
