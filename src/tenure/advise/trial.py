"""One candidate trained and timed, in a process that does nothing else.

Enters: a folder with the rows, the split and the settings, which `tenure.advise.process` wrote. Leaves: in that folder
the probabilities of the test block and what they cost. Invariant: quality is not judged here; what is measured here is
what a process of its own is needed for: time, and the most memory that this training ever held.

How the costs are measured
--------------------------
Training is the wall time from labelled rows to a calibrated model. The most memory held is what the kernel counted for
this process until then, with the interpreter, the libraries and the rows, because a training needs those too. A single
prediction goes the whole way of a live score (`Parts.predict_row`), from the plain values of one row to a calibrated
probability; the rows differ, the first ones warm up and are not counted. A batch is predicted a few times and the
fastest counts: others on the machine can only make it slower. The artifact is the model with its encoder and
calibration, as a version keeps them.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from tenure.core.config import settings_from
from tenure.core.errors import TenureError
from tenure.core.time import parse_instant
from tenure.features.declare import FeatureSet
from tenure.model.document import canonical
from tenure.model.families import find_family
from tenure.model.frame import Frame
from tenure.model.parts import Parts
from tenure.model.protocol import sigmoid
from tenure.model.split import Split
from tenure.model.train import Trained, train

if sys.platform != "win32":
    import resource

__all__ = ["FEATURES", "MODEL", "PREDICTIONS", "RESULT", "ROWS", "TASK", "Costs", "main"]

TASK, ROWS, FEATURES = "task.json", "rows.arrow", "features.arrow"
RESULT, PREDICTIONS, MODEL = "result.json", "predictions.arrow", "model"
WARM, SINGLES, BATCH_ROWS, BATCHES = 50, 1000, 20_000, 3
SINGLE_SECONDS = 4.0


@dataclass(frozen=True)
class Costs:
    """What a candidate costs on this machine.

    Parameters
    ----------
    training_seconds : float
        From labelled rows to a calibrated model.
    p50_seconds, p99_seconds : float
        Of one prediction, from a raw row to a calibrated probability: half, and 99 in 100, take no longer.
    rows_per_second : float
        In a batch.
    artifact_bytes : int
        Model, encoder and calibration on disk.
    peak_bytes : int
        Most memory that the process held while it trained.
    """

    training_seconds: float
    p50_seconds: float
    p99_seconds: float
    rows_per_second: float
    artifact_bytes: int
    peak_bytes: int


def main(folder: str) -> None:
    """Train and time the candidate that a folder describes; an error that tenure knows becomes one line of JSON.

    Parameters
    ----------
    folder : str
        What `tenure.advise.process` prepared.
    """
    try:
        _run(Path(folder))
    except TenureError as error:
        _say({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        sys.exit(error.exit_code)


def _run(folder: Path) -> None:
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    settings = settings_from(task["settings"], source="the candidate's settings")
    frame, split = _read_frame(folder), _split(task["split"])
    began = time.perf_counter()
    trained = train(frame, split, settings.model, threads=task["threads"], progress=_tell)
    seconds = time.perf_counter() - began
    peak = _peak_bytes()
    test = frame.take(split.blocks(frame).test).features
    parts = Parts(trained.family, FeatureSet(), trained.encoder, trained.model, trained.calibration)
    _write_predictions(folder, trained, test)
    p50, p99 = _single_seconds(parts, test)
    costs = Costs(seconds, p50, p99, _rows_per_second(parts, test), _stored_bytes(folder / MODEL, trained), peak)
    found = {
        "costs": vars(costs),
        "explanation": find_family(trained.family).explanation,
        "calibration": trained.calibration.method,
        "choice": {key: float(number) for key, number in trained.choice.items()},
        "notes": trained.notes,
    }
    (folder / RESULT).write_text(json.dumps(found), encoding="utf-8")


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _tell(stage: str, done: float) -> None:
    _say({"stage": stage, "done": done})


def _read_frame(folder: Path) -> Frame:
    rows = feather.read_table(folder / ROWS)
    return Frame.of(
        rows["customer_id"].combine_chunks(),
        rows["label"].to_numpy(),
        feather.read_table(folder / FEATURES),
        rows["cutoff"].to_numpy(),
    )


def _split(document: dict[str, Any]) -> Split:
    train_, calibrate, test = (tuple(map(parse_instant, document[name])) for name in ("train", "calibrate", "test"))
    boundary = parse_instant(document["boundary"]) if document["boundary"] else None
    return Split(train_, calibrate, test, how=document["how"], boundary=boundary, seed=document["seed"])


def _peak_bytes() -> int:
    """Most memory this process held, in bytes.

    Linux tells it by process; what `getrusage` says there begins with what the starting process held. macOS has
    only the latter, in bytes. Windows tells neither without another library.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return 0 if sys.platform == "win32" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _write_predictions(folder: Path, trained: Trained, test: pa.Table) -> None:
    """Probabilities as they would be served, and what the model alone says before anything is put right."""
    matrix = trained.encoder.transform(test)
    own = sigmoid(trained.model.predict_margin(matrix))
    feather.write_feather(pa.table({"probability": trained.predict(test), "uncorrected": own}), folder / PREDICTIONS)


def _single_seconds(parts: Parts, test: pa.Table) -> tuple[float, float]:
    rows = test.slice(0, WARM + SINGLES).to_pylist()
    took: list[float] = []
    for row in itertools.islice(itertools.cycle(rows), WARM + SINGLES):
        began = time.perf_counter()
        parts.predict_row(row)
        took.append(time.perf_counter() - began)
        if sum(took) > SINGLE_SECONDS and len(took) > 2 * WARM:
            break
    p50, p99 = np.quantile(took[WARM:], (0.5, 0.99))
    return float(p50), float(p99)


def _rows_per_second(parts: Parts, test: pa.Table) -> float:
    batch = test.take(np.arange(max(BATCH_ROWS, test.num_rows)) % test.num_rows)
    took = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        parts.predict(batch)
        took.append(time.perf_counter() - began)
    return float(batch.num_rows / min(took))


def _stored_bytes(folder: Path, trained: Trained) -> int:
    folder.mkdir()
    trained.model.save(folder)
    documents = (trained.encoder.to_json(), trained.calibration.to_json())
    files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return files + sum(len(canonical(document)) for document in documents)
