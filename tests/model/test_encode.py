"""Encoding keeps numbers, freezes categories, folds rare ones and never depends on which rows come together."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError, HistoryError, InputError, NotFoundError
from tenure.model.encode import Dropped, Encoder

PLANS = ["basic"] * 30 + ["plus"] * 20 + ["max"] * 12 + ["trial"] * 3 + [None] * 5
NUMBERS = [*range(69), None]
TRAINING = pa.table({"plan": PLANS, "visits": NUMBERS})


def encoded(**columns: Any) -> list[list[float | None]]:
    matrix = Encoder.fit(TRAINING).transform(pa.table({"plan": ["basic"], "visits": [1]} | columns))
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]


def test_categories_are_frozen_by_frequency_and_rare_ones_folded() -> None:
    plan, visits = Encoder.fit(TRAINING).columns
    assert (plan.categories, plan.distinct, plan.folded_rows) == (("basic", "plus", "max"), 4, 3)
    assert [column.categories for column in Encoder.fit(TRAINING).layout] == [4, 0]
    assert visits.kind == "number"


def test_known_rare_unknown_and_missing_values() -> None:
    rows = encoded(plan=["plus", "trial", "never seen", None], visits=[1, 2, 3, None])
    assert rows == [[1, 1], [3, 2], [3, 3], [None, None]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([7], pa.int64()),
        pa.array([7], pa.uint8()),
        pa.array([7.0], pa.float64()),
        pa.array([Decimal("7.00")]),
        pa.chunked_array([[], [7]], pa.int32()),
    ],
)
def test_every_kind_of_number_is_read(column: pa.Array) -> None:
    assert encoded(visits=column) == [[0, 7]]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_kind_of_text_is_read(kind: pa.DataType) -> None:
    assert encoded(plan=pa.array(["max"]).cast(kind)) == [[2, 1]]


def test_missing_may_be_null_nan_or_a_column_of_nothing() -> None:
    assert encoded(visits=[float("nan")]) == encoded(visits=pa.nulls(1)) == [[0, None]]
    assert encoded(plan=pa.nulls(1)) == [[None, 1]]
    assert Encoder.fit(pa.table({"flag": [True, False, None]})).transform(
        pa.table({"flag": [True, False, None]})
    ).tolist()[:2] == [[1], [0]]


def test_what_never_varies_is_dropped_with_its_reason() -> None:
    rows = 40
    table = pa.table(
        {
            "constant": [3] * rows,
            "empty": pa.nulls(rows, pa.float64()),
            "no_text": pa.nulls(rows, pa.string()),
            "one_text": ["x"] * rows,
            "id": [f"id{i}" for i in range(rows)],
            "when": pa.array([0] * rows, pa.timestamp("us")),
            "known": [1.0, None] * (rows // 2),
            "noted": ["x", None] * (rows // 2),
        }
    )
    encoder = Encoder.fit(table)
    assert [column.name for column in encoder.columns] == ["known", "noted"]
    assert encoder.dropped == (
        Dropped("constant", "is always 3"),
        Dropped("empty", "is always missing"),
        Dropped("no_text", "is always missing"),
        Dropped("one_text", "is always 'x'"),
        Dropped("id", "has 40 different values, none of them in 10 rows or more"),
        Dropped("when", "is of the type timestamp[us], neither number nor text"),
    )


def test_ten_thousand_categories_are_folded_into_a_thousand() -> None:
    shops = [f"shop{i % 10_000:05}" for i in range(200_000)] + ["main"] * 100
    column = Encoder.fit(pa.table({"shop": shops})).columns[0]
    assert len(column.categories) == 1000
    assert column.categories[:2] == ("main", "shop00000")
    assert column.distinct == 10_001
    assert column.folded_rows == 200_100 - 100 - 999 * 20


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), 1e39])
def test_infinite_values_are_refused_with_column_and_count(bad: float) -> None:
    with pytest.raises(InputError, match="'visits' holds 2 infinite values"):
        encoded(plan=["max"] * 3, visits=[bad, 1.0, bad])
    with pytest.raises(InputError, match="'spend' holds 1 infinite"):
        Encoder.fit(pa.table({"spend": [1.0, bad]}))


def test_a_missing_column_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no column 'visits'\. Did you mean 'visit'"):
        Encoder.fit(TRAINING).transform(pa.table({"plan": ["max"], "visit": [1]}))


def test_a_column_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="'visits' is of the type string, and the model knows it as a number"):
        encoded(visits=["seven"])
    with pytest.raises(InputError, match="'plan' is of the type int64, and the model knows it as a category"):
        encoded(plan=[1])


def test_features_that_tell_nothing_are_an_error() -> None:
    with pytest.raises(HistoryError, match=r"None of the 1 features tells customers apart \(one is always 1\)"):
        Encoder.fit(pa.table({"one": [1, 1]}))


def test_the_document_is_plain_json_and_read_strictly() -> None:
    encoder = Encoder.fit(TRAINING)
    document = json.loads(json.dumps(encoder.to_json(), allow_nan=False))
    assert Encoder.from_json(document) == encoder
    with pytest.raises(ArtifactError, match="unknown keys: extra"):
        Encoder.from_json(document | {"extra": 1})


values = st.none() | st.sampled_from(["basic", "plus", "max", "trial", "", "BASIC", " basic", "日本"])
rows = st.tuples(values, st.none() | st.floats(-(2.0**90), 2.0**90, width=32))


@given(st.lists(rows, min_size=1, max_size=12), st.integers(0, 12))
def test_a_row_is_encoded_the_same_alone_or_among_others(
    drawn: list[tuple[str | None, float | None]], cut: int
) -> None:
    table = pa.table(
        {
            "visits": pa.array([number for _, number in drawn], pa.float64()),
            "plan": pa.array([p for p, _ in drawn], pa.string()),
        }
    )
    encoder = Encoder.fit(TRAINING)
    together = encoder.transform(table)
    alone = np.vstack([encoder.transform(table.slice(i, 1)) for i in range(len(drawn))])
    chunked = encoder.transform(pa.concat_tables([table.slice(0, cut), table.slice(cut)]))
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, chunked)
    assert together.dtype == np.float32
    assert together.flags.f_contiguous
    numbers = [np.nan if number is None else number for _, number in drawn]
    np.testing.assert_array_equal(together[:, 1], np.array(numbers, np.float32))


@given(st.lists(rows, min_size=1, max_size=12))
def test_a_row_of_plain_values_is_encoded_as_in_a_table(data: list[tuple[str | None, float | None]]) -> None:
    encoder = Encoder.fit(TRAINING)
    given_rows = [{"plan": plan, "visits": visits} for plan, visits in data]
    schema = pa.schema({"plan": pa.string(), "visits": pa.float64()})
    expected = encoder.transform(pa.Table.from_pylist(given_rows, schema=schema))
    alone = np.stack([encoder.encode_row(row) for row in given_rows])
    assert alone.dtype == np.float32
    assert np.array_equal(alone, expected, equal_nan=True)


@given(st.integers(-(2**63), 2**63 - 1))
def test_long_whole_numbers_are_rounded_alike_in_any_company(visits: int) -> None:
    encoder, plans = Encoder.fit(TRAINING), ["basic", "basic"]
    full = encoder.transform(pa.table({"plan": plans, "visits": pa.array([visits, 1])}))[0]
    with_gap = encoder.transform(pa.table({"plan": plans, "visits": pa.array([visits, None])}))[0]
    assert full.tolist() == with_gap.tolist() == encoder.encode_row({"plan": "basic", "visits": visits}).tolist()


@pytest.mark.parametrize(
    "value", [3, 3.0, True, Decimal("3.5"), np.float64(7), np.int8(3), np.bool_(True), None, np.nan]
)
def test_a_row_takes_every_kind_of_number(value: Any) -> None:
    found = Encoder.fit(TRAINING).encode_row({"plan": None, "visits": value})
    assert found.tolist() == pytest.approx([np.nan, np.nan if value is None else float(value)], nan_ok=True)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e39, 10**400, Decimal("1e50")])
def test_an_infinite_value_of_a_row_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"value of 'visits' is infinite"):
        Encoder.fit(TRAINING).encode_row({"plan": "basic", "visits": value})


@pytest.mark.parametrize(("column", "value"), [("visits", "4"), ("visits", [4]), ("plan", 4), ("plan", b"basic")])
def test_a_value_of_another_kind_is_refused(column: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"value of '{column}' is"):
        Encoder.fit(TRAINING).encode_row({"plan": "basic", "visits": 1} | {column: value})


def test_a_row_without_a_feature_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no value for 'visits'.*'visit'"):
        Encoder.fit(TRAINING).encode_row({"plan": "basic", "visit": 1})


CELLS = st.tuples(
    st.none() | st.floats(width=64) | st.integers(-(2**60), 2**60),
    st.none() | st.sampled_from(["basic", "plus", "max", "trial", "", "naïve"]) | st.text(max_size=3),
)


@given(st.lists(CELLS, min_size=1, max_size=6), st.data())
def test_plain_columns_are_encoded_as_a_table_is(
    cells: list[tuple[float | None, str | None]], data: st.DataObject
) -> None:
    """Bit for bit, whichever rows are wanted in whichever order; infinity alone is left to the caller."""
    numbers = np.array([np.nan if number is None else float(number) for number, _ in cells])
    plans = [plan for _, plan in cells]
    rows = data.draw(st.lists(st.integers(0, len(cells) - 1), max_size=8))
    encoder = Encoder.fit(TRAINING)
    found = encoder.encode_columns({"plan": plans, "visits": numbers}, rows)
    assert found.dtype == np.float32
    assert found.shape == (len(rows), 2)
    assert found.flags.f_contiguous
    table = pa.table({"plan": pa.array(plans, pa.string()), "visits": numbers}).take(pa.array(rows, pa.int64()))
    if np.isinf(found).any():
        with pytest.raises(InputError, match="infinite"):
            encoder.transform(table)
    else:
        assert found.tobytes("F") == encoder.transform(table).tobytes("F")
