"""Scores over HTTP, beside an endpoint that does nothing, MLflow and BentoML.

At scale 1: 20,000 customers of a simulated subscription service, a model of XGBoost, and one worker process for each
side, all of them up at the same time and loaded in turn by 16 connections that ask again when they have an answer:

* `no-op`: an endpoint of FastAPI that does nothing, on the same uvicorn with the same loop and parser;
* `no-op of a body`: the same, which is sent the features of a live score and parses them;
* `look-up`: a precomputed score of a customer at random, with key, decision and profit;
* `live, features in the body`: features of a customer at random are sent, checked, encoded, scored and decided on;
* `live, fresh features`: the customer's state is read from the online store (SQLite) and finished, then as before;
* `MLflow`, `BentoML`: the same booster with the same encoded rows. They answer with the bare margin or probability: no
  key, no encoding, no calibration, no decision, and MLflow's answer is what `mlflow models serve` gives.

Then requests arrive at random, 200 a second whatever the service does (open loop): 95 % look-ups and 5 % live scores,
once without and once with explanations.

MLflow and BentoML are no requirements of tenure; without them the rest is measured:

    python -m venv mlflow && mlflow/bin/pip install mlflow xgboost
    python -m venv bentoml && bentoml/bin/pip install bentoml xgboost
    python -m bench.serve --mlflow-python mlflow/bin/python --bentoml-python bentoml/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench import _serving as serving
from bench._serving import Seen, Served

ASKED = 4_000
OTHERS = Path(__file__).with_name("_others.py")


def sides(project: Served) -> dict[str, list[bytes]]:
    """The requests of tenure's own sides."""
    token, chosen = project.token, np.random.default_rng(0).permutation(len(project.rows))[:ASKED].tolist()
    names = [project.customers[place] for place in chosen]
    return {
        "look-up": [serving.get(f"/v1/score/{name}", token) for name in names],
        "live, features in the body": [
            serving.post("/v1/score", {"features": project.rows[place]}, token) for place in chosen
        ],
        "live, fresh features": [serving.get(f"/v1/score/{name}?mode=realtime", token) for name in names],
    }


def other(tool: str, python: str, project: Served, folder: Path, port: int) -> tuple[list[str], list[bytes]]:
    """The command of another tool's server with the same model, and requests for it."""
    parts = project.version.parts
    columns = [column.name for column in parts.encoder.columns]
    model = folder / "model.ubj"
    parts.model.save(folder)
    subprocess.run([python, str(OTHERS), tool, str(model), json.dumps(columns), str(folder)], check=True)
    matrix = np.stack([parts.encoder.encode_row(row) for row in project.rows[:500]])
    rows = np.nan_to_num(matrix).tolist()  # JSON knows no missing number, and MLflow makes objects of null
    bin_folder = Path(python).parent
    if tool == "mlflow":
        command = [str(bin_folder / "mlflow"), "models", "serve", "-m", str(folder / "model"), "--env-manager", "local",
                   "-p", str(port), "--workers", "1"]  # fmt: skip
        return command, [
            serving.post("/invocations", {"dataframe_split": {"columns": columns, "data": [row]}}) for row in rows
        ]
    command = [str(bin_folder / "bentoml"), "serve", "service:Churn", "--working-dir", str(folder), "-p", str(port)]
    return command, [serving.post("/predict", {"rows": [row]}) for row in rows]


def in_turn(ports: Mapping[str, int], payloads: Mapping[str, Sequence[bytes]], rounds: int, seconds: float) -> Any:
    """What each side gave in each round; the first round warms up and is dropped."""
    found: dict[str, list[Seen]] = {name: [] for name in ports}
    for number in range(rounds + 1):
        for name, port in ports.items():
            seen = serving.loaded(("127.0.0.1", port), payloads[name], seconds=seconds, seed=number)
            if seen.errors:
                raise SystemExit(f"{name}: {seen.errors} errors, answers by status: {dict(seen.statuses)}")
            found[name].append(seen)
    return {name: several[1:] for name, several in found.items()}


