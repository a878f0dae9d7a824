"""
Further runs of guests for the audits: canary streams, the start script, another validation window.

Every rerun has the run's own limits, image and watcher; only what is mounted or which script runs is another.
They run one after the other under the run's id, after its guest is gone. Judging is `kit.audit`'s.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kit.audit import baseline, canary, held_out
from kit.audit.baseline import RunTimings
from kit.audit.canary import CanaryStream, Rerun, StreamKind
from kit.audit.check import Check
from kit.audit.finding import Finding
from kit.audit.source import SourceFile
from kit.benchmark.submission import ENTRY
from kit.core.errors import KitError
from kit.data import canary_streams
from kit.data.canary_streams import TokenStream
from kit.data.shard import read_tokens, write_shard
from kit.evaluate import streams
from kit.evaluate.audits import AuditSelection, RerunAudit, start_arguments
from kit.evaluate.plan import DATA
from kit.evaluate.prepare import Prepared
from kit.evaluate.request import Places
from kit.gpu.release import await_release
from kit.sandbox.folder import RunFolder
from kit.sandbox.runtime.port import Guest
from kit.sandbox.supervise import RunCallbacks, supervise
from kit.sandbox.watchdog import watchdog
from kit.values.log import read_run
from kit.values.run_result import Point, RunResult, RunStatus
from kit.values.run_spec import Mount, Phase, RunSpec

SCREEN_LINES = 3
"""Validation lines after which a screen is ended; step 0 proves nothing."""
NOT_COMPLETED = "the run itself did not complete"
CANCELLED = "the operator cancelled"
REQUESTED = {
    StreamKind.UNIFORM: RerunAudit.UNIFORM,
    StreamKind.NGRAM: RerunAudit.NGRAM,
    StreamKind.MODEL: RerunAudit.MODEL,
}


@dataclass(frozen=True, slots=True)
class RerunContext:
    """What all reruns of one evaluation share."""

    ready: Prepared
    places: Places
    folder: RunFolder
    wanted: AuditSelection
    baseline: tuple[SourceFile, ...] | None
    reference_timings: RunTimings | None
    """How the start script went on this machine, if it ran anyway."""
    cancelled: Callable[[], bool]
    told: Callable[[str], None]

    def run(self, name: str, spec: RunSpec, lines: int | None = None) -> RunResult:
        """Run one guest to its end, or to `lines` validation lines; its log stays in the run's folder."""
        self.told(name)
        ready, runtime = self.ready, self.ready.plan.runtime
        seen: list[int] = []
        watch = RunCallbacks(
            point=lambda p: seen.append(p.step) if p.val_loss is not None else None,
            cancelled=lambda: self.cancelled() or (lines is not None and len(seen) >= lines),
        )
        self.log(name).parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.scratch, prefix="rerun-") as scratch:
            Path(scratch).chmod(0o755)

            def start() -> Guest:
                return runtime.start(spec, Path(scratch))

            with watchdog(runtime.reaper(spec.run_id)):
                result = supervise(spec, start, self.log(name), self.stamps(name), ready.plan.grammar, watch)
                if ready.preflight.gpus:
                    await_release(ready.preflight.gpus, self.places.gpus.nvml)
        return result

    def points(self) -> tuple[Point, ...]:
        """Return all claims of the run itself."""
        return read_run(self.folder.log, self.folder.stamps, self.ready.plan.grammar)

    def log(self, name: str) -> Path:
        """Where the output of a rerun is kept. It is not bound by the bundle; the figures are."""
        return self.folder.path / "audit" / f"{name}.log"

    def stamps(self, name: str) -> Path:
        """Where the stamps of a rerun are kept."""
        return self.log(name).with_suffix(".stamps")

    @property
    def val_name(self) -> str:
        """The name of the validation shard."""
        return next(f.name for f in self.ready.data.files if "_val_" in f.name)

    @property
    def data_folder(self) -> Path:
        """The folder of the mounted shards."""
        return next(m.source for m in self.ready.spec.mounts if m.target == DATA)

    @contextlib.contextmanager
    def with_val(self, spec: RunSpec, write: Callable[[Path], None]) -> Iterator[RunSpec]:
        """Give `spec` with another validation shard mounted over the one that is there."""
        with tempfile.TemporaryDirectory(dir=self.folder.scratch, prefix="shard-") as name:
            Path(name).chmod(0o755)
            shard = Path(name) / self.val_name
            write(shard)
            yield replace(spec, mounts=(*spec.mounts, Mount(shard, DATA / self.val_name)))

    @contextlib.contextmanager
    def start_script(self, files: tuple[SourceFile, ...]) -> Iterator[RunSpec]:
        """Give a spec that runs the start record's own script."""
        plan = self.ready.plan
        with tempfile.TemporaryDirectory(dir=self.folder.scratch, prefix="baseline-") as name:
            folder = Path(name)
            streams.write(folder, files)
            argv = replace(plan, entry=ENTRY, script_args=start_arguments(plan)).launcher()
            yield replace(self.ready.spec, submission=folder, argv=argv)


