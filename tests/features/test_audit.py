"""What the audit sees in the rows alone: planted disguises of the label are found, honest columns are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenure.core.errors import AuditError
from tenure.features.audit import AuditReport, Finding, audit_blocks, audit_columns, require_clean
from tests.features.worlds import data

Flags = NDArray[np.bool_]
Plant = Callable[[Flags, np.random.Generator], object]
TABLES = {"telco.csv": ("churn", "Yes", ["rownames"]), "iranian.csv": ("Churn", "1", [])}


def table(name: str) -> tuple[pa.Table, Flags]:
    """Return the columns and labels of a plain table."""
    label, positive, ignored = TABLES[name]
    rows = pyarrow.csv.read_csv(data(name))
    churned = pc.equal(pc.cast(rows[label], pa.string()), positive).to_numpy()
    return rows.drop_columns([label, *ignored]), np.asarray(churned, dtype=np.bool_)


def honest(random: np.random.Generator, rows: int = 2_000, rate: float = 0.15) -> tuple[pa.Table, Flags]:
    """Return columns that know no more than a good feature does: the best has an AUC of .84, as on real data."""
    label = random.random(rows) < rate
    recency = random.gamma(2.0, 5.0 + 10.0 * label)
    return pa.table(
        {"recency": recency, "visits": random.poisson(6.0 - 3.0 * label), "age": random.normal(40.0, 9.0, rows)}
    ), label


def flipped(label: Flags, random: np.random.Generator, share: float) -> Flags:
    return np.logical_xor(label, random.random(len(label)) < share)


DISGUISES: dict[str, Plant] = {
    "balance": lambda label, random: label * 2.0 + random.normal(0, 0.3, len(label)),
    "segment": lambda label, _: np.where(label, "Q", "B"),
    "points": lambda label, _: [None if left else 3.0 for left in label],
    "handset": lambda label, random: np.where(label, 5.0, random.choice([1.0, 2.0, 8.0, 9.0], len(label))),
    "flag with 2 % flips": lambda label, random: flipped(label, random, 0.02),
    "flag with 5 % flips": lambda label, random: flipped(label, random, 0.05),
    "text with 5 % flips": lambda label, random: np.where(flipped(label, random, 0.05), "red", "green"),
    "gaps with 5 % flips": lambda label, random: [None if gap else 3.0 for gap in flipped(label, random, 0.05)],
    "a tenth's remark": lambda label, random: [
        "other" if left and chance < 0.1 else None
        for left, chance in zip(label, random.random(len(label)), strict=True)
    ],
    "a fifth's grade": lambda label, random: np.where(
        label & (random.random(len(label)) < 0.2), 99.0, random.integers(1, 7, len(label)).astype(float)
    ),
}
AFTERWARDS: dict[str, Plant] = {
    "Churn Reason": lambda label, random: [
        ("price", "service", "moved")[int(4 * chance)] if left and chance < 0.6 else None
        for left, chance in zip(label, random.random(len(label)), strict=True)
    ],
    "churnScore": lambda label, random: 50 + 15 * random.normal(size=len(label)) + 25 * label,
    "Cancellation date": lambda label, random: [
        f"2020-0{1 + int(3 * chance)}-1{int(9 * chance)}" if left else None
        for left, chance in zip(label, random.random(len(label)), strict=True)
    ],
    "exit survey score": lambda label, random: np.where(
        label & (random.random(len(label)) < 0.3), random.integers(1, 11, len(label)).astype(float), np.nan
    ),
    "closed_at": lambda label, random: np.where(label & (random.random(len(label)) < 0.7), 1.6e9, np.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", [*DISGUISES, *AFTERWARDS])
@pytest.mark.parametrize("source", [*TABLES, "made up"])
def test_a_planted_leak_is_found_and_nothing_else(name: str, source: str) -> None:
    random = np.random.default_rng(7)
    columns, label = honest(random) if source == "made up" else table(source)
    values = (DISGUISES | AFTERWARDS)[name](label, random)
    planted = columns.append_column(name, pa.array(values, from_pandas=True))
    (finding,) = audit_columns(planted, label)
    assert (finding.feature, finding.severity) == (name, "leak")
    assert finding.advice


@pytest.mark.parametrize("source", list(TABLES))
def test_real_tables_raise_nothing(source: str) -> None:
    columns, label = table(source)
    assert audit_columns(columns, label) == ()


@pytest.mark.parametrize("name", ["contract_days_left", "closest_store", "leave_days", "visit_reason", "ticket_closed"])
def test_a_good_column_with_a_suspicious_word_is_let_pass(name: str) -> None:
    columns, label = honest(np.random.default_rng(1))
    assert audit_columns(columns.rename_columns([name, "visits", "age"]), label) == ()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([60, 200, 1_000]), st.sampled_from([0.05, 0.2, 0.45]))
def test_honest_columns_raise_nothing_however_few_rows(seed: int, rows: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    columns, label = honest(random, rows, rate)
    assert not [finding for finding in audit_columns(columns, label) if finding.severity == "leak"]


def test_a_cell_of_certain_stayers_is_no_leak() -> None:
    random = np.random.default_rng(0)
    label = random.random(5_000) < 0.45
    daily = np.where(~label & (random.random(5_000) < 0.4), 30.0, random.integers(0, 20, 5_000).astype(float))
    assert audit_columns(pa.table({"active_days": daily}), label) == ()


def test_few_churners_make_a_note() -> None:
    label = np.arange(60) >= 54
    (finding,) = audit_columns(pa.table({"disguise": label * 1.0}), label)
    assert finding.severity == "note"
    assert "6 against 54" in finding.evidence


def test_one_class_shows_nothing() -> None:
    columns = pa.table({"disguise": np.arange(50)})
    assert audit_columns(columns, np.zeros(50, dtype=np.bool_)) == ()
    assert audit_columns(columns, np.ones(50, dtype=np.bool_)) == ()


def test_the_name_of_a_customer_is_no_leak_where_windows_overlap() -> None:
    label = np.repeat(np.arange(200) % 5 == 0, 12)
    customers = pa.array([f"customer {number}" for number in range(200) for _ in range(12)])
    rows = pa.table({"email": customers, "size": np.repeat(np.random.default_rng(0).random(200), 12)})
    assert audit_columns(rows, label, customer_id=customers) == ()


def test_a_large_table_is_sampled_the_same_way_for_one_seed() -> None:
    random = np.random.default_rng(0)
    columns, label = honest(random, 250_000)
    disguised = columns.append_column("disguise", pa.array(flipped(label, random, 0.03)))
    first, again = (audit_columns(disguised, label, seed=3) for _ in range(2))
    assert first == again
    assert [finding.feature for finding in first] == ["disguise"]


def test_shared_rows_are_counted_for_every_pair_of_blocks() -> None:
    found = audit_blocks({"train": ["a", "b", "b"], "calibrate": ["c"], "test": iter(["b", "c", "d"])})
    assert [(finding.feature, finding.evidence.partition(" rows")[0]) for finding in found] == [
        ("train/test", "1 of 3"),
        ("calibrate/test", "1 of 3"),
    ]
    assert audit_blocks({"train": ["a"], "test": ["b"]}) == ()


def test_what_is_allowed_by_name_does_not_stop_a_training() -> None:
    leak, note = Finding("separates", "score", "leak", "e.", "a."), Finding("separates", "tariff", "note", "e.", "a.")
    require_clean(AuditReport((leak, note), 10, 2, allowed=("score",)))
    with pytest.raises(AuditError, match=r"score \(separates\): e\. a\.") as caught:
        require_clean(AuditReport((leak, leak, note), 10, 2, allowed=("tariff",)))
    assert 'allow = ["score"]' in caught.value.hint
    assert caught.value.exit_code == 3
    assert "tariff" not in str(caught.value)
