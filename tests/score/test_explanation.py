"""What shap gets: the raw margin taken apart, values as people know them, and plots that draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import shap

from tenure.core.errors import MissingExtraError
from tenure.score.explanation import to_shap
from tests.score.test_explain import customers, parts

mpl.use("Agg")  # no screen is needed
PLOTS: dict[str, Callable[[Any], object]] = {
    "waterfall": lambda found: shap.plots.waterfall(found[0], show=False),
    "bar": lambda found: shap.plots.bar(found, show=False),
    "beeswarm": lambda found: shap.plots.beeswarm(found, show=False),
}


def test_values_and_base_add_up_to_the_raw_margin() -> None:
    table, _ = customers()
    found = to_shap(parts(), table)
    margin = parts().model.predict_margin(parts().encoder.transform(table))
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), margin, atol=1e-5)
    assert found.feature_names == table.column_names
    assert found.display_data[:, 2].tolist() == table.column("plan").to_pylist()


@pytest.mark.parametrize("plot", list(PLOTS))
@pytest.mark.filterwarnings("ignore")
def test_shap_draws_it(plot: str) -> None:
    found = to_shap(parts(), customers()[0].slice(0, 40))
    PLOTS[plot](found)
    axes = plt.gcf().axes
    assert any("login_count" in label.get_text() for axis in axes for label in axis.get_yticklabels())
    plt.close("all")


def test_without_shap_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("tenure.core.extras.importlib.import_module", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'tenure\[shap\]'") as caught:
        to_shap(parts(), customers()[0])
    assert caught.value.hint == "Install it with: pip install 'tenure[shap]'"
