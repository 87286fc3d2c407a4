"""The leakage audit: features that could only be so good because they know the answer.

Enters: the labelled columns of the training rows, the blocks they belong to, and the tables they were computed from.
Leaves: an `AuditReport` of findings with their evidence. A finding of severity `leak` stops the training unless the
feature is allowed by name; a `note` is only reported.

No single test finds every leak, so the audit asks five questions:

- *separates*: does one column alone, by its values or by where it is missing, tell the classes apart?
- *after churn*: does a column's name speak of the end (`churn_reason`) while its content goes with the label?
- *duplicates*: do rows of one block stand again in another?
- *future* (`tenure.features.canary`): does any feature change when everything after the cutoff is shuffled, and does a
  customer attribute know more of the future than the past explains?
- *consequence* (`tenure.features.canary`): does an event type happen almost only around a loss, as a cancel page does?
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tenure.core.errors import AuditError

__all__ = ["AuditReport", "Finding", "audit_blocks", "audit_columns", "require_clean"]

SEPARATES_ABOVE = 0.95
AFTER_CHURN_ABOVE = 0.65
_MOST_ROWS = 200_000
_AFTER_CHURN = re.compile(
    r"churn|attrit|cancel|terminat|deactivat|unsubscrib|clos(?:e|ed|ing|ure)(?:_|$)|exit|leav(?:e|ing)|left|lost|"
    r"reason|offboard|win_?back|refund",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found.

    Parameters
    ----------
    check : str
        Which question: `separates`, `after churn`, `duplicates`, `future` or `consequence`.
    feature : str
        The feature or event type concerned.
    severity : str
        `leak` stops the training, `note` does not.
    evidence : str
        What was seen, with its numbers, as a sentence.
    """

    check: str
    feature: str
    severity: Literal["leak", "note"]
    evidence: str


@dataclass(frozen=True)
class AuditReport:
    """Everything that the audit found, and how much it looked at.

    Examples
    --------
    >>> AuditReport((), rows=100, columns=5, allowed=()).leaks
    ()
    """

    findings: tuple[Finding, ...]
    rows: int
    columns: int
    allowed: tuple[str, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Findings that stop a training: leaks of features that are not allowed by name."""
        return tuple(f for f in self.findings if f.severity == "leak" and f.feature not in self.allowed)


def require_clean(report: AuditReport) -> None:
    """Stop where the audit found a leak that is not allowed.

    Raises
    ------
    AuditError
        With every leak and its evidence.

    Examples
    --------
    >>> require_clean(AuditReport((), rows=100, columns=5, allowed=()))
    """
    if report.leaks:
        listed = "\n".join(f"  {finding.feature} ({finding.check}): {finding.evidence}" for finding in report.leaks)
        names = ", ".join(f'"{name}"' for name in dict.fromkeys(finding.feature for finding in report.leaks))
        raise AuditError(
            f"The leakage audit found features that know the answer:\n{listed}",
            hint=f"Remove them, or, if you are sure that they are known at the cutoff, set [audit] allow = [{names}].",
            findings=report.leaks,
        )


def audit_columns(columns: pa.Table, label: NDArray[np.bool_], seed: int = 0) -> tuple[Finding, ...]:
    """Look at every column alone.

    Parameters
    ----------
    columns : pyarrow.Table
        n rows of feature columns, numbers or text.
    label : array of bool, shape (n,)
        True: churned.
    seed : int
        For the sample (at most 200,000 rows) and the folds.

    Examples
    --------
    >>> label = np.arange(100) % 5 == 0
    >>> [f.feature for f in audit_columns(pa.table({"disguise": label * 2.0, "noise": np.arange(100) % 7}), label)]
    ['disguise']
    """
    random = np.random.default_rng(seed)
    if len(label) > _MOST_ROWS:
        chosen = np.sort(random.choice(len(label), _MOST_ROWS, replace=False))
        columns, label = columns.take(pa.array(chosen)), label[chosen]
    if label.all() or not label.any():
        return ()
    folds = random.integers(0, 5, len(label))
    findings = (_audit_column(name, columns[name], label, folds) for name in columns.column_names)
    return tuple(finding for finding in findings if finding)


def _audit_column(
    name: str, column: pa.ChunkedArray, label: NDArray[np.bool_], folds: NDArray[np.int64]
) -> Finding | None:
    missing = np.asarray(pc.is_null(column, nan_is_null=True))
    by_missing = _separation(missing.astype(float), label)
    by_value = _separation(_ranking(column, label, folds), label)
    strength = max(by_missing, by_value)
    how = "being missing or not" if by_missing >= by_value else "its values"
    evidence = f"{how} alone ranks churners with an AUC of {strength:.3f}"
    if strength > SEPARATES_ABOVE:
        return Finding(
            "separates", name, "leak", f"{evidence} (more than {SEPARATES_ABOVE} is too good to be known before)"
        )
    if strength > AFTER_CHURN_ABOVE and _AFTER_CHURN.search(name):
        return Finding("after churn", name, "leak", f"the name speaks of the end of a relationship, and {evidence}")
    return None


def _separation(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    area = float(roc_auc_score(label, score))
    return max(area, 1.0 - area)


def _ranking(column: pa.ChunkedArray, label: NDArray[np.bool_], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers as they are; categories by the churn rate they have in the other folds."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        values: NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy().astype(float)
        return np.nan_to_num(values, nan=float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0)
    codes = pc.fill_null(pc.cast(column, pa.string()), "").combine_chunks().dictionary_encode()
    index, size = np.asarray(codes.indices), len(codes.dictionary)
    overall = label.mean()
    ranking = np.empty(len(label))
    for fold in range(5):
        outside = folds != fold
        total = np.bincount(index[outside], minlength=size)
        churners = np.bincount(index[outside], weights=label[outside], minlength=size)
        ranking[~outside] = ((churners + overall) / (total + 1))[index[~outside]]
    return ranking


def audit_blocks(blocks: Mapping[str, Iterable[str]]) -> tuple[Finding, ...]:
    """Look for rows that stand in two blocks.

    Parameters
    ----------
    blocks : mapping of block name to row keys
        Keys that are equal where rows are the same: customer and cutoff, or all columns of a plain table.

    Examples
    --------
    >>> audit_blocks({"train": ["a", "b"], "test": ["b", "c"]})[0].evidence
    '1 row of test stands in train as well'
    """
    seen: dict[str, set[str]] = {name: set(keys) for name, keys in blocks.items()}
    names = list(seen)
    findings = []
    for i, earlier in enumerate(names):
        for later in names[i + 1 :]:
            shared = len(seen[earlier] & seen[later])
            if shared:
                rows = "1 row of {} stands" if shared == 1 else f"{shared} rows of {{}} stand"
                findings.append(
                    Finding("duplicates", f"{earlier}/{later}", "leak", f"{rows.format(later)} in {earlier} as well")
                )
    return tuple(findings)
