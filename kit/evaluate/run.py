"""
Run one prepared plan: reserve, probe, supervise, audit, sign. Every reserved run ends in a record.

The order is the promise: the reservation is signed and durable before anything starts, the watchdog stands
before the guest does, the key is read before the guest starts and used after it is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kit.audit.baseline import RunTimings
from kit.audit.parsing import SourceFile
from kit.core.digest import tree_digest
from kit.core.errors import KitError, UsageError
from kit.evaluate import reruns
from kit.evaluate.audits import AuditSelection, RerunAudit, static_findings
from kit.evaluate.compose import NOTHING_SEEN, HostObservations, compose
from kit.evaluate.interrupted import INTERRUPTED, lost_result
from kit.evaluate.prepare import Prepared
from kit.evaluate.recovery import mark_lost, sign
from kit.evaluate.request import Places
from kit.evaluate.rerun_context import RerunContext
from kit.evaluate.task_data import HeldOutSource
from kit.evaluate.turn import gpu_turn
from kit.evaluate.val_mount import ENGINE_PREFIX, copy_of, mounted_val, val_name, val_path
from kit.gpu.release import add_release, await_release
from kit.result.keys import Signer, load_or_create, throwaway
from kit.result.predicate import Predicate
from kit.result.reservation import reserve_run
from kit.result.statement import Subjects, statement
from kit.sandbox.folder import RunFolder, reserve
from kit.sandbox.isolation_probe import IsolationResult, ProbeCheck, probe, require_isolation
from kit.sandbox.run_guest import run_guest
from kit.sandbox.smi_probe import require_nvidia_smi
from kit.sandbox.speed_probe import GpuSpeed, measure
from kit.sandbox.supervise import RunCallbacks
from kit.sandbox.watchdog import watchdog
from kit.values.output import StoredOutput
from kit.values.run_result import Point, RunResult
from kit.values.run_spec import RunSpec


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks for the stages of an evaluation; `watch` holds those of the run itself."""

    watch: RunCallbacks = field(default_factory=RunCallbacks)
    waiting: Callable[[int | None], None] = lambda pid: None
    """Called if the run waits for another one on the same GPUs, with the id of its process if it is known."""
    reserved: Callable[[RunFolder], None] = lambda folder: None
    probed: Callable[[IsolationResult], None] = lambda probe: None
    measured: Callable[[GpuSpeed], None] = lambda speed: None
    """Called with the speed of the run's GPUs."""
    auditing: Callable[[], None] = lambda: None
    """Called when the run has ended and its checks begin."""
    rerunning: Callable[[str], None] = lambda name: None
    """Called with the name of each further run that an audit starts."""
    rerun_point: Callable[[Point], None] = lambda point: None
    """Called with each claim of such a run."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The outcome of an evaluation."""

    predicate: Predicate
    bundle: Path
    timings: RunTimings
    """Its times, for a run that is compared with it."""


def run_prepared(
    ready: Prepared,
    places: Places,
    listener: Listener,
    selection: AuditSelection | None = None,
    reference_timings: RunTimings | None = None,
) -> Evaluation:
    """
    Run a prepared plan, make the selected audits, and return the signed result.

    `reference_timings`: how the start script ran on this machine, where a series ran it anyway. The run is
    compared with it, unless an audit runs the start script itself.

    A guest that fails is an outcome. Raises `RunError` if the kit or the engine failed, `PrerequisiteError`
    if the prepared GPUs are not fit; the record then says `lost` and why. Raises `UsageError` for audits in
    a runtime that contains nothing. Shards of held-out text are brought before the run is reserved; raises
    as `TaskData.bring_held_out` does. Raises `InterruptedWait` if the user interrupted it while it waited for
    its GPUs; then nothing was reserved.
    """
    selection = selection or AuditSelection()
    if selection.audits and not ready.plan.runtime.contains:
        raise UsageError(
            "--audit needs a runtime that isolates the guest", "use --runtime runc or docker, or omit --audit"
        )
    start = ready.plan.terms.start_script.files(places)
    wants_held_out = selection.has(RerunAudit.HELD_OUT)
    held_out = ready.plan.terms.data.bring_held_out(places) if wants_held_out else None
    with gpu_turn(ready, places, listener.watch.cancelled, listener.waiting) as ready:
        return _run_reserved(ready, places, listener, selection, reference_timings, start, held_out)


