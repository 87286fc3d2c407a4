"""`tenure serve` with a model of XGBoost that hangs for as long as a file is there.

Enters: the file's path, then what `tenure` is told. The model is made to wait inside the process that serves, because
nothing outside it could; everything else is the service as it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tenure.cli.main import main as tenure
from tenure.model.family_xgboost import XGBoostModel
from tenure.model.protocol import Matrix, Vector


def hang_while(switch: Path) -> None:
    predict = XGBoostModel.predict_margin

    def predict_margin(self: XGBoostModel, matrix: Matrix) -> Vector:
        while switch.exists():
            time.sleep(0.05)
        return predict(self, matrix)

    XGBoostModel.predict_margin = predict_margin  # type: ignore[method-assign]


if __name__ == "__main__":
    hang_while(Path(sys.argv[1]))
    sys.argv = ["tenure", *sys.argv[2:]]
    tenure()
