"""`tenure compare`: families and imbalance methods on the project's own data, out of time.

Enters: a `Place` and the names of families and methods. Leaves: a `CompareResult`, and beside the project's other
results a page and a JSON document of it. Invariant: the rows, blocks and audit are those of `tenure train`; nothing is
registered and no alias moves, for a comparison is advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenure.advise.candidate import Candidate, plan_candidates
from tenure.advise.compare import Comparison, compare
from tenure.app.frames import Prepared, prepare
from tenure.app.money import require_values, stakes_of
from tenure.app.place import Place
from tenure.core.config import settings_from
from tenure.core.errors import ArtifactError, ConfigError, did_you_mean
from tenure.core.files import atomic_path
from tenure.core.progress import Progress, silent
from tenure.core.settings import ModelSettings
from tenure.core.time import format_instant
from tenure.features.audit import require_clean
from tenure.model.document import build, canonical, digest, parse, plain
from tenure.model.families import AUTO, find_family, installed_families, require_family
from tenure.model.imbalance import IMBALANCE, find_rebalance
from tenure.model.verify import verify
from tenure.report.comparison import ComparisonInput, render_comparison

__all__ = ["CompareResult", "compare_models", "latest_comparison"]

CHAMPION = "champion"
FOLDER = "comparisons"
_RECIPE = ("imbalance", "churner_weight", "minority_ratio", "members", "weights", "parameters")


@dataclass(frozen=True)
class CompareResult:
    """A comparison and where it is kept.

    Parameters
    ----------
    comparison : Comparison
        Who did how well at which cost.
    conclusion : str
        What it comes down to; claims no more than the intervals allow.
    champion_is : str
        What the champion of the comparison is: the registered one's recipe, or that of the settings.
    report, document : Path
        The page, and the same as JSON.
    notes : tuple of str
        What every reader must know.
    """

    comparison: Comparison
    conclusion: str
    champion_is: str
    report: Path
    document: Path
    notes: tuple[str, ...]


def compare_models(
    place: Place,
    families: Sequence[str] = (),
    imbalances: Sequence[str] = (),
    progress: Progress = silent,
) -> CompareResult:
    """Train every family with every imbalance method, judge all on the test block, and write page and document.

    Parameters
    ----------
    place : Place
        The project.
    families : sequence of str
        Names; default: every single family whose packages are installed.
    imbalances : sequence of str
        Names of methods; default: none. Each is compared with the same family without it.
    progress : Progress
        Told about the stages.

    Raises
    ------
    ConfigError
        There is no such family or method.
    MissingExtraError
        A family or a method was asked for by name, and a package that it needs is not installed.
    InputError
        The sources, the history or the settings do not allow it.
    AuditError
        The audit found a feature that knows the answer.
    ArtifactError
        The registered champion's folder is damaged or foreign.

    Examples
    --------
    >>> import tempfile
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> result = compare_models(place, ["logistic"], ["weights"])
    >>> [entry.name for entry in result.comparison.entries], result.champion_is
    (['logistic', 'logistic + weights'], 'the family and method of the settings')
    """
    families, imbalances = _known(families, imbalances)
    with place.alone(progress), place.engine() as engine:
        found = prepare(place, engine, progress)
    require_clean(found.audit)
    settings = place.settings
    require_values(found.frame.features, settings.value)
    model, champion_is = _champion(place)
    test = found.frame.take(found.split.blocks(found.frame).test)
    stakes = stakes_of(test, settings.value)
    candidates = plan_candidates(families, imbalances, Candidate(model.family, model.imbalance))
    place.workspace.mkdir(parents=True, exist_ok=True)
    comparison = compare(
        found.frame, found.split, stakes, candidates, model,
        threads=settings.runtime.threads, folder=place.workspace, progress=progress,
    )  # fmt: skip
    return _kept(place, found, comparison, champion_is)


def _known(families: Sequence[str], imbalances: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that were asked for, or the usual ones; what cannot be done is said before the long work."""
    families = [families] if isinstance(families, str) else families
    imbalances = [imbalances] if isinstance(imbalances, str) else imbalances
    for name in families:
        if name != AUTO:
            find_family(name)
            require_family(name)
    for name in imbalances:
        if name not in IMBALANCE:
            raise ConfigError(
                f"There is no imbalance method {name!r}. {did_you_mean(name, IMBALANCE)}",
                hint="Name one that [model] imbalance knows.",
                imbalance=name,
            )
        find_rebalance(ModelSettings.model_validate({"imbalance": name}))  # a missing package
    return tuple(families) or installed_families(), tuple(imbalances) or (IMBALANCE[0],)


