"""A model's probabilities on their way: as it gives them, after prior correction, after calibration.

Enters: a trained model and rows that it was not trained on. Leaves: one judgement per step that changed anything, on
the same rows. Invariant: the last one is what the version says; where nothing was corrected there is nothing to show.
"""

from __future__ import annotations

from tenure.model.bootstrap import REPEATS
from tenure.model.calibrate import correct_prior
from tenure.model.evaluate import Judgement, judge
from tenure.model.frame import Frame
from tenure.model.protocol import Vector
from tenure.model.train import Trained

__all__ = ["judge_stages"]


def judge_stages(trained: Trained, test: Frame, *, seed: int = 0, repeats: int = REPEATS) -> tuple[Judgement, ...]:
    """Judge each step on the test block; empty where the model's own probabilities were left as they are.

    Parameters
    ----------
    trained : Trained
        The model with its corrections.
    test : Frame
        Rows that it has not seen.
    seed, repeats : int
        Of the bootstrap over customers; with the same seed every step is judged on the same draws.

    Raises
    ------
    HistoryError
        Nobody was lost, or everybody.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from tenure.core.settings import ModelSettings
    >>> from tenure.model.split import split_table
    >>> from tenure.model.train import train
    >>> visits = np.arange(400) % 20
    >>> frame = Frame.of(np.arange(400), np.arange(400) * 7 % 20 < 19 - visits, pa.table({"visits": visits}))
    >>> split = split_table(frame)
    >>> settings = ModelSettings(family="logistic", fallback=None, imbalance="weights", churner_weight=9)
    >>> trained = train(frame, split, settings, threads=1)
    >>> test = frame.take(split.blocks(frame).test)
    >>> [stage.name for stage in judge_stages(trained, test, repeats=20)][:2]
    ['as the model gives them', 'after prior correction']
    """
    given = trained.model.predict_proba(trained.encoder.transform(test.features))
    steps: dict[str, Vector] = {"as the model gives them": given}
    prior = trained.calibration.prior
    if prior:
        steps["after prior correction"] = correct_prior(given, prior)
    if trained.calibration.method != "none":
        steps["after calibration"] = trained.calibration.apply(given)
    if len(steps) == 1:
        return ()
    return tuple(
        judge(name, "model", "test", test.label, probability, test.customer_id, seed=seed, repeats=repeats)
        for name, probability in steps.items()
    )
