"""`tenure demo`: the whole journey on a year of grocery baskets.

Enters: a folder. Leaves: in it the raw baskets, the `tenure.toml` that `tenure init` proposes for them, a registered
version with its report, a comparison with simpler and rebalanced models, scores for every household at risk and a
contact list with reasons; and what the service answered of some of them. Invariant: it calls the very functions that
the verbs call, and the service is the program itself; there is no path of its own for the demonstration.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenure.app.compare import CompareResult, compare_models
from tenure.app.demo_service import Served, ask_service
from tenure.app.place import Place
from tenure.app.propose.proposal import Proposal, propose_events
from tenure.app.scoring import score
from tenure.app.training import TrainResult, train_version
from tenure.core.files import atomic_path
from tenure.core.progress import Progress, silent
from tenure.core.settings import RuntimeSettings
from tenure.core.time import Clock, system_clock
from tenure.score.run import ScoreSummary
from tenure.source.engine import open_engine
from tenure.source.journey import write_baskets

__all__ = ["DemoResult", "run_demo"]

COMPARED = ("xgboost", "logistic")
EVENED_OUT = ("weights",)


@dataclass(frozen=True)
class DemoResult:
    """Where everything is, and what came out."""

    config: Path
    proposal: Proposal
    trained: TrainResult
    compared: CompareResult
    scored: ScoreSummary
    served: Served


def run_demo(out: Path, progress: Progress = silent, clock: Clock = system_clock) -> DemoResult:
    """Take raw baskets to an evaluated version, a comparison, scores, a contact list, a report, and answers over HTTP.

    Parameters
    ----------
    out : Path
        Folder for everything; an earlier demonstration in it is gone on with: another version is trained beside the
        first, which stays champion.
    progress : Progress
        Told about the stages.
    clock : Clock
        What time it is.

    Raises
    ------
    MissingExtraError
        The package with the baskets is not installed.

    Examples
    --------
    >>> run_demo.__module__
    'tenure.app.demo'
    """
    progress("baskets", 0.0)
    baskets = write_baskets(out / "data")
    config = out / "tenure.toml"
    with open_engine(RuntimeSettings(), out / ".tenure") as engine:
        proposal = propose_events(engine, [str(baskets)], None, out.resolve(), "journey")
    progress("baskets", 1.0)
    if not config.exists():
        with atomic_path(config) as temporary:
            temporary.write_text(proposal.text, encoding="utf-8")
    place = Place.load(config, clock=clock)
    compared = compare_models(place, COMPARED, EVENED_OUT, progress)  # first, so that the version's report shows it
    trained = train_version(place, progress)
    scored = score(place, progress=progress)
    return DemoResult(config, proposal, trained, compared, scored, ask_service(place, config, scored, progress))
