"""`tenure serve` with a model of XGBoost that hangs for as long as a file is there.

Enters: what `tenure` is told, and the file's path in the environment (BENCH_HANG). The model is made to wait inside the
processes that serve, because nothing outside them could; they import this module as the one that they were started
from. Everything else is the service as it is.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tenure.cli.main import main as tenure
from tenure.model.family_xgboost import XGBoostModel
from tenure.model.protocol import Matrix, Vector

SWITCH = Path(os.environ["BENCH_HANG"])
predict_in_time = XGBoostModel.predict_margin


def predict_margin(self: XGBoostModel, matrix: Matrix) -> Vector:
    while SWITCH.exists():
        time.sleep(0.05)
    return predict_in_time(self, matrix)


XGBoostModel.predict_margin = predict_margin  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv[0] = "tenure"
    tenure()
