"""Numbers as text never say anything but the number."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tenure.model.evaluate import Estimate
from tenure.report.words import DASH, MINUS, amount, decimal, interval, percent, signed, times, with_interval


def number(text: str) -> float:
    return float(re.sub(r"[\s,%]", "", text.replace(MINUS, "-")))


@given(st.floats(0, 1))
def test_a_share_reads_back(share: float) -> None:
    assert abs(number(percent(share)) / 100 - share) <= (0.005 if share >= 0.2 else 0.0005) + 1e-9


@given(st.floats(-100, 100))
def test_a_number_reads_back(value: float) -> None:
    assert abs(number(decimal(value)) - value) <= 0.0005 + 1e-9
    assert abs(number(signed(value)) - value) <= 0.0005 + 1e-9
    assert abs(number(times(abs(value))) - abs(value)) <= 0.005 + 1e-9
    assert abs(number(amount(value * 50)) - value * 50) <= 0.5 + 1e-9


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_ends_of_an_interval_read_back(low: float, high: float) -> None:
    low, high = sorted((low, high))
    for form, tolerance in ((decimal, 0.0005), (signed, 0.0005), (percent, 0.005)):
        text = interval(Estimate((low + high) / 2, low, high), form)
        if text:
            ends = [number(part) for part in re.split(f" to |{DASH}", text)]
            scale = 100 if form is percent else 1
            assert abs(ends[0] - low * scale) <= tolerance * scale + 1e-9
            assert abs(ends[1] - high * scale) <= tolerance * scale + 1e-9


def test_an_interval_without_width_or_ends_is_not_shown() -> None:
    assert with_interval(Estimate(0.5, 0.5, 0.5)) == "0.500"
    assert with_interval(Estimate(0.5, float("nan"), float("nan"))) == "0.500"