def _run_reserved(
    ready: Prepared,
    places: Places,
    listener: Listener,
    selection: AuditSelection,
    reference_timings: RunTimings | None,
    start: tuple[SourceFile, ...] | None,
    held_out: HeldOutSource | None,
) -> Evaluation:
    """Reserve a run, run it, audit it, and sign its result."""
    signer = load_or_create(places.keys) if ready.plan.runtime.contains else throwaway()
    reserver = _reserver(places, signer)
    submission = tree_digest({f.name: f.sha256 for f in ready.files})
    planned = compose(ready, places, lost_result(ready.spec, INTERRUPTED), NOTHING_SEEN, ())
    with reserve(
        places.out,
        ready.spec.run_id,
        lambda lease: reserve_run(planned, submission, lease, reserver),
        ready.spec.submission,
    ) as folder:
        listener.reserved(folder)
        try:
            result, observations = _run(ready, places, folder, listener)
            context = RerunContext(
                ready,
                places,
                folder,
                selection,
                start,
                reference_timings,
                listener.watch.cancelled,
                listener.rerunning,
                held_out,
                listener.rerun_point,
            )
            listener.auditing()
            static = static_findings(ready, folder, result, start)
            report = reruns.audit(context, result)
        except BaseException as e:
            reason = e.message if isinstance(e, KitError) else f"speedrun failed: {type(e).__name__}: {e}"
            mark_lost(folder, signer, planned, submission, reason)
            raise
        findings = (*static, *report.findings)
        predicate = compose(ready, places, result, observations, findings, context.points(), report.held_out)
        subjects = Subjects(submission, result.log_sha256, result.stamps_sha256)
        sign(folder, signer, statement(predicate, subjects))
    return Evaluation(predicate, folder.result, reruns.timings_of(result, context.points()))


def _reserver(places: Places, signer: Signer) -> Signer:
    """
    Return the key that signs the reservation: the user's, even if the result gets a throwaway key.

    A run whose reservation is signed with a key that is gone cannot be closed once it is interrupted: that is
    only so for a runtime that contains nothing, on a machine where this user cannot keep a key.
    """
    if not signer.throwaway:
        return signer
    try:
        return load_or_create(places.keys)
    except KitError:
        return signer


def _run(
    ready: Prepared, places: Places, folder: RunFolder, listener: Listener
) -> tuple[RunResult, HostObservations]:
    runtime = ready.plan.runtime
    ready.preflight.require()
    checks: tuple[ProbeCheck, ...] = ()
    with watchdog(runtime.reaper(ready.spec.run_id)):
        if runtime.contains:
            probed = probe(runtime, ready.spec, ready.plan.python, folder.scratch)
            listener.probed(probed)
            checks = probed.checks
            require_isolation(probed)
            if ready.preflight.gpus:
                require_nvidia_smi(runtime, ready.spec, folder.scratch)
        speed = _speed(ready, places, folder, listener)
        output, grammar = StoredOutput(folder.log, folder.stamps), ready.plan.terms.grammar
        with (
            _own_val(ready, folder) as spec,
            run_guest(
                runtime, spec, folder.scratch, output, grammar, listener.watch, prefix=ENGINE_PREFIX
            ) as run,
        ):
            result = run.result
            if ready.preflight.gpus:
                result = add_release(result, await_release(ready.preflight.gpus, places.gpus.nvml))
    return result, HostObservations(checks, run.enforcement, speed)


@contextlib.contextmanager
def _own_val(ready: Prepared, folder: RunFolder) -> Iterator[RunSpec]:
    """Mount the run's validation shard as in its reruns, which only an isolating runtime has."""
    if not ready.plan.runtime.contains:
        yield ready.spec
        return
    write = copy_of(val_path(ready))
    with mounted_val(ready.spec, val_name(ready), folder.scratch, write) as spec:
        yield spec


def _speed(ready: Prepared, places: Places, folder: RunFolder, listener: Listener) -> GpuSpeed | None:
    """Measure the run's GPUs, if it has any, and wait until their memory is back."""
    if not ready.preflight.gpus:
        return None
    speed = measure(ready.plan.runtime, ready.spec, ready.plan.python, folder.scratch)
    listener.measured(speed)
    await_release(ready.preflight.gpus, places.gpus.nvml)
    return speed
