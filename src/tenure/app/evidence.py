"""What the training block has to give before the test block is judged.

Enters: prepared rows and what training made of them. Leaves: the rows on which a threshold may be searched, and how the
version does for each kind of customer. Invariant: borders, names and thresholds come from rows that judge nothing.
"""

from __future__ import annotations

from tenure.app.frames import Prepared
from tenure.app.money import SearchRows, contacted_where_it_pays
from tenure.core.settings import ValueSettings
from tenure.model.frame import Frame
from tenure.model.importance import Importance
from tenure.model.protocol import Vector
from tenure.model.segment import Judged, Segment, find_groupings, judge_segments
from tenure.model.train import Trained

__all__ = ["judge_kinds", "search_rows"]


def search_rows(found: Prepared, trained: Trained) -> SearchRows:
    """Where a threshold may be searched: the rows that calibration was learned from."""
    blocks = found.split.blocks(found.frame)
    rows = blocks.calibrate if trained.calibrated_on == "calibration block" else blocks.train
    return SearchRows(found.frame.take(rows), trained.held_out, trained.calibrated_on)


def judge_kinds(
    found: Prepared, test: Frame, probability: Vector, importance: tuple[Importance, ...], value: ValueSettings
) -> tuple[Segment, ...]:
    """Judge kinds of customers apart: by the texts, then by thirds of the numbers, that the model needs most."""
    learned = found.frame.take(found.split.blocks(found.frame).train).features
    leading = [one.feature for one in sorted(importance, key=lambda one: -one.auc_lost)]
    judged = Judged(test.label, contacted_where_it_pays(test, probability, value), probability, test.group())
    return judge_segments(judged, test.features, find_groupings(learned, leading))
