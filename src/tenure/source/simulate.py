"""A subscription service of any size, made up, with the truth written beside it.

Enters: a `SimulationSpec`. Leaves: a folder with the event log, the customers, the true probability of every customer's
leaving at every cutoff, and a `tenure.toml` that uses them.
Invariant: the same specification gives the same bytes, and memory does not grow with the number of customers.

Time runs in periods of 30 days from `start`, a midnight in UTC. At the beginning of each period every subscribed
customer's probability of cancelling within it is worked out from what the log shows of the last 90 days and of the
tenure (see `tenure.source.simulation.hazard`), and one random number decides. `truth.parquet` has a row per subscribed
customer and cutoff:

- `customer_id`, `cutoff`: the beginning of a period. The first is 90 days after `start`, when the log holds every
  window in full; the last is 30 days before the log's end, so that every row's outcome is in the log.
- `hazard`: the exact probability, known at the cutoff, of a `cancel` event within the 30 days from it.
- `at_risk`: whether the customer logged in or had a session in the 60 days before, which is whom the `active` rule of
  the written `tenure.toml` selects.
- `churned`: whether the customer did cancel within the 30 days.

The hazard goes by what happened, so where events are late, a reader at the cutoff knows a little less than it does.

`churn_rate` is the mean hazard over the rows at risk. A covariate shift changes what customers do and not the law; a
concept shift changes the law and not what customers do, and at its cutoff it leaves the mean hazard as it was.

The log ends with the payments that are due at its very end, so its latest time is the end, and the last cutoff's labels
have matured. Seats are simulated in blocks of a fixed size, each with random numbers and a file of its own, so neither
the number of threads nor the order in which they finish changes a byte.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from tenure.core.errors import InputError
from tenure.core.files import atomic_folder
from tenure.core.progress import Progress, silent
from tenure.core.time import EPOCH, format_instant
from tenure.source.simulation.blocks import FIRST_CUTOFF, Block, Course, simulate_block
from tenure.source.simulation.planted import REASONS, FaultRates
from tenure.source.simulation.project import project_file
from tenure.source.simulation.service import Equilibrium, equilibrium
from tenure.source.simulation.tally import Tally

__all__ = ["PERIOD", "SimulationSpec", "SimulationSummary", "simulate"]

PERIOD = timedelta(days=30)
COVARIATE_PACE = 0.6
EARLIEST, LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SimulationSpec:
    """What to simulate.

    Parameters
    ----------
    customers : int
        Customers who are subscribed in any one period, from 100 to 100 million. Who cancels is replaced in the next
        period, so more than these appear in the log.
    months : int
        Length of the log in periods of 30 days, from 5 to 600.
    seed : int
        The same seed gives the same bytes.
    churn_rate : float
        Mean probability of cancelling within 30 days of customers at risk at a cutoff, from .005 to .5.
    late, duplicates, corrupt : float
        Shares of the events that are recorded after they happened, that appear twice, and beside which a row stands
        that breaks the log's contract; from 0 to .5. With `corrupt`, times and values are written as text.
    shift : "covariate", "concept" or None
        What changes during the log: customers use the service two fifths less, or they leave for other reasons.
    shift_at : datetime or None
        When; it takes effect with the first period that begins then or later. Default: after two thirds of the periods.
    start : datetime
        The log's first instant, a midnight in UTC. A log that ends in the future breaks its own contract.
    return_rate : float
        Probability per period, from 0 to .25, that a customer returns who has been away for two to seven whole periods.

    Raises
    ------
    InputError
        A value lies outside these bounds.

    Examples
    --------
    >>> spec = SimulationSpec(customers=500, months=6)
    >>> [format_instant(cutoff) for cutoff in spec.cutoffs]
    ['2024-03-31', '2024-04-30', '2024-05-30']
    >>> SimulationSpec(customers=5)
    Traceback (most recent call last):
    tenure.core.errors.InputError: customers = 5 is outside 100 to 100000000.
    → Choose a whole number within these bounds.
    """

    customers: int = 10_000
    months: int = 12
    seed: int = 0
    churn_rate: float = 0.15
    late: float = 0.0
    duplicates: float = 0.0
    corrupt: float = 0.0
    shift: Literal["covariate", "concept"] | None = None
    shift_at: datetime | None = None
    start: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    return_rate: float = 0.03

    def __post_init__(self) -> None:
        _whole("customers", self.customers, 100, 100_000_000)
        _whole("months", self.months, FIRST_CUTOFF + 2, 600)
        _whole("seed", self.seed, 0, 2**63 - 1)
        _share("churn_rate", self.churn_rate, 0.005, 0.5)
        for name in ("late", "duplicates", "corrupt"):
            _share(name, getattr(self, name), 0.0, 0.5)
        _share("return_rate", self.return_rate, 0.0, 0.25)
        self._check_start()
        self._check_shift()

    @property
    def end(self) -> datetime:
        """The log's last instant."""
        return self.start + self.months * PERIOD

    @property
    def cutoffs(self) -> tuple[datetime, ...]:
        """The cutoffs of the truth, in order."""
        return tuple(self.start + period * PERIOD for period in range(FIRST_CUTOFF, self.months))

    @property
    def shift_cutoff(self) -> datetime | None:
        """The beginning of the first period under the shift, or None without one."""
        if self.shift is None:
            return None
        if self.shift_at is None:
            return self.start + round(self.months * 2 / 3) * PERIOD
        return self.start + math.ceil((self.shift_at - self.start) / PERIOD) * PERIOD

    def _check_start(self) -> None:
        if self.start.tzinfo is None:
            raise InputError(f"start = {self.start} has no time zone.", hint="Give a datetime with tzinfo=UTC.")
        if not EARLIEST <= self.start <= LATEST or (self.start - EPOCH) % timedelta(days=1):
            raise InputError(
                f"start = {self.start.isoformat()} is not a midnight in UTC from 1980 to 2100.",
                hint="Windows are rounded to days in UTC; begin at one.",
                start=self.start,
            )

    def _check_shift(self) -> None:
        if self.shift not in (None, "covariate", "concept"):
            raise InputError(f"shift = {self.shift!r} is unknown.", hint='Known: "covariate", "concept" or none.')
        if self.shift_at is None:
            return
        if self.shift is None:
            raise InputError("shift_at is given and shift is not.", hint='Add shift = "covariate" or "concept".')
        if self.shift_at.tzinfo is None:
            raise InputError(f"shift_at = {self.shift_at} has no time zone.", hint="Give a datetime with tzinfo=UTC.")
        if not self.start < self.shift_at <= self.end - PERIOD:
            raise InputError(
                f"shift_at = {format_instant(self.shift_at)} would leave no period before or none after it.",
                hint=f"Choose a time after {format_instant(self.start)}, at most {format_instant(self.end - PERIOD)}.",
                shift_at=self.shift_at,
            )


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            f"{name} = {value!r} is outside {low} to {high}.", hint="Choose a whole number within these bounds."
        )


