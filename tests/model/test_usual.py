"""What is usual: medians, shares and gaps of the training rows, whatever their number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tenure.core.errors import ArtifactError
from tenure.model import usual as module
from tenure.model.encode import Encoder
from tenure.model.usual import Usual


def table(rows: int = 1000) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "visits": pa.array(random.poisson(5, rows), mask=random.random(rows) < 0.2),
            "plan": pa.array(random.choice(["a", "b"], rows, p=[0.7, 0.3]).tolist(), mask=random.random(rows) < 0.1),
        }
    )


def test_quartiles_shares_and_gaps_are_those_of_the_rows() -> None:
    rows = table()
    visits, plan = Usual.of(Encoder.fit(rows), rows).columns
    known = rows.column("visits").drop_null().to_numpy()
    assert visits.quartiles == tuple(np.quantile(known, [0.25, 0.5, 0.75]))
    assert visits.missing == pytest.approx(rows.column("visits").null_count / 1000)
    values = rows.column("plan").to_pylist()
    assert plan.shares == (values.count("a") / 1000, values.count("b") / 1000, 0.0)
    assert plan.missing == pytest.approx(values.count(None) / 1000)
    assert (visits.shares, plan.quartiles, plan.median) == ((), (), None)


def test_of_many_rows_some_at_even_distances_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(5000)
    whole = Usual.of(Encoder.fit(rows), rows)
    monkeypatch.setattr(module, "MOST_ROWS", 500)
    some = Usual.of(Encoder.fit(rows), rows)
    assert some != whole
    assert some.columns[0].median == pytest.approx(whole.columns[0].median, abs=1)
    assert some.columns[1].shares == pytest.approx(whole.columns[1].shares, abs=0.07)


def test_no_rows_have_nothing_usual() -> None:
    rows = table()
    empty = Usual.of(Encoder.fit(rows), rows.slice(0, 0))
    assert [(column.median, column.missing, column.shares) for column in empty.columns] == [(None, 0.0, ())] * 2


def test_another_number_of_quartiles_is_refused() -> None:
    document = Usual.of(Encoder.fit(table()), table()).to_json()
    document["columns"][0]["quartiles"] = [1.0]
    with pytest.raises(ArtifactError, match="visits has 1 quartiles"):
        Usual.from_json(document)
