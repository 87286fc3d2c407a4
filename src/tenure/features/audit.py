"""The leakage audit: features that could only be so good because they know the answer.

Enters: the labelled columns of the training rows and the blocks they belong to. Leaves: an `AuditReport` of findings
with their evidence. A finding of severity `leak` stops the training unless its feature is allowed by name; a `note` is
only reported. Invariant: the same rows and seed give the same findings.

No single test finds every leak, so the audit asks several questions. Three need the rows alone and live here:

- *separates*: does one column alone, by its values or by where it is missing, tell the classes apart?
- *after churn*: does a column's name speak of the end (`churn_reason`) while its content goes with the label?
- *duplicates*: do rows of one block stand again in another?

Three need the history, see `tenure.features.canary`:

- *future*: does any feature change when everything after the cutoff is removed or shuffled?
- *hindsight* (`tenure.features.hindsight`): does a customer attribute know what happened after the cutoff?
- *consequence* (`tenure.features.aftermath`): does an event type happen almost only around a loss, as a cancel page's
  visit does?

Where the limits come from (a grocer, a wholesaler, a telephone company twice, a social network and simulated services;
see `tenure.features.separation` for what is measured):

- AUC above .95: the best honest column reaches .84. Below ten churners or stayers (twenty, unless it is above .999), or
  where the 99.9 % bound lies below .90, it is a note, because so few rows reach .95 by luck.
- More than 55 % of the log loss explained, by its 99 % bound more than 50 %, with at least 20 churners and stayers: the
  best honest column reaches 25 %, a label with 5 % flips 58 to 71 %. With fewer, good columns get there by luck.
- A cell whose rows churn in 95 %, with odds of churn at least 30 times the usual: the best honest cell has 83 % and 17.
  A number must jump by 45 points there: whoever was silent for almost as long as `active` allows is nearly gone, and
  so is whoever was silent for a little less. Never for stayers, whom honest features know well (nobody who comes daily
  leaves), nor above a churn rate of .5.
- A name that speaks of the end needs an AUC of .65 only; a word that may mean something else (`closed`, `left`) needs
  it from being filled or not, since what is written down at the end is empty before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tenure.core.errors import AuditError
from tenure.features.separation import Marker, Outcome, Separation, separate

__all__ = ["AuditReport", "Finding", "audit_blocks", "audit_columns", "pure", "require_clean", "tells_apart"]

SEPARATES_ABOVE, SURELY_ABOVE, PERFECT = 0.95, 0.90, 0.999
EXPLAINS_ABOVE, SURELY_EXPLAINS = 0.55, 0.50
_FEW = 20
PURE_ABOVE, PURE_ODDS, PURE_CUSTOMERS = 0.95, 30.0, 20
JUMP_ABOVE, MOST_RATE = 0.45, 0.5
NAMED_ABOVE, NAMED_PURE_ABOVE, NAMED_ODDS = 0.65, 0.8, 5.0
_FEWEST = 10
_MOST_ROWS = 200_000
_OF_THE_END = re.compile(
    r"_(churn|attrit|cancel|terminat|deactivat|unsubscri|offboard|win_?back|leaving|resign|exit_(survey|interview|date|reason|score))"
)
_PERHAPS_OF_THE_END = re.compile(
    r"_(clos(e|ed|ing|ure)|exit|left|lost|leave|reason|refund|refunded|final|end|ended|quit|lapsed|inactive|settlement)_"
)
_REMOVE = "Leave it out, or replace it by what was known at the cutoff."


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found.

    Parameters
    ----------
    check : str
        Which question: `separates`, `after churn`, `duplicates`, `future`, `hindsight` or `consequence`.
    feature : str
        The feature, attribute, event type or pair of blocks concerned: the name to allow.
    severity : str
        `leak` stops the training, `note` does not.
    evidence : str
        What was seen, with its numbers.
    advice : str
        What to do, as a sentence.
    """

    check: str
    feature: str
    severity: Literal["leak", "note"]
    evidence: str
    advice: str = ""


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
        With every leak, its evidence and what to do.

    Examples
    --------
    >>> require_clean(AuditReport((), rows=100, columns=5, allowed=()))
    >>> leak = Finding("separates", "score", "leak", "it ranks churners with an AUC of 0.991.", "Leave it out.")
    >>> require_clean(AuditReport((leak,), rows=100, columns=5, allowed=()))
    Traceback (most recent call last):
    tenure.core.errors.AuditError: The leakage audit found 1 that knows the answer:
      score (separates): it ranks churners with an AUC of 0.991. Leave it out.
    → If you are sure that it was known at the cutoff, set [audit] allow = ["score"].
    """
    if report.leaks:
        listed = "\n".join(f"  {f.feature} ({f.check}): {f.evidence} {f.advice}".rstrip() for f in report.leaks)
        names = list(dict.fromkeys(finding.feature for finding in report.leaks))
        quoted = ", ".join(f'"{name}"' for name in names)
        raise AuditError(
            f"The leakage audit found {len(names)} that {'knows' if len(names) == 1 else 'know'} the answer:\n{listed}",
            hint=f"If you are sure that {'it was' if len(names) == 1 else 'they were'} known at the cutoff, "
            f"set [audit] allow = [{quoted}].",
            findings=report.leaks,
        )


def audit_columns(
    columns: pa.Table,
    label: NDArray[np.bool_],
    seed: int = 0,
    *,
    customer_id: pa.Array | pa.ChunkedArray | None = None,
) -> tuple[Finding, ...]:
    """Look at every column alone.

    Parameters
    ----------
    columns : pyarrow.Table
        n rows of feature columns, numbers or text.
    label : array of bool, shape (n,)
        True: churned.
    seed : int
        For the sample (at most 200,000 rows) and the folds.
    customer_id : Arrow array, optional
        Whose rows they are. Rows of one customer are one observation, so give it where customers have several rows or
        rows may be copies of each other; default: every row is a customer of its own.

    Examples
    --------
    >>> label = np.arange(100) % 5 == 0
    >>> [f.feature for f in audit_columns(pa.table({"disguise": label * 2.0, "noise": np.arange(100) % 7}), label)]
    ['disguise']
    """
    if len(label) > _MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(label), _MOST_ROWS, replace=False))
        columns, label = columns.take(pa.array(chosen)), label[chosen]
        customer_id = None if customer_id is None else customer_id.take(pa.array(chosen))
    if label.all() or not label.any():
        return ()
    outcome = Outcome.of(label, customer_id, seed)
    findings = (_audit_column(name, separate(columns[name], outcome), outcome) for name in columns.column_names)
    return tuple(finding for finding in findings if finding)


def _audit_column(name: str, found: Separation, outcome: Outcome) -> Finding | None:
    if min(outcome.churners, outcome.stayers) < _FEWEST:
        return _note(name, found, outcome)
    why = tells_apart(found, outcome) or pure(found.marker, outcome) or pure(found.filled, outcome)
    if why:
        return Finding("separates", name, "leak", why, _REMOVE)
    why = _speaks_of_the_end(name, found, outcome)
    if why:
        return Finding("after churn", name, "leak", f"its name speaks of the end of a relationship, and {why}", _REMOVE)
    return _note(name, found, outcome)


def _note(name: str, found: Separation, outcome: Outcome) -> Finding | None:
    if found.area <= SEPARATES_ABOVE:
        return None
    evidence = f"it alone ranks churners with an AUC of {found.area:.3f}, but {_seen(outcome)} customers prove little."
    return Finding("separates", name, "note", evidence, "Look at how it is made.")


def tells_apart(found: Separation, outcome: Outcome, who: str = "churners") -> str:
    """Say why a column knows more of an outcome than anything known before could; empty where it does not.

    Parameters
    ----------
    found : Separation
        What the column knows.
    outcome : Outcome
        What it was measured against.
    who : str
        How to call the customers that the outcome marks.

    Examples
    --------
    >>> outcome = Outcome.of(np.arange(200) % 5 == 0)
    >>> tells_apart(separate(pa.chunked_array([outcome.label]), outcome), outcome)
    'it alone ranks churners with an AUC of 1.000 (40 against 160); above 0.95 is too good to be known before.'
    """
    enough = min(outcome.churners, outcome.stayers) >= _FEW
    if found.area > (SEPARATES_ABOVE if enough else PERFECT) and found.area_low > SURELY_ABOVE:
        ranks = f"it alone ranks {who} with an AUC of {found.area:.3f} ({_seen(outcome)})"
        return f"{ranks}; above {SEPARATES_ABOVE} is too good to be known before."
    if enough and found.explained > EXPLAINS_ABOVE and found.explained_low > SURELY_EXPLAINS:
        explains = f"it alone explains {found.explained:.0%} of the uncertainty about {who} ({_seen(outcome)})"
        return f"{explains}; above {EXPLAINS_ABOVE:.0%} is too good to be known before."
    return ""


def pure(
    marker: Marker | None,
    outcome: Outcome,
    who: str = "churners",
    *,
    share: float = PURE_ABOVE,
    odds: float = PURE_ODDS,
    customers: int = PURE_CUSTOMERS,
) -> str:
    """Say that hardly anybody in a cell stays; empty where enough do, or where most customers leave anyway.

    Parameters
    ----------
    marker : Marker or None
        The cell.
    outcome : Outcome
        What it was measured against.
    who : str
        How to call the customers that the outcome marks.
    share, odds, customers : number
        What the cell must reach.

    Examples
    --------
    >>> outcome = Outcome.of(np.arange(200) % 5 == 0)
    >>> pure(Marker("is filled", rows=20, customers=20, share=1.0, odds=31.0), outcome)
    'of the 20 rows where it is filled, 100.0% are churners (usual: 20.0%).'
    """
    if marker is None or outcome.rate >= MOST_RATE:
        return ""
    if marker.share - marker.beside < JUMP_ABOVE:
        return ""
    if marker.share < share or marker.odds < odds or marker.customers < customers:
        return ""
    usual = f"usual: {outcome.rate:.1%}"
    return f"of the {marker.rows:,} rows where it {marker.where}, {marker.share:.1%} are {who} ({usual})."


def _seen(outcome: Outcome) -> str:
    return f"{outcome.churners:,} against {outcome.stayers:,}"


def _speaks_of_the_end(name: str, found: Separation, outcome: Outcome) -> str:
    words = _words(name)
    surely = _OF_THE_END.search(words)
    if not surely and not _PERHAPS_OF_THE_END.search(words):
        return ""
    how, area, marker = ("it", found.area, found.marker)
    if not surely:
        how, area, marker = ("being filled or not", found.area_missing, found.filled)
    if area > NAMED_ABOVE:
        return f"{how} alone ranks churners with an AUC of {area:.3f} ({_seen(outcome)})."
    return pure(marker, outcome, share=NAMED_PURE_ABOVE, odds=NAMED_ODDS, customers=_FEWEST)


def _words(name: str) -> str:
    """A name in small letters, its words between underscores: `Churn Reason` and `churnReason` are `_churn_reason_`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return f"_{re.sub(r'[^a-z0-9]+', '_', apart.lower()).strip('_')}_"