def _share(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(
            f"{name} = {value!r} is outside {low:g} to {high:g}.", hint="Choose a share within these bounds."
        )


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote, for a reader's findings to be held against.

    Parameters
    ----------
    events : dict of str to int
        Clean events by type: without duplicates and corrupt rows, late ones included.
    late : int
        Events whose `recorded` is later than their `time`; all others have none.
    duplicates : int
        Rows that repeat another one, id included.
    corrupt : dict of str to int
        Extra rows that break the contract, by reason.
    customers, returned : int
        Customers in the log, and how often one who had cancelled came back.
    cutoffs : tuple of datetime
        Cutoffs of the truth.
    truth, at_risk, churned : int
        Rows of the truth, those of them at risk, and those at risk that churned.
    expected_rate, churn_rate : float
        Mean hazard and share that churned of the rows at risk.
    hazard_auc : float
        Area under the ROC curve of the true hazard over the rows at risk, to about .0005: what no model can beat.
    shift_cutoff : datetime or None
        The first cutoff under the shift.
    """

    events: dict[str, int]
    late: int
    duplicates: int
    corrupt: dict[str, int]
    customers: int
    returned: int
    cutoffs: tuple[datetime, ...]
    truth: int
    at_risk: int
    churned: int
    expected_rate: float
    churn_rate: float
    hazard_auc: float
    shift_cutoff: datetime | None

    @property
    def rows(self) -> int:
        """Rows of the event log, faults included."""
        return sum(self.events.values()) + self.duplicates + sum(self.corrupt.values())


def simulate(
    spec: SimulationSpec, out: Path, progress: Progress = silent, *, overwrite: bool = False, threads: int = 2
) -> SimulationSummary:
    """Write a simulated service to the folder `out`.

    Parameters
    ----------
    spec : SimulationSpec
        What to simulate.
    out : Path
        Folder for `events/*.parquet`, `customers.parquet`, `truth.parquet` and `tenure.toml`. It appears when all of it
        is written.
    progress : Progress
        Called as `progress("simulate", done)`.
    overwrite : bool
        Put the result in the place of an earlier simulation, with everything that has been added to its folder.
    threads : int
        Blocks simulated at the same time; memory grows with it by about 100 MB each, the result does not change.

    Raises
    ------
    InputError
        `out` exists and is not empty, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "service"
    >>> summary = simulate(SimulationSpec(customers=200, months=6), out)
    >>> sorted(path.name for path in out.iterdir())
    ['customers.parquet', 'events', 'tenure.toml', 'truth.parquet']
    >>> summary.events["cancel"] >= summary.churned > 0
    True
    """
    _whole("threads", threads, 1, 64)
    out = out.resolve()
    _check_target(out, overwrite=overwrite)
    try:
        with atomic_folder(out, replace=out.exists()) as folder:
            tally = _write(spec, folder, progress, threads)
            (folder / "tenure.toml").write_text(project_file(spec.cutoffs, spec.corrupt), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The simulation cannot be written to {out}: {error.strerror or error}.",
            hint="Name a folder that you may write to, on a disk with room.",
            path=str(out),
        ) from error
    return _summary(spec, tally)


def _check_target(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(
            f"{out} exists and is not empty.",
            hint="Name another folder, or ask for it to be overwritten.",
            path=str(out),
        )
    # What is overwritten is deleted, so a slip in the path must not cost a folder of somebody's own.
    if not (out / "truth.parquet").is_file():
        raise InputError(
            f"{out} is not an earlier simulation: it holds no truth.parquet.",
            hint="Name another folder.",
            path=str(out),
        )


def _write(spec: SimulationSpec, folder: Path, progress: Progress, threads: int) -> Tally:
    """Write the tables block by block, in order, while the next blocks are being simulated."""
    settled = equilibrium(float(spec.churn_rate), float(spec.return_rate))
    course = _course(spec, settled)
    (folder / "events").mkdir()
    tally = Tally()
    # Closing the blocks waits for those under way, so that after a failure no thread writes to a folder that is gone.
    with ExitStack() as files, closing(_blocks(course, settled, folder / "events", threads)) as blocks:
        writers: dict[str, pq.ParquetWriter] = {}
        for done, block in enumerate(blocks, start=1):
            for name, table in (("customers", block.customers), ("truth", block.truth)):
                if name not in writers:
                    writers[name] = files.enter_context(pq.ParquetWriter(folder / f"{name}.parquet", table.schema))
                writers[name].write_table(table)
            tally.merge(block.tally)
            progress("simulate", done / course.blocks)
    return tally


def _blocks(course: Course, settled: Equilibrium, folder: Path, threads: int) -> Generator[Block, None, None]:
    """Blocks in order, at most `threads` of them under way; the list of those waiting stays as short."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        under_way: deque[Future[Block]] = deque()
        try:
            for index in range(course.blocks):
                path = folder / f"part-{index:05d}.parquet"
                under_way.append(pool.submit(simulate_block, course, settled, index, path))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for block in under_way:
                block.cancel()


def _course(spec: SimulationSpec, settled: Equilibrium) -> Course:
    shifted = [
        spec.shift_cutoff is not None and spec.start + period * PERIOD >= spec.shift_cutoff
        for period in range(spec.months)
    ]
    return Course(
        seats=spec.customers,
        periods=spec.months,
        seed=spec.seed,
        start=(spec.start - EPOCH) // timedelta(microseconds=1),
        laws=tuple(settled.changed if late and spec.shift == "concept" else settled.stable for late in shifted),
        paces=tuple(COVARIATE_PACE if late and spec.shift == "covariate" else 1.0 for late in shifted),
        return_rate=spec.return_rate,
        faults=FaultRates(spec.late, spec.duplicates, spec.corrupt),
    )


def _summary(spec: SimulationSpec, tally: Tally) -> SimulationSummary:
    stayed, churned = int(tally.stayed.sum()), int(tally.churned.sum())
    at_risk = stayed + churned
    return SimulationSummary(
        events=dict(tally.events),
        late=tally.faults["late"],
        duplicates=tally.faults["duplicate"],
        corrupt={reason: tally.faults[reason] for reason in REASONS},
        customers=tally.people["customers"],
        returned=tally.people["returned"],
        cutoffs=spec.cutoffs,
        truth=tally.people["truth"],
        at_risk=at_risk,
        churned=churned,
        expected_rate=tally.expected / at_risk,
        churn_rate=churned / at_risk,
        hazard_auc=tally.hazard_auc(),
        shift_cutoff=spec.shift_cutoff,
    )
