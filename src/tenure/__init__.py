"""tenure: which customers are about to leave, and whether acting on it pays.

Importing this package loads none of the libraries that the stages stand on, so that a command line or a worker
starts fast and pays only for the stages it uses. Its names are found when they are first asked for.

Examples
--------
>>> import tenure
>>> tenure.parse_instant("2026-01-31").isoformat()
'2026-01-31T00:00:00+00:00'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.app.project import Project
    from tenure.app.training import TrainResult
    from tenure.core.config import Settings, load_settings
    from tenure.core.errors import (
        ArtifactError,
        AuditError,
        ConfigError,
        ContractError,
        HistoryError,
        InputError,
        TenureError,
    )
    from tenure.core.time import fixed_clock, parse_duration, parse_instant
    from tenure.features.declare import Feature, FeatureSet
    from tenure.model.classifier import ChurnClassifier
    from tenure.model.evaluate import Estimate, Judgement
    from tenure.score.run import ScoreSummary
    from tenure.source.simulate import SimulationSpec, simulate

_HOME = {
    "ArtifactError": "tenure.core.errors",
    "AuditError": "tenure.core.errors",
    "ChurnClassifier": "tenure.model.classifier",
    "ConfigError": "tenure.core.errors",
    "ContractError": "tenure.core.errors",
    "Estimate": "tenure.model.evaluate",
    "Feature": "tenure.features.declare",
    "FeatureSet": "tenure.features.declare",
    "HistoryError": "tenure.core.errors",
    "InputError": "tenure.core.errors",
    "Judgement": "tenure.model.evaluate",
    "Project": "tenure.app.project",
    "ScoreSummary": "tenure.score.run",
    "Settings": "tenure.core.config",
    "SimulationSpec": "tenure.source.simulate",
    "TenureError": "tenure.core.errors",
    "TrainResult": "tenure.app.training",
    "fixed_clock": "tenure.core.time",
    "load_settings": "tenure.core.config",
    "parse_duration": "tenure.core.time",
    "parse_instant": "tenure.core.time",
    "simulate": "tenure.source.simulate",
}

__all__ = [
    "ArtifactError",
    "AuditError",
    "ChurnClassifier",
    "ConfigError",
    "ContractError",
    "Estimate",
    "Feature",
    "FeatureSet",
    "HistoryError",
    "InputError",
    "Judgement",
    "Project",
    "ScoreSummary",
    "Settings",
    "SimulationSpec",
    "TenureError",
    "TrainResult",
    "fixed_clock",
    "load_settings",
    "parse_duration",
    "parse_instant",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"tenure offers no {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
