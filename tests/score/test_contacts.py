"""The contact list is the choice that `tenure.value` would make in memory."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.settings import RuntimeSettings, ValueSettings
from tenure.score.contacts import ContactList, write_contacts
from tenure.score.part import write_part
from tenure.score.predictor import Predictor
from tenure.score.scored import Scorer
from tenure.source.engine import open_engine
from tenure.value.target import choose
from tests.score.world import AS_OF, FLAT, NOON, PREDICTOR, RANGED, customers


def list_of(
    table: pa.Table, value: ValueSettings, folder: Path, *, predictor: Predictor = PREDICTOR, threads: int = 2
) -> tuple[pa.Table, ContactList, list[dict[str, Any]]]:
    """Scores in two files, what the list adds up to, and its rows."""
    scorer = Scorer(predictor, value, AS_OF, NOON())
    scores = scorer(table)
    half = table.num_rows // 2
    paths = [folder / "part-0.parquet", folder / "part-1.parquet"]
    write_part(paths[0], [scores.slice(0, half)], scorer.schema)
    write_part(paths[1], [scores.slice(half)], scorer.schema)
    with open_engine(RuntimeSettings(threads=threads), folder) as engine:
        total = write_contacts(engine, paths, folder / "contacts.csv", value)
    with (folder / "contacts.csv").open(newline="", encoding="utf-8") as file:
        return scores, total, list(csv.DictReader(file))


@pytest.mark.parametrize("capacity", [None, 0, 1, 37, 10_000])
@pytest.mark.parametrize("value", [RANGED, FLAT])
def test_the_list_is_the_choice_in_order(value: ValueSettings, capacity: int | None, tmp_path: Path) -> None:
    value = value.model_copy(update={"capacity": capacity})
    scores, total, rows = list_of(customers(300), value, tmp_path)
    profit = scores.column("expected_profit").to_numpy()
    ids = np.array(scores.column("customer_id").to_pylist(), dtype=object)
    chosen = choose(profit, ids, capacity)
    assert {row["customer_id"] for row in rows} == set(ids[chosen])
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    exact = dict(zip(ids, profit, strict=True))
    assert [(-exact[row["customer_id"]], row["customer_id"]) for row in rows] == sorted(
        (-exact[i], i) for i in ids[chosen]
    )
    assert total.contacts == len(rows)
    assert total.profit_expected == pytest.approx(profit[chosen].sum())
    if value is RANGED:
        low = scores.column("expected_profit_low").to_numpy()[chosen].sum()
        assert total.profit_low == pytest.approx(low)
        assert total.profit_low <= total.profit_expected <= total.profit_high


def test_people_read_rounded_money(tmp_path: Path) -> None:
    predictor = Predictor("v1", "0f", ("x",), lambda table: np.full(table.num_rows, 1 / 3))
    _, _, rows = list_of(customers(1), FLAT, tmp_path, predictor=predictor)
    assert rows == [
        {"rank": "1", "customer_id": "customer-000000", "probability": "0.3333", "band": "high", "clv": "600",
         "expected_profit": "50"}
    ]  # fmt: skip


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1), unique=True))
def test_ids_of_any_kind_survive(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    table = customers(len(ids)).set_column(0, "customer_id", pa.array(sorted(ids), pa.string()))
    predictor = Predictor("v1", "0f", ("x",), lambda table: np.ones(table.num_rows))
    _, _, rows = list_of(table, FLAT, tmp_path_factory.mktemp("ids"), predictor=predictor)
    assert [row["customer_id"] for row in rows] == sorted(ids)


def test_nobody_to_contact_gives_a_list_without_rows(tmp_path: Path) -> None:
    predictor = Predictor("v1", "0f", ("x",), lambda table: np.zeros(table.num_rows))
    _, total, rows = list_of(customers(10), RANGED, tmp_path, predictor=predictor)
    assert (total, rows) == (ContactList(), [])
    assert (tmp_path / "contacts.csv").read_text().startswith("rank,customer_id,probability,band,clv,expected_profit,")


def test_threads_do_not_change_the_list(tmp_path: Path) -> None:
    table, found = customers(5_000), []
    for threads in (1, 4):
        folder = tmp_path / str(threads)
        folder.mkdir()
        _, total, _ = list_of(table, RANGED, folder, threads=threads)
        found.append((total, (folder / "contacts.csv").read_bytes()))
    assert found[0] == found[1]