def show(found: Mapping[str, list[Seen]]) -> None:
    def middle(name: str, pick: Callable[[Seen], float]) -> float:
        return float(np.median([pick(seen) for seen in found[name]]))

    def rate(name: str) -> float:
        return middle(name, lambda seen: seen.rate)

    def p(name: str, percent: float) -> float:
        return middle(name, lambda seen: seen.p(percent))

    print(f"{'':<28}{'a second':>10}{'of no-op':>10}{'p50 ms':>8}{'p99 ms':>8}")
    for name in found:
        print(
            f"{name:<28}{rate(name):>10,.0f}{rate(name) / rate('no-op'):>10.2f}{p(name, 50):>8.2f}{p(name, 99):>8.2f}"
        )
    live = "live, features in the body"
    for name in ("MLflow", "BentoML"):
        if name in found:
            more, later = rate(live) / rate(name), p(live, 99) / p(name, 99)
            print(f"A live score beside {name}: {more:.1f} times its throughput at {later:.2f} of its p99")


def steady(project: Served, port: int, seconds: float) -> None:
    """A mix of look-ups and live scores at a rate that does not depend on the answers."""
    rng = np.random.default_rng(1)
    for explained in (False, True):
        wish = "&explain=true" if explained else ""
        modes = np.where(rng.random(ASKED) < 0.05, "realtime", "auto")
        names = rng.choice(project.customers, ASKED)
        asked = [f"/v1/score/{name}?mode={mode}{wish}" for name, mode in zip(names, modes, strict=True)]
        requests = [serving.get(path, project.token) for path in asked]
        serving.loaded(("127.0.0.1", port), requests[:500], seconds=3, rate=100, seed=1)
        seen = serving.loaded(("127.0.0.1", port), requests, seconds=seconds, rate=200, seed=2)
        what = "every answer explained" if explained else "no explanations"
        latencies = ", ".join(f"p{percent} {seen.p(percent):.2f} ms" for percent in (50, 95, 99))
        print(f"200 a second, {what}: {latencies}, {seen.errors} errors of {len(seen.seconds):,}")


def measure(folder: Path, scale: float, rounds: int, seconds: float, pythons: Mapping[str, str]) -> None:
    project = serving.served_project(folder / "project", max(int(20_000 * scale), 1_000))
    idle = serving.free_port()
    bodies = [serving.post("/noop", {"features": row}) for row in project.rows[:ASKED]]
    payloads = {"no-op": [serving.get("/noop")], "no-op of a body": bodies, **sides(project)}
    own = serving.free_port()
    ports = {name: idle if name.startswith("no-op") else own for name in payloads}
    uvicorn = [sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    noop = [*uvicorn, "--log-level", "warning", "--port", str(idle), "bench._noop:app"]
    with ExitStack() as stack:
        root = str(Path(__file__).resolve().parent.parent)
        stack.enter_context(serving.server(noop, idle, folder / "noop.log", PYTHONPATH=root))
        stack.enter_context(serving.server(serving.tenure_serve(project, own), own, folder / "tenure.log"))
        serving.await_ready(own)
        for name, tool in (("MLflow", "mlflow"), ("BentoML", "bentoml")):
            if python := pythons.get(tool):
                ports[name] = serving.free_port()
                path = os.pathsep.join(
                    [str(Path(python).parent), os.environ["PATH"]]
                )  # its server starts others by name
                command, payloads[name] = other(tool, python, project, serving.fresh(folder / tool), ports[name])
                stack.enter_context(serving.server(command, ports[name], folder / f"{tool}.log", PATH=path))
        show(in_turn(ports, payloads, rounds, seconds))
        steady(project, own, seconds * 5)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores over HTTP, beside a no-op, MLflow and BentoML.")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 20,000 customers, 5 rounds of 5 seconds")
    parser.add_argument("--mlflow-python", default="", help="an interpreter that has MLflow and XGBoost")
    parser.add_argument("--bentoml-python", default="", help="an interpreter that has BentoML and XGBoost")
    parser.add_argument("--folder", type=Path, help="where the project is kept; default: a temporary folder")
    given = parser.parse_args()
    pythons = {"mlflow": given.mlflow_python, "bentoml": given.bentoml_python}
    for tool, python in pythons.items():
        if not python:
            print(f"{tool} is not measured: name an interpreter that has it with --{tool}-python.")
    rounds, seconds = (5, 5.0) if given.scale >= 0.5 else (3, 2.0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure(folder.resolve(), given.scale, rounds, seconds, pythons)


if __name__ == "__main__":
    main()