def _champion(place: Place) -> tuple[ModelSettings, str]:
    """What the others have to beat: the registered champion's recipe, learned anew from the same rows."""
    registry, model = place.registry(), place.settings.model
    if CHAMPION not in registry.aliases():
        return model, "the family and method of the settings"
    version = registry.resolve(CHAMPION)
    kept = verify(version.folder, version.manifest_sha256).settings.get("model") or {}
    recipe = {key: kept[key] for key in _RECIPE if key in kept}
    table = {"path": "rows", "label": "label", "positive": True}
    given = model.model_dump() | {"parameters": {}} | recipe | {"family": version.family}
    learned = settings_from({"table": table, "model": given}, source=f"the settings of {version.name}").model
    return learned, f"the family and method of {version.name}, learned from the same rows"


def _kept(place: Place, found: Prepared, comparison: Comparison, champion_is: str) -> CompareResult:
    made = place.now().replace(microsecond=0)
    folder = place.workspace / FOLDER
    name = format_instant(made).replace(":", "")
    notes = (
        *((found.split.explanation,) if found.split.how != "cutoffs" else ()),
        *found.notes,
        *(f"{entry.name}: {note}" for entry in comparison.entries for note in entry.notes),
    )
    given = ComparisonInput(
        project=place.settings.project.name,
        created_at=made,
        churn=found.churn,
        split=found.split,
        value=place.settings.value,
        comparison=comparison,
        champion_is=champion_is,
        notes=tuple(dict.fromkeys(notes)),
    )
    result = CompareResult(
        comparison, comparison.conclusion, champion_is, folder / f"{name}.html", folder / f"{name}.json", given.notes
    )
    document = {"basis": _basis(place, found), "champion_is": champion_is, "comparison": plain(comparison)}
    with atomic_path(result.document) as path:
        path.write_bytes(canonical(document))
    with atomic_path(result.report) as path:
        path.write_text(render_comparison(given), encoding="utf-8")
    return result


def _basis(place: Place, found: Prepared) -> str:
    """Digest of what a comparison rests on: the data, what leaving means, features, blocks and money."""
    churn, value = place.settings.churn, place.settings.value
    return digest({
        "data": found.fingerprint,
        "churn": churn.model_dump(mode="json") if churn else None,
        "features": list(found.features.names),
        "split": repr(found.split),
        "value": value.model_dump(mode="json"),
    })  # fmt: skip


def latest_comparison(place: Place, found: Prepared) -> tuple[Comparison | None, tuple[str, ...]]:
    """The latest comparison on these very rows with this very money, and notes on files that could not be read.

    Parameters
    ----------
    place : Place
        The project.
    found : Prepared
        What is about to be trained on.
    """
    basis = _basis(place, found)
    notes: list[str] = []
    for path in sorted((place.workspace / FOLDER).glob("*.json"), reverse=True):
        try:
            document = parse(path.read_bytes(), path.name)
            if document.get("basis") == basis:
                return build(Comparison, document.get("comparison"), path.name), tuple(notes)
        except ArtifactError as error:
            notes.append(f"The comparison in {path.name} cannot be read and is not shown: {error.message}")
    return None, tuple(notes)
