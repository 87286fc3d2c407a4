from __future__ import annotations

import pytest

from tenure.core.errors import ConfigError
from tenure.core.settings import FeatureSettings
from tenure.features.declare import Attribute, declare

COUNT = FeatureSettings(event="order", ops=("count",), windows=("28d",))


def test_the_same_feature_twice_is_kept_once() -> None:
    assert declare((COUNT, COUNT)).names == ("order_count_28d",)


def test_values_of_a_category_that_differ_in_case_alone_are_refused() -> None:
    """DuckDB would take both columns for the first one."""
    block = FeatureSettings(event="order", ops=("count",), by="plan", top=2)
    with pytest.raises(ConfigError, match="'order_count_by_plan=Pro' and 'order_count_by_plan=pro'"):
        declare((block,), {("order", "plan", 2): ("Pro", "pro")})


def test_an_attribute_that_a_feature_is_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="'order_count_28d' and 'Order_Count_28d'"):
        declare((COUNT,), attributes=(Attribute("Order_Count_28d", "number"),))


@pytest.mark.parametrize("name", ["label", "Cutoff", "_count", "_last", "customer_id_right", "tenure_days"])
def test_an_attribute_named_like_a_column_of_the_snapshot_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="that snapshots need for themselves"):
        declare((COUNT,), attributes=(Attribute(name, "number"),))