def audit(bench: RerunContext, result: RunResult) -> tuple[Finding, ...]:
    """
    Make every audit that is wanted and return the findings.

    Nothing is rerun if the run itself did not complete, or once the operator cancelled: skipped checks earn
    no trust. An engine that fails on a rerun makes that check skipped; the run's own record stands.
    """
    wanted = bench.wanted
    findings: list[Finding] = []
    streams_seen: dict[StreamKind, RunResult] = {}
    claimed = _last(result)
    if wanted.has(RerunAudit.SCREEN):
        findings.append(_canary(bench, StreamKind.UNIFORM, claimed, SCREEN_LINES, streams_seen))
    for kind, asked in REQUESTED.items():
        if wanted.has(asked) and not (kind is StreamKind.UNIFORM and wanted.has(RerunAudit.SCREEN)):
            findings.append(_canary(bench, kind, claimed, None, streams_seen))
    if wanted.has(RerunAudit.BASELINE, RerunAudit.HELD_OUT):
        findings += _against_start_script(bench, result, streams_seen.get(StreamKind.UNIFORM))
    elif bench.reference_timings is not None:
        findings += _against(bench.reference_timings, bench, result)
    return tuple(findings)


def _canary(
    bench: RerunContext,
    kind: StreamKind,
    claimed: float | None,
    lines: int | None,
    seen: dict[StreamKind, RunResult],
) -> Finding:
    check = canary.check_for(kind)
    if claimed is None:
        return check.skipped(NOT_COMPLETED)
    if bench.cancelled():
        return check.skipped(CANCELLED)
    return _made(check, lambda: _on_stream(bench, kind, claimed, lines, seen))


def _on_stream(
    bench: RerunContext,
    kind: StreamKind,
    claimed: float,
    lines: int | None,
    seen: dict[StreamKind, RunResult],
) -> Finding:
    drawn = _drawn(bench, kind)
    with bench.with_val(bench.ready.spec, _writer(bench, drawn)) as spec:
        seen[kind] = again = bench.run(f"canary-{kind}", spec, lines)
    stream = CanaryStream(kind, drawn.floor, drawn.standard_error, drawn.scored, bench.wanted.seed)
    stopped = lines is not None and again.status is RunStatus.CANCELLED
    rerun = Rerun(again.status, again.reason, again.points, stopped, again.wall_s)
    return canary.judge(stream, rerun, claimed)


def _made(check: Check, rerun: Callable[[], Finding]) -> Finding:
    """Return what a rerun showed; where it could not be made, its check alone is skipped."""
    try:
        return rerun()
    except KitError as e:
        return check.skipped(f"the rerun could not be made: {e.message}")


def _drawn(bench: RerunContext, kind: StreamKind) -> TokenStream:
    plan = bench.ready.plan
    ids = canary_streams.vocabulary(plan.smoke.guest.vocabulary if plan.smoke else canary_streams.VOCABULARY)
    match kind:
        case StreamKind.UNIFORM:
            return canary_streams.draw_uniform(bench.wanted.seed, ids, plan.val_tokens)
        case StreamKind.NGRAM:
            return canary_streams.draw_ngram(bench.wanted.seed, ids, plan.val_tokens)
        case StreamKind.MODEL:
            return streams.model(
                bench.ready, bench.places.store, bench.wanted.seed, lambda spec: _sampled(bench, spec)
            )


def _sampled(bench: RerunContext, spec: RunSpec) -> tuple[RunResult, Path]:
    result = bench.run("sampler", spec)
    return result, bench.log("sampler")


def _writer(bench: RerunContext, drawn: TokenStream) -> Callable[[Path], None]:
    size = next(f.size for f in bench.ready.data.files if f.name == bench.val_name)
    return lambda path: streams.write_stream(path, drawn, size)


