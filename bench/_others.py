"""The side of `bench/serve.py` that is MLflow or BentoML, run by an interpreter that need not have tenure.

Enters: `mlflow` or `bentoml`, the booster's file, its columns as JSON, and a folder. Leaves: the model as that tool
keeps it, in the folder; for BentoML also the service that answers with it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

SERVICE = """import bentoml
import numpy as np
import xgboost as xgb


@bentoml.service(workers=1)
class Churn:
    def __init__(self) -> None:
        self.booster = xgb.Booster(model_file={path!r})
        self.booster.set_param({{"nthread": 1}})

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.booster.inplace_predict(rows.astype(np.float32))
"""


def main() -> None:
    tool, model, columns, folder = sys.argv[1:]
    if tool == "bentoml":
        (Path(folder) / "service.py").write_text(SERVICE.format(path=model), encoding="utf-8")
        return
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster(model_file=model)
    booster.feature_names = json.loads(columns)
    booster.feature_types = None
    importlib.import_module("mlflow.xgboost").save_model(booster, f"{folder}/model")


if __name__ == "__main__":
    main()
