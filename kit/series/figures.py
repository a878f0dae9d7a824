"""What a series shows, computed from the verified bundles of all its runs. Believes no summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.bundle import folder
from kit.bundle.keys import Trusted
from kit.bundle.predicate import Predicate, Verdict
from kit.bundle.verify import Verified, open_bundle
from kit.digest import sha256_file
from kit.errors import DigestMismatch
from kit.metrics import MeanTest, Ratio, fieller, mean_below, mean_interval
from kit.series.record import PLAN, RECORD, Arm, SeriesBody, Slot, read


@dataclass(frozen=True, slots=True)
class Member:
    """One reserved run."""

    slot: Slot
    found: Verified | None
    """None if it never started."""

    @property
    def loss(self) -> float | None:
        """Nats per token, if the run ended with a loss."""
        return self.found.predicate.claims.final_val_loss if self.counts and self.found else None

    @property
    def time_ms(self) -> float | None:
        """The time that it claims, else the host's from the first step on, if the run completed."""
        return time_ms(self.found.predicate) if self.counts and self.found else None

    @property
    def counts(self) -> bool:
        """It ended with a loss, whether that reached the target or not."""
        return self.found is not None and self.found.predicate.score.verdict in (
            Verdict.REACHED,
            Verdict.MISSED,
        )


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


def open_series(path: Path, trusted: Trusted) -> SeriesFigures:
    """
    Verify a series: plan, record, every run's bundle with its files, and that each is the reserved one.

    `path` is the series' folder; its runs are beside it. Raises as `read` and `open_bundle`;
    `DigestMismatch` if a run is not the reserved one, or is missing.
    """
    where = path if path.is_dir() else path.parent
    planned, _, _ = read(where / PLAN, trusted)
    body, digests, known = read(where / RECORD, trusted)
    ended = body.ended
    plan_sha256 = sha256_file(where / PLAN)
    if ended is None or ended.plan_sha256 != plan_sha256 or planned.plan != body.plan:
        raise DigestMismatch(f"{where / RECORD} is not the record of {PLAN}")
    if sorted([*digests, *ended.not_started]) != sorted(slot.run_id for slot in body.plan.slots):
        raise DigestMismatch(f"{where / RECORD} does not account for every reserved run")
    members = []
    for slot in body.plan.slots:
        found = None
        if slot.run_id in digests:
            bundle = where.parent / slot.run_id / folder.BUNDLE
            found = open_bundle(bundle, trusted)
            _require_reserved(found, slot, plan_sha256, digests[slot.run_id])
        members.append(Member(slot, found))
    return _figures(body, known, tuple(members))


def _require_reserved(found: Verified, slot: Slot, plan_sha256: str, digest: str) -> None:
    p = found.predicate
    named = p.series.plan_sha256 if p.series else None
    if (p.run.id, p.run.nonce, named) != (slot.run_id, slot.nonce, plan_sha256):
        raise DigestMismatch(f"{found.path} is not the run that was reserved as {slot.run_id}")
    if found.statement.subjects.submission != slot.submission_sha256:
        raise DigestMismatch(f"{found.path} ran another submission than was reserved")
    if sha256_file(found.path) != digest:
        raise DigestMismatch(f"{found.path} is not the bundle that the series' record binds")


def time_ms(p: Predicate) -> float | None:
    """Return the guest's own time where it has a clock, else the host's from the first step on."""
    if p.claims.train_time_ms is not None:
        return float(p.claims.train_time_ms)
    return None if p.observations.train_wall_s is None else 1000 * p.observations.train_wall_s


def _figures(body: SeriesBody, known: bool, members: tuple[Member, ...]) -> SeriesFigures:
    arms = tuple(arm for arm in Arm if any(m.slot.arm is arm for m in members))
    times = {arm: [t for m in members if m.slot.arm is arm and (t := m.time_ms) is not None] for arm in arms}
    mine = [m for m in members if m.slot.arm is Arm.CANDIDATE]
    losses = [loss for m in mine if (loss := m.loss) is not None]
    target = next((m.found.predicate.task.target_val_loss for m in mine if m.found), float("nan"))
    ratio = None
    if set(arms) == set(Arm) and min(len(t) for t in times.values()) >= 2:
        ratio = fieller(times[Arm.START], times[Arm.TARGET], times[Arm.CANDIDATE])
    return SeriesFigures(
        body=body,
        trusted=known,
        members=members,
        arms=tuple(_arm(arm, [m for m in members if m.slot.arm is arm], times[arm]) for arm in arms),
        target=target,
        loss=mean_below(losses, target) if losses and len(losses) == len(mine) else None,
        ratio=ratio,
    )


def _arm(arm: Arm, members: list[Member], times: list[float]) -> ArmFigures:
    low, high = mean_interval(times) if len(times) >= 2 else (None, None)
    reached = sum(m.found is not None and m.found.predicate.score.verdict is Verdict.REACHED for m in members)
    mean = sum(times) / len(times) if times else None
    return ArmFigures(arm, len(members), sum(m.counts for m in members), reached, mean, low, high)