def _against_start_script(
    bench: RerunContext, result: RunResult, uniform: RunResult | None
) -> Iterator[Finding]:
    if bench.baseline is None:
        yield from _not_compared(bench, "the start script is not at hand")
    elif _last(result) is None:
        yield from _not_compared(bench, NOT_COMPLETED)
    elif bench.cancelled():
        yield from _not_compared(bench, CANCELLED)
    else:
        with bench.start_script(bench.baseline) as spec:
            yield from _compared(bench, spec, result, uniform)


def _not_compared(bench: RerunContext, why: str) -> Iterator[Finding]:
    yield baseline.WARMUP.skipped(why)
    if bench.wanted.has(RerunAudit.HELD_OUT):
        yield held_out.HELD_OUT.skipped(why)


def _compared(
    bench: RerunContext, spec: RunSpec, result: RunResult, uniform: RunResult | None
) -> Iterator[Finding]:
    try:
        theirs = bench.run("baseline", spec)
        points = read_run(bench.log("baseline"), bench.stamps("baseline"), bench.ready.plan.grammar)
    except KitError as e:
        yield from _not_compared(bench, f"the start script could not be run: {e.message}")
        return
    yield from _against(course(theirs, points), bench, result)
    if uniform is not None:
        yield _made(canary.VERSUS_BASELINE, lambda: _on_noise(bench, spec, uniform))
    if bench.wanted.has(RerunAudit.HELD_OUT):
        yield _made(held_out.HELD_OUT, lambda: _held_out(bench, spec, result, theirs))


def _on_noise(bench: RerunContext, spec: RunSpec, uniform: RunResult) -> Finding:
    drawn = _drawn(bench, StreamKind.UNIFORM)
    with bench.with_val(spec, _writer(bench, drawn)) as noisy:
        again = bench.run("baseline-uniform", noisy)
    return canary.compare_with_baseline(uniform.points, again.points)


def _against(theirs: RunTimings, bench: RerunContext, result: RunResult) -> tuple[Finding, ...]:
    """Compare the run with how its start script went."""
    if _last(result) is None:
        return (baseline.WARMUP.skipped(NOT_COMPLETED),)
    return baseline.judge(course(result, bench.points()), theirs)


def _held_out(bench: RerunContext, spec: RunSpec, result: RunResult, theirs: RunResult) -> Finding:
    scored = bench.ready.plan.val_tokens
    tokens = read_tokens(bench.data_folder / bench.val_name)
    choices = canary_streams.count_windows(len(tokens), scored)
    if not choices:
        return held_out.HELD_OUT.skipped("the validation shard holds no second window")
    window = 1 + canary_streams.pick_number(bench.wanted.seed, "window", choices)

    def write(path: Path) -> None:
        write_shard(path, canary_streams.rotate(tokens, window * scored))

    with bench.with_val(bench.ready.spec, write) as rotated:
        mine_rotated = bench.run("held-out", rotated)
    with bench.with_val(spec, write) as rotated:
        theirs_rotated = bench.run("held-out-baseline", rotated)
    losses = held_out.RerunLosses(*(_last(r) for r in (result, mine_rotated, theirs, theirs_rotated)))
    return held_out.judge(losses, window)


def course(result: RunResult, points: tuple[Point, ...]) -> RunTimings:
    """
    Return how a run went, as the rules of ranked runs look at it; `points` are all of its claims.

    The time of a run that did not complete is nobody's measure: it has none.
    """
    times = {t.phase: t.seconds for t in result.phases}
    trained = Phase.TRAINING in times or Phase.TEARDOWN in times
    last = result.points[-1] if result.points else None
    end = last if _last(result) is not None else None
    return RunTimings(
        warmup_s=times.get(Phase.START, 0.0) + times.get(Phase.WARMUP, 0.0) if trained else None,
        to_last_val_s=end.host_ns / 1e9 if end and end.host_ns is not None else None,
        claimed_s=end.train_time_ms / 1e3 if end and end.train_time_ms is not None else None,
        steps=last.total_steps if last else None,
        validation_s=baseline.validation_s(points),
    )


def _last(result: RunResult) -> float | None:
    """Return the loss of a completed run's last validation line, if it is that of its last step."""
    if result.status is not RunStatus.COMPLETED or not result.points:
        return None
    last = result.points[-1]
    return last.val_loss if last.step == last.total_steps else None