def audit_blocks(blocks: Mapping[str, Iterable[str]]) -> tuple[Finding, ...]:
    """Look for rows that stand in two blocks.

    Parameters
    ----------
    blocks : mapping of block name to row keys
        Keys that are equal where rows are the same: customer and cutoff, or the customer of a plain table, where rows
        that came without an id and are equal in every column share one.

    Examples
    --------
    >>> audit_blocks({"train": ["a", "b"], "test": ["b", "c"]})[0].evidence
    '1 of 2 rows of test stands in train as well.'
    """
    keys: dict[str, set[str]] = {name: set(given) for name, given in blocks.items()}
    names = list(keys)
    pairs = [(earlier, later) for place, earlier in enumerate(names) for later in names[place + 1 :]]
    shared = {pair: len(keys[pair[0]] & keys[pair[1]]) for pair in pairs}
    return tuple(_duplicates(*pair, count, len(keys[pair[1]])) for pair, count in shared.items() if count)


def _duplicates(earlier: str, later: str, shared: int, rows: int) -> Finding:
    evidence = f"{shared:,} of {rows:,} rows of {later} {'stands' if shared == 1 else 'stand'} in {earlier} as well."
    advice = "Remove the copies, or give equal rows one id, so that they stay in one block."
    return Finding("duplicates", f"{earlier}/{later}", "leak", evidence, advice)
