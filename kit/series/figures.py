"""What a series shows, computed from the verified bundles of all its runs. Believes no summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.result import folder
from kit.result.appraisal.timing import CountedTime
from kit.result.appraisal.verdict import has_loss
from kit.result.keys import Trusted
from kit.result.predicate import Verdict
from kit.result.verify import VerifiedBundle, open_bundle
from kit.score.metrics import MeanTest, Ratio, fieller, mean_below, mean_interval
from kit.series.documents import differences, other_scripts, read_documents
from kit.series.record import PLAN, Arm, SeriesBody, Slot
from kit.series.timing import times_of


@dataclass(frozen=True, slots=True)
class Member:
    """One reserved run."""

    slot: Slot
    bundle: VerifiedBundle | None
    """None if it never started."""
    time: CountedTime | None
    """Of a run that ended with a loss. A candidate's has its untimed overhead, if measured."""

    @property
    def counts(self) -> bool:
        """It ended with a loss."""
        return self.bundle is not None and has_loss(self.bundle.predicate)

    @property
    def loss(self) -> float | None:
        """Nats per token, if the run ended with a loss."""
        return self.bundle.predicate.claims.final_val_loss if self.counts and self.bundle else None

    @property
    def time_ms(self) -> float | None:
        """What it is scored by: its own clock's time and its untimed overhead."""
        return self.time.total if self.time else None


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """The runs of one arm."""

    arm: Arm
    reserved: int
    counted: int
    reached: int
    mean_ms: float | None
    low_ms: float | None
    """95 % interval of the mean time, from two runs on."""
    high_ms: float | None


@dataclass(frozen=True, slots=True)
class SeriesFigures:
    """A verified series."""

    body: SeriesBody
    trusted: bool
    members: tuple[Member, ...]
    arms: tuple[ArmFigures, ...]
    target: float
    loss: MeanTest | None
    """Of the candidate; None unless every reserved run of it ended with a loss: failures are not left out."""
    ratio: Ratio | None
    """FSR with Fieller's interval; None without three arms of two timed runs each."""

    @property
    def unresolved(self) -> bool:
        """Start and target were timed, and cannot be told apart."""
        return self.ratio is not None and not self.ratio.resolved


def open_series(path: Path, trusted: Trusted, records: Path) -> SeriesFigures:
    """
    Verify a series: plan, record, every run's bundle with its files, and that each is the reserved one.

    `path` is the series' folder; its runs are beside it; `records` has the facts about records. Raises as
    `read_documents` and `open_bundle`; `DigestMismatch` if a run is not the reserved one, or is missing, or
    if an arm is not its record's own script.
    """
    where = path.parent if path.is_file() else path
    if not (where / PLAN).is_file():
        raise PrerequisiteError(f"{where} is no folder of a series", "give <out>/<series_id>")
    documents = read_documents(where, trusted)
    for why in other_scripts(documents.plan, records):
        raise DigestMismatch(why)
    slot_runs = []
    for slot in documents.plan.slots:
        run = None
        if slot.run_id in documents.bundles:
            run = open_bundle(where.parent / slot.run_id / folder.BUNDLE, trusted)
            for why in differences(documents, run, sha256_file(run.path)):
                raise DigestMismatch(f"{run.path} {why}")
        slot_runs.append((slot, run))
    all_trusted = documents.trusted and all(run.trusted for _, run in slot_runs if run)
    times = times_of(documents.plan, {slot.run_id: run.predicate for slot, run in slot_runs if run})
    members = tuple(Member(slot, run, times.get(slot.run_id)) for slot, run in slot_runs)
    return _figures(SeriesBody(documents.plan, documents.ended), all_trusted, members)


def _figures(body: SeriesBody, all_trusted: bool, members: tuple[Member, ...]) -> SeriesFigures:
    arms = tuple(arm for arm in Arm if any(m.slot.arm is arm for m in members))
    times = {arm: [t for m in members if m.slot.arm is arm and (t := m.time_ms) is not None] for arm in arms}
    mine = [m for m in members if m.slot.arm is Arm.CANDIDATE]
    losses = [loss for m in mine if (loss := m.loss) is not None]
    target = next((m.bundle.predicate.task.target_val_loss for m in mine if m.bundle), float("nan"))
    ratio = None
    if set(arms) == set(Arm) and min(len(t) for t in times.values()) >= 2:
        ratio = fieller(times[Arm.START], times[Arm.TARGET], times[Arm.CANDIDATE])
    return SeriesFigures(
        body=body,
        trusted=all_trusted,
        members=members,
        arms=tuple(_arm(arm, [m for m in members if m.slot.arm is arm], times[arm]) for arm in arms),
        target=target,
        loss=mean_below(losses, target) if losses and len(losses) == len(mine) else None,
        ratio=ratio,
    )


def _arm(arm: Arm, members: list[Member], times: list[float]) -> ArmFigures:
    low, high = mean_interval(times) if len(times) >= 2 else (None, None)
    reached = sum(
        m.bundle is not None and m.bundle.predicate.score.verdict is Verdict.REACHED for m in members
    )
    mean = sum(times) / len(times) if times else None
    return ArmFigures(arm, len(members), sum(m.counts for m in members), reached, mean, low, high)
