"""
Conducting one prepared run: reserve, probe, supervise, audit, sign. Every reserved run ends in a record.

The order is the promise: the intent is durable before anything starts, the watcher stands before the guest
does, the key is read before the guest starts and used after it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.audit.baseline import Course
from kit.core.digest import Sha256, tree_digest
from kit.core.errors import KitError, RunError, UsageError
from kit.evaluate import reruns
from kit.evaluate.audits import Wanted, at_rest, start_script
from kit.evaluate.compose import NOTHING_SEEN, Seen, compose
from kit.evaluate.prepare import Prepared
from kit.evaluate.recovery import lost_result, mark_lost, sign
from kit.evaluate.request import Places
from kit.gpu.release import await_release, proved
from kit.result.keys import load_or_create, throwaway
from kit.result.predicate import Predicate
from kit.result.statement import Subjects, statement
from kit.sandbox.folder import RunFolder, reserve
from kit.sandbox.isolation_probe import Probe, ProbeCheck, probe
from kit.sandbox.runtime.port import Guest
from kit.sandbox.speed_probe import Speed, measure
from kit.sandbox.supervise import Watch, supervise
from kit.sandbox.watchdog import watched
from kit.values.run_result import RunResult


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what, beside the run's own `Watch`."""

    watch: Watch = field(default_factory=Watch)
    reserved: Callable[[RunFolder], None] = lambda folder: None
    probed: Callable[[Probe], None] = lambda probe: None
    measured: Callable[[Speed], None] = lambda speed: None
    """Called with how fast the run's GPUs are."""
    rerunning: Callable[[str], None] = lambda name: None
    """Called with the name of each further run that an audit starts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an evaluation."""

    predicate: Predicate
    bundle: Path
    course: Course
    """How it went, for a run that is compared with it."""


def conduct(
    ready: Prepared,
    places: Places,
    listener: Listener,
    wanted: Wanted | None = None,
    beside: Course | None = None,
) -> Outcome:
    """
    Run what was prepared, make the audits that are wanted, and return the signed record.

    `beside` is how the start script went on this machine, where somebody ran it anyway: the run is compared
    with that, unless an audit runs the start script itself.

    A guest that fails is an outcome. Raises `RunError` if the kit or the engine failed, `PrerequisiteError`
    if the prepared GPUs are not fit; the record then says `lost` and why. Raises `UsageError` for audits in
    a runtime that contains nothing.
    """
    wanted = wanted or Wanted()
    if wanted.audits and not ready.plan.runtime.contains:
        raise UsageError("audits by further runs need a runtime that contains the guest", "leave --audit out")
    start = start_script(ready.plan, places)
    signer = load_or_create(places.keys) if ready.plan.runtime.contains else throwaway()
    submission = tree_digest({f.name: f.sha256 for f in ready.files})
    intent = _statement(
        ready, places, lost_result(ready.spec, "the kit ended before the run did"), submission
    )
    with reserve(places.out, ready.spec.run_id, intent, ready.spec.submission) as folder:
        listener.reserved(folder)
        try:
            result, seen = _run(ready, places, folder, listener)
            bench = reruns.Bench(
                ready, places, folder, wanted, start, beside, listener.watch.cancelled, listener.rerunning
            )
            findings = (*at_rest(ready, folder, result, start), *reruns.audit(bench, result))
        except BaseException as e:
            reason = e.message if isinstance(e, KitError) else f"the kit failed: {type(e).__name__}: {e}"
            mark_lost(folder, signer, reason)
            raise
        predicate = compose(ready, places, result, seen, findings)
        subjects = Subjects(submission, result.log_sha256, result.stamps_sha256)
        sign(folder, signer, statement(predicate, subjects))
    return Outcome(predicate, folder.result, reruns.course(result, bench.points()))


def _statement(ready: Prepared, places: Places, result: RunResult, submission: Sha256) -> bytes:
    predicate = compose(ready, places, result, NOTHING_SEEN, ())
    return statement(predicate, Subjects(submission, result.log_sha256, result.stamps_sha256))


def _run(ready: Prepared, places: Places, folder: RunFolder, listener: Listener) -> tuple[RunResult, Seen]:
    runtime = ready.plan.runtime
    ready.preflight.require()
    checks: tuple[ProbeCheck, ...] = ()
    started: list[Guest] = []
    with watched(runtime.reaper(ready.spec.run_id)):
        if runtime.contains:
            found = probe(runtime, ready.spec, ready.plan.python, folder.scratch)
            listener.probed(found)
            checks = found.checks
            if found.failed:
                listed = "; ".join(f"{c.id}: {c.detail}" for c in found.failed)
                raise RunError(
                    f"the {runtime.name} runtime does not contain: {listed}", "see: speedrun doctor"
                )

        speed = _speed(ready, places, folder, listener)

        def start() -> Guest:
            started.append(runtime.start(ready.spec, folder.scratch))
            return started[0]

        result = supervise(ready.spec, start, folder.log, folder.stamps, ready.plan.grammar, listener.watch)
        if ready.preflight.gpus:
            result = proved(result, await_release(ready.preflight.gpus, places.gpus.nvml))
    return result, Seen(checks, started[0].enforcement, speed)


def _speed(ready: Prepared, places: Places, folder: RunFolder, listener: Listener) -> Speed | None:
    """Measure the run's GPUs, if it has any, and wait until their memory is back."""
    if not ready.preflight.gpus:
        return None
    speed = measure(ready.plan.runtime, ready.spec, ready.plan.python, folder.scratch)
    listener.measured(speed)
    await_release(ready.preflight.gpus, places.gpus.nvml)
    return speed
