"""A candidate in a process of its own: what it gives, and that nothing it does ends the comparison."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tenure.advise import process
from tenure.advise.candidate import Candidate, candidate_settings
from tenure.advise.compare import compare
from tenure.advise.process import Failure, Trial, Workshop
from tenure.advise.quality import Stakes
from tenure.advise.trial import _read_frame, _split
from tenure.core.errors import InputError, StateError
from tenure.core.settings import ModelSettings, ValueSettings
from tenure.model.frame import Frame
from tenure.model.protocol import sigmoid
from tenure.model.split import How, Split, split_table
from tenure.model.train import train

MODEL = ModelSettings(family="logistic", fallback=None)


def frame(rows: int = 600) -> Frame:
    """Customers with a number, a text and gaps."""
    random = np.random.default_rng(0)
    visits = random.poisson(8, rows).astype(np.float64)
    left = random.random(rows) < sigmoid(np.asarray(2.0 - 0.5 * visits, dtype=np.float64))
    columns = {
        "visits": pa.array(np.where(random.random(rows) < 0.1, np.nan, visits), from_pandas=True),
        "plan": random.choice(["basic", "pro"], rows),
    }
    return Frame.of(np.arange(rows), left, pa.table(columns))


def stakes_of(rows: Frame, split: Split) -> Stakes:
    test = rows.take(split.blocks(rows).test)
    return Stakes(test.customer_id, test.cutoff, test.label, np.full(test.rows, 600.0), ValueSettings())


def test_what_training_notes_comes_back(tmp_path: Path) -> None:
    rows = frame(300)
    model = ModelSettings(family="auto", members=("logistic", "forest"), fallback=None)
    trial = Workshop.open(tmp_path, rows, split_table(rows), threads=1).run(Candidate("auto"), model)
    assert isinstance(trial, Trial)
    assert [note.partition(" families ")[0] for note in trial.notes] == ["Of 2"]


def test_a_trial_is_what_training_here_would_give(tmp_path: Path) -> None:
    rows = frame()
    split = split_table(rows, seed=3)
    told: list[tuple[str, float]] = []
    model = candidate_settings(Candidate("logistic", "weights"), MODEL)
    workshop = Workshop.open(tmp_path, rows, split, threads=1)
    trial = workshop.run(Candidate("logistic", "weights"), model, lambda *what: told.append(what))
    assert isinstance(trial, Trial)

    trained = train(rows, split, model, threads=1)
    test = rows.take(split.blocks(rows).test).features
    own = trained.model.predict_proba(trained.encoder.transform(test))
    assert (trial.probability == trained.predict(test)).all()
    assert trial.uncorrected == pytest.approx(own, abs=1e-12)
    assert trial.uncorrected.mean() > trial.probability.mean() + 0.1
    assert trial.choice == dict(trained.choice)
    assert trial.explanation == "exact Shapley values (coefficients)"

    costs = trial.costs
    assert 0 < costs.p50_seconds <= costs.p99_seconds
    assert min(costs.training_seconds, costs.rows_per_second) > 0
    assert 500 < costs.artifact_bytes < 100_000
    assert 50e6 < costs.peak_bytes < 4e9
    assert told[-1] == ("compare logistic + weights", 1.0)
    assert [done for _, done in told] == sorted(done for _, done in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.arrow", "rows.arrow"]


@pytest.mark.parametrize("how", ["cutoffs", "row times", "stratified"])
def test_the_process_sees_the_same_blocks(tmp_path: Path, how: How) -> None:
    times = np.repeat(np.array(["2026-01-01", "2026-02-01", "2026-03-01T12:30:00.000001"], "datetime64[us]"), 20)
    rows = Frame.of(np.arange(60) // 2, np.arange(60) % 3 == 0, pa.table({"x": np.arange(60.0)}), times)
    january, february, march = (time.replace(tzinfo=UTC) for time in np.unique(times).tolist())
    splits = {
        "cutoffs": Split((january,), (february,), (march,)),
        "row times": Split(how="row times", boundary=march),
        "stratified": Split(how="stratified", seed=5),
    }
    workshop = Workshop.open(tmp_path, rows, splits[how])
    restored = _split(json.loads(json.dumps(workshop._task(MODEL)))["split"])
    own, other = splits[how].blocks(rows), restored.blocks(_read_frame(tmp_path))
    for block in ("train", "calibrate", "test"):
        assert (getattr(own, block) == getattr(other, block)).all()
    assert own.test.any()


def test_memory_is_that_of_the_process_and_not_of_the_one_that_started_it(tmp_path: Path) -> None:
    held = np.ones(200_000_000, dtype=np.uint8)
    rows = frame(200)
    trial = Workshop.open(tmp_path, rows, split_table(rows), threads=1).run(Candidate("logistic"), MODEL)
    assert held.sum() == 200_000_000
    assert isinstance(trial, Trial)
    small = trial.costs.peak_bytes
    del held
    again = Workshop(tmp_path, split_table(rows), threads=1).run(Candidate("logistic"), MODEL)
    assert isinstance(again, Trial)
    assert abs(small - again.costs.peak_bytes) < 100_000_000


def test_what_cannot_be_trained_is_told_and_does_not_end_the_rest(tmp_path: Path) -> None:
    rows = frame()
    split = split_table(rows)
    found = compare(rows, split, stakes_of(rows, split), [Candidate("logistic"), Candidate("logistik")], MODEL,
                    threads=1, folder=tmp_path)  # fmt: skip
    assert [entry.name for entry in found.entries] == ["logistic"]
    (failure,) = found.failed
    assert failure.name == "logistik"
    assert "Did you mean 'logistic'?" in failure.reason
    assert list(tmp_path.iterdir()) == []


def test_a_champion_that_cannot_be_trained_is_an_error() -> None:
    rows = frame()
    split = split_table(rows)
    with pytest.raises(InputError, match="The champion logistik could not be trained"):
        compare(rows, split, stakes_of(rows, split), [Candidate("logistik")], MODEL, threads=1)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; that is how the system ends"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("raise ZeroDivisionError('by noise')", "ZeroDivisionError: by noise"),
        ("print('a library says hello'); print('[1, 2]'); raise SystemExit(4)", "ended with code 4"),
    ],
)
def test_a_process_that_dies_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    rows = frame(100)
    monkeypatch.setattr(process, "_PROGRAM", program)
    found = Workshop.open(tmp_path, rows, split_table(rows)).run(Candidate("logistic"), MODEL)
    assert isinstance(found, Failure)
    assert says in found.reason


def test_a_file_system_without_hard_links_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    rows = frame(200)
    monkeypatch.setattr("os.link", refuses)
    trial = Workshop.open(tmp_path, rows, split_table(rows), threads=1).run(Candidate("logistic"), MODEL)
    assert isinstance(trial, Trial)
    assert len(trial.probability) == 40


def test_a_process_that_cannot_be_started_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = frame(100)
    workshop = Workshop.open(tmp_path, rows, split_table(rows))
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with pytest.raises(StateError, match="No process could be started to train logistic"):
        workshop.run(Candidate("logistic"), MODEL)
