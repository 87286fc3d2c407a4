"""A simulated service: reproducible, truthful, learnable, and faulty exactly as asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tenure.core.config import load_settings
from tenure.core.errors import InputError
from tenure.source.simulate import PERIOD, SimulationSpec, SimulationSummary, simulate
from tenure.source.simulation.hazard import PLANS, Law, Observed
from tenure.source.simulation.service import equilibrium

START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = ["login", "session", "payment", "payment_failed", "ticket", "plan_change", "cancel"]


@dataclass(frozen=True)
class Service:
    """A finished simulation, read back with SQL."""

    spec: SimulationSpec
    out: Path
    summary: SimulationSummary

    @staticmethod
    def make(out: Path, **spec: Any) -> Service:
        asked = SimulationSpec(**spec)
        return Service(asked, out, simulate(asked, out))

    @cached_property
    def sql(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"threads": 2})
        connection.execute("SET TimeZone = 'UTC'")
        for table, files, time in (
            ("event", "events/*", "time"),
            ("truth", "truth", "cutoff"),
            ("customer", "customers", "signup_at"),
        ):
            # Unreadable times become null, and all lose the zone, which is UTC throughout.
            plain = f"* REPLACE (try_cast({time} AS TIMESTAMPTZ)::TIMESTAMP AS {time})"
            connection.execute(f"CREATE VIEW {table} AS SELECT {plain} FROM read_parquet('{self.out}/{files}.parquet')")
        return connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.sql.execute(query).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def frame(self, query: str) -> pd.DataFrame:
        frame: pd.DataFrame = self.sql.sql(query).to_arrow_table().to_pandas()
        return frame

    @cached_property
    def observed(self) -> pd.DataFrame:
        """The truth with what the log shows of each customer at the cutoff, counted afresh."""
        counts = ", ".join(
            f"count(*) FILTER (e.type = '{kind}' AND e.time >= cutoff - INTERVAL {days} DAY) AS {kind}_{days}"
            for kind in KINDS
            for days in (30, 90)
        )
        query = f"""
            SELECT t.customer_id, t.cutoff, t.hazard, t.at_risk, t.churned, c.plan, {counts},
                coalesce(sum(e.minutes) FILTER (e.time >= cutoff - INTERVAL 30 DAY), 0) AS minutes_30,
                epoch_us(t.cutoff) - epoch_us(c.signup_at) AS tenure,
                epoch_us(t.cutoff) - max(epoch_us(e.time)) FILTER (e.type = 'login') AS absence
            FROM truth AS t
            JOIN customer AS c USING (customer_id)
            LEFT JOIN event AS e ON e.customer_id = t.customer_id AND e.time < t.cutoff
            GROUP BY t.customer_id, t.cutoff, t.hazard, t.at_risk, t.churned, c.plan, c.signup_at
            ORDER BY t.cutoff, t.customer_id
            """
        return self.frame(query)

    def hazard(self, law: Law) -> np.ndarray:
        """What the law gives for what the log shows."""
        seen, day = self.observed, 86_400e6
        return law.hazard(
            Observed(
                logins_30d=seen["login_30"].to_numpy(),
                logins_90d=seen["login_90"].to_numpy(),
                days_since_login=(seen["absence"] / day).fillna(np.inf).to_numpy(dtype=np.float64),
                minutes_30d=seen["minutes_30"].to_numpy(),
                failures_30d=seen["payment_failed_30"].to_numpy(),
                tickets_30d=seen["ticket_30"].to_numpy(),
                changes_90d=seen["plan_change_90"].to_numpy(),
                plan=seen["plan"].map(PLANS.index).to_numpy(dtype=np.int64),
                tenure_days=seen["tenure"].to_numpy() / day,
            )
        )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A clean service of medium size."""
    return Service.make(tmp_path_factory.mktemp("service") / "out", customers=6_000, months=9, seed=1)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A small service with every kind of fault."""
    out = tmp_path_factory.mktemp("faulty") / "out"
    return Service.make(out, customers=600, months=6, seed=2, late=0.05, duplicates=0.03, corrupt=0.04)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> dict[str | None, Service]:
    """The same service without a shift, with a covariate shift and with a concept shift."""
    folder, common = tmp_path_factory.mktemp("shifted"), {"customers": 3_000, "months": 9, "seed": 3}
    at = START + 4.5 * PERIOD
    return {
        None: Service.make(folder / "none", **common),
        "covariate": Service.make(folder / "covariate", shift="covariate", shift_at=at, **common),
        "concept": Service.make(folder / "concept", shift="concept", shift_at=at, **common),
    }


def plain(instant: datetime | None) -> datetime:
    """An instant as the views show it."""
    assert instant is not None
    return instant.replace(tzinfo=None)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Reproducible


def test_the_same_specification_gives_the_same_bytes_in_any_number_of_threads(tmp_path: Path) -> None:
    spec = SimulationSpec(customers=17_000, months=5, seed=7, late=0.01)
    simulate(spec, tmp_path / "one", threads=1)
    simulate(spec, tmp_path / "three", threads=3)
    one = digests(tmp_path / "one")
    assert one == digests(tmp_path / "three")
    assert len([name for name in one if name.startswith("events")]) == 3


def test_another_seed_gives_another_service(tmp_path: Path) -> None:
    for seed in (0, 1):
        simulate(SimulationSpec(customers=100, months=5, seed=seed), tmp_path / str(seed))
    one, other = digests(tmp_path / "0"), digests(tmp_path / "1")
    assert one["tenure.toml"] == other["tenure.toml"]
    assert one["truth.parquet"] != other["truth.parquet"]


def test_one_row_group_holds_one_period(service: Service) -> None:
    for part in sorted((service.out / "events").iterdir()):
        file = pq.ParquetFile(part)
        for group in range(service.spec.months):
            start = START + group * PERIOD
            times = file.read_row_group(group, columns=["time"]).column("time").to_pandas()
            assert start <= times.min() <= times.max() < start + PERIOD
        assert file.num_row_groups == service.spec.months + 1


# The truth is true


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.3])
def test_the_churn_rate_is_the_one_asked_for(rate: float, tmp_path: Path) -> None:
    summary = simulate(SimulationSpec(customers=5_000, months=8, churn_rate=rate, seed=11), tmp_path / "out")
    assert summary.expected_rate == pytest.approx(rate, abs=0.01)
    assert summary.churn_rate == pytest.approx(rate, abs=0.01)


def test_the_churn_rate_holds_at_every_cutoff(service: Service) -> None:
    rates = service.rows("SELECT avg(hazard) FROM truth WHERE at_risk GROUP BY cutoff")
    assert [rate for (rate,) in rates] == pytest.approx([0.15] * len(service.spec.cutoffs), abs=0.015)


def largest_z(hazard: np.ndarray, churned: np.ndarray) -> float:
    """How far, in standard deviations, the churned of any tenth of the rows lie from what the hazard expects."""
    groups = np.array_split(np.argsort(hazard), 10)
    expected = np.array([hazard[group].sum() for group in groups])
    spread = np.sqrt([(hazard[group] * (1 - hazard[group])).sum() for group in groups])
    return float(np.abs((np.array([churned[group].sum() for group in groups]) - expected) / spread).max())


def test_as_many_churn_as_the_hazard_says_in_every_tenth(service: Service) -> None:
    hazard, churned = service.observed["hazard"].to_numpy(), service.observed["churned"].to_numpy()
    # Ten standard normal figures exceed 4 once in 1,600 seeds; hazards off by a tenth go far beyond.
    assert largest_z(hazard, churned) < 4
    assert largest_z(hazard * 1.1, churned) > 4
    assert largest_z(np.full(len(hazard), churned.mean()), churned[np.argsort(hazard)]) > 4


def test_churned_means_a_cancellation_within_thirty_days(service: Service) -> None:
    wrong = """
        SELECT count(*) FROM truth AS t WHERE churned <> EXISTS (
            FROM event AS e WHERE e.customer_id = t.customer_id AND e.type = 'cancel'
            AND e.time >= t.cutoff AND e.time < t.cutoff + INTERVAL 30 DAY)
    """
    assert service.value(wrong) == 0
    assert service.value("SELECT count(*) FROM truth WHERE churned") > 1_000


def test_at_risk_is_whom_the_project_file_calls_active(service: Service) -> None:
    """Active within 60 days, and no cancellation at or after the last activity."""
    query = """
        SELECT cutoffs.cutoff, e.customer_id FROM (SELECT DISTINCT cutoff FROM truth) AS cutoffs, event AS e
        WHERE e.time < cutoffs.cutoff GROUP BY ALL
        HAVING max(e.time) FILTER (e.type IN ('login', 'session')) >= cutoffs.cutoff - INTERVAL 60 DAY
        AND coalesce(max(e.time) FILTER (e.type = 'cancel') < max(e.time) FILTER (e.type IN ('login', 'session')), true)
    """
    from_log = service.rows(f"SELECT * FROM ({query}) ORDER BY ALL")
    assert from_log == service.rows("SELECT cutoff, customer_id FROM truth WHERE at_risk ORDER BY ALL")


def test_the_hazard_is_a_function_of_what_the_log_shows(service: Service) -> None:
    law = equilibrium(service.spec.churn_rate, service.spec.return_rate).stable
    np.testing.assert_allclose(service.hazard(law), service.observed["hazard"], rtol=1e-9)


def test_a_model_that_reads_the_log_comes_close_to_the_truth(service: Service) -> None:
    rows = service.observed[service.observed["at_risk"]]
    columns = rows.filter(regex="_(30|90)$").astype(float)
    columns = columns.assign(
        trend=rows["login_30"] / rows["login_90"].clip(1),
        absence=rows["absence"].astype(float).fillna(90 * 86_400e6).clip(upper=90 * 86_400e6),
        tenure=rows["tenure"],
        **{plan: rows["plan"] == plan for plan in PLANS},
    )
    test = rows["cutoff"] == rows["cutoff"].max()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    risk = model.fit(columns[~test], rows["churned"][~test]).predict_proba(columns[test])[:, 1]
    churned, hazard = rows["churned"][test], rows["hazard"][test]
    assert 0.78 < roc_auc_score(churned, hazard) < 0.86
    assert roc_auc_score(churned, risk) > roc_auc_score(churned, hazard) - 0.01
    assert 0.9 < risk.sum() / churned.sum() < 1.1


def test_the_summary_agrees_with_the_files(service: Service) -> None:
    summary, risk = service.summary, service.observed[service.observed["at_risk"]]
    assert summary.rows == service.value("SELECT count(*) FROM event")
    assert summary.customers == service.value("SELECT count(DISTINCT customer_id) FROM customer")
    assert summary.customers == service.value("SELECT count(DISTINCT customer_id) FROM event")
    assert summary.truth == len(service.observed)
    assert (summary.at_risk, summary.churned) == (len(risk), risk["churned"].sum())
    assert summary.expected_rate == pytest.approx(risk["hazard"].mean())
    assert summary.hazard_auc == pytest.approx(roc_auc_score(risk["churned"], risk["hazard"]), abs=0.0005)
    cutoffs = service.rows("SELECT DISTINCT cutoff FROM truth ORDER BY cutoff")
    assert [plain(cutoff) for cutoff in summary.cutoffs] == [cutoff for (cutoff,) in cutoffs]


# The log is a possible one


def test_nobody_acts_before_signing_up(service: Service) -> None:
    query = "SELECT count(*) FROM event JOIN customer USING (customer_id) WHERE time < signup_at"
    assert service.value(query) == 0


def test_nothing_follows_a_cancellation_where_nobody_returns(tmp_path: Path) -> None:
    service = Service.make(tmp_path / "out", customers=500, months=10, return_rate=0.0)
    last = """
        SELECT count(*), count(*) FILTER (time = last) FROM event
        JOIN (SELECT customer_id, max(time) AS last FROM event GROUP BY ALL) USING (customer_id) WHERE type = 'cancel'
    """
    assert service.rows(last) == [(service.summary.events["cancel"],) * 2]
    assert service.summary.returned == 0


def test_who_returns_logs_in_first_and_has_been_away_for_long(tmp_path: Path) -> None:
    service = Service.make(tmp_path / "out", customers=500, months=12, return_rate=0.25)
    comebacks = service.rows("""
        SELECT next_type, next_time - time FROM (
            SELECT type, time, lead(type) OVER life AS next_type, lead(time) OVER life AS next_time
            FROM event WINDOW life AS (PARTITION BY customer_id ORDER BY time))
        WHERE type = 'cancel' AND next_time IS NOT NULL
    """)
    assert len(comebacks) == service.summary.returned > 50
    assert {kind for kind, _ in comebacks} == {"login"}
    assert min(away for _, away in comebacks) > timedelta(days=60)


def test_the_log_reaches_its_end_so_that_the_last_labels_mature(service: Service) -> None:
    assert service.value("SELECT max(time) FROM event") == plain(service.spec.end)
    assert service.summary.cutoffs[-1] + PERIOD == service.spec.end


def test_the_project_file_is_understood(faulty: Service) -> None:
    settings = load_settings(faulty.out / "tenure.toml", environ={})
    assert settings.churn is not None
    assert (*settings.churn.train, *settings.churn.test) == faulty.spec.cutoffs
    assert settings.churn.horizon == PERIOD
    assert list(settings.events) == KINDS
    assert settings.contract.max_rejects > faulty.spec.corrupt


# Faults


def test_every_planted_fault_is_counted(faulty: Service) -> None:
    summary = faulty.summary
    found = faulty.rows("""
        SELECT count(*) FILTER (customer_id IS NULL),
            count(*) FILTER (time IS NULL),
            count(*) FILTER (try_cast(coalesce(minutes, amount, '0') AS DOUBLE) IS NULL),
            count(*) FILTER (time > '2200-01-01')
        FROM event
    """)
    assert dict(zip(summary.corrupt, found[0], strict=True)) == summary.corrupt
    assert faulty.value("SELECT count(*) - count(DISTINCT id) FROM event") == summary.duplicates
    late = "SELECT count(DISTINCT id) FROM event WHERE recorded IS NOT NULL"
    assert faulty.value(late) == summary.late
    assert faulty.value(f"{late} AND recorded::TIMESTAMP < time + INTERVAL 1 HOUR") == 0
    assert faulty.value(f"{late} AND type = 'cancel'") == 0
    assert summary.rows == faulty.value("SELECT count(*) FROM event")


@pytest.mark.parametrize("fault", ["late", "duplicates", "corrupt"])
def test_faults_are_as_frequent_as_asked(faulty: Service, fault: str) -> None:
    counted = getattr(faulty.summary, fault)
    total = sum(counted.values()) if fault == "corrupt" else counted
    clean = sum(faulty.summary.events.values())
    assert total / clean == pytest.approx(getattr(faulty.spec, fault), rel=0.05)


def test_corrupt_rows_are_spread_over_the_reasons(faulty: Service) -> None:
    counts = np.array(list(faulty.summary.corrupt.values()))
    assert counts / counts.sum() == pytest.approx(np.full(len(counts), 0.25), abs=0.03)


def test_without_its_faults_a_log_is_the_clean_one(faulty: Service, tmp_path: Path) -> None:
    clean = Service.make(tmp_path / "clean", customers=600, months=6, seed=2)
    columns = "customer_id, time, type, channel, plan, {}(minutes AS DOUBLE) AS minutes, {}(amount AS DOUBLE) AS amount"
    kept = f"""
        SELECT DISTINCT {columns.format("try_cast", "try_cast")}, id FROM event
        WHERE customer_id IS NOT NULL AND time < '2200-01-01'
        AND try_cast(coalesce(minutes, amount, '0') AS DOUBLE) IS NOT NULL
    """
    sound = faulty.rows(f"SELECT * EXCLUDE (id) FROM ({kept}) ORDER BY ALL")
    assert sound == clean.rows(f"SELECT {columns.format('cast', 'cast')} FROM event ORDER BY ALL")
    assert digests(clean.out)["truth.parquet"] == digests(faulty.out)["truth.parquet"]
    assert faulty.summary.events == clean.summary.events


# Shifts


def stability(before: pd.Series, after: pd.Series) -> float:
    """Population stability index over the tenths of `before`."""
    edges = np.unique(before.quantile(np.linspace(0.1, 0.9, 9)))
    shares = [
        np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1) / len(column) + 1e-6
        for column in (before, after)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def laws(service: Service) -> tuple[Law, Law]:
    settled = equilibrium(service.spec.churn_rate, service.spec.return_rate)
    return settled.stable, settled.changed


def test_nothing_differs_before_the_shift(shifted: dict[str | None, Service]) -> None:
    cutoff = START + 5 * PERIOD
    before = f"SELECT * EXCLUDE (recorded) FROM event WHERE time < '{plain(cutoff)}' ORDER BY ALL"
    logs = [service.rows(before) for service in shifted.values()]
    assert logs[0] == logs[1] == logs[2]
    assert [service.summary.shift_cutoff for service in shifted.values()] == [None, cutoff, cutoff]


def test_a_covariate_shift_moves_what_customers_do_and_not_the_law(shifted: dict[str | None, Service]) -> None:
    service = shifted["covariate"]
    seen, cutoff = service.observed, plain(service.summary.shift_cutoff)
    np.testing.assert_allclose(service.hazard(laws(service)[0]), seen["hazard"], rtol=1e-9)
    before, after = seen[seen["cutoff"] <= cutoff], seen[seen["cutoff"] > cutoff + PERIOD]
    assert stability(before["login_30"], after["login_30"]) > 0.2
    unshifted = shifted[None].observed
    calm = [unshifted[unshifted["cutoff"] <= cutoff], unshifted[unshifted["cutoff"] > cutoff + PERIOD]]
    assert stability(calm[0]["login_30"], calm[1]["login_30"]) < 0.02


def test_a_concept_shift_moves_the_law_and_not_what_customers_do(shifted: dict[str | None, Service]) -> None:
    service = shifted["concept"]
    seen, cutoff = service.observed, plain(service.summary.shift_cutoff)
    stable, changed = (service.hazard(law) for law in laws(service))
    now = (seen["cutoff"] >= cutoff).to_numpy()
    np.testing.assert_allclose(seen["hazard"], np.where(now, changed, stable), rtol=1e-9)
    # The columns stay put for as long as the survivors under the new law resemble those under the old one.
    for column in ("login_30", "minutes_30", "payment_failed_30", "ticket_30", "tenure"):
        assert stability(seen[column][~now], seen[column][now]) < 0.1
    churned = seen["churned"]
    assert roc_auc_score(churned[now], stable[now]) < roc_auc_score(churned[~now], stable[~now]) - 0.08
    assert seen["hazard"][seen["cutoff"] == cutoff].mean() == pytest.approx(0.15, abs=0.015)


# What is refused


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"customers": 99}, "customers = 99 is outside 100 to 100000000"),
        ({"customers": 1e4}, "customers = 10000.0 is outside"),
        ({"months": 4}, "months = 4 is outside 5 to 600"),
        ({"seed": -1}, "seed = -1 is outside"),
        ({"churn_rate": 0.6}, "churn_rate = 0.6 is outside 0.005 to 0.5"),
        ({"churn_rate": float("nan")}, "churn_rate = nan is outside"),
        ({"late": 0.7}, "late = 0.7 is outside 0 to 0.5"),
        ({"duplicates": -0.1}, "duplicates = -0.1 is outside"),
        ({"corrupt": "much"}, "corrupt = 'much' is outside"),
        ({"return_rate": 0.5}, "return_rate = 0.5 is outside 0 to 0.25"),
        ({"start": datetime(2024, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - which is the point
        ({"start": datetime(2024, 1, 1, 6, tzinfo=UTC)}, "is not a midnight in UTC"),
        ({"start": datetime(1970, 1, 1, tzinfo=UTC)}, "from 1980 to 2100"),
        ({"shift": "sudden"}, "shift = 'sudden' is unknown"),
        ({"shift_at": START + PERIOD}, "shift_at is given and shift is not"),
        ({"shift": "concept", "shift_at": START}, "would leave no period before"),
        ({"shift": "concept", "shift_at": START + 12 * PERIOD}, "would leave no period before or none after"),
    ],
)
def test_a_bad_specification_is_refused(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as caught:
        SimulationSpec(**bad)
    assert caught.value.hint


def small() -> SimulationSpec:
    return SimulationSpec(customers=100, months=5)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not empty"):
        simulate(small(), tmp_path)
    with pytest.raises(InputError, match="is not an earlier simulation"):
        simulate(small(), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_an_earlier_simulation_can_be_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    simulate(small(), out)
    first = digests(out)
    (out / ".tenure").mkdir()
    with pytest.raises(InputError, match="not empty"):
        simulate(small(), out)
    simulate(SimulationSpec(customers=100, months=5, seed=1), out, overwrite=True)
    assert digests(out).keys() == first.keys()
    assert digests(out) != first
    assert not (out / ".tenure").exists()


def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(stage: str, done: float) -> None:
        raise KeyboardInterrupt(f"{stage} at {done}")

    with pytest.raises(KeyboardInterrupt, match=r"simulate at 0\.2"):
        simulate(SimulationSpec(customers=40_000, months=5), tmp_path / "out", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written to .*file/out"):
        simulate(small(), tmp_path / "file" / "out")


def test_progress_runs_from_the_first_block_to_the_last(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    simulate(SimulationSpec(customers=8_300, months=5), tmp_path / "out", lambda *report: told.append(report))
    assert told == [("simulate", 0.5), ("simulate", 1.0)]
