"""
Conducting one prepared run: reserve, probe, supervise, audit, sign. Every reserved run ends in a record.

The order is the promise: the intent is durable before anything starts, the watcher stands before the guest
does, the key is read before the guest starts and used after it is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.audit import floor, trace
from kit.audit.finding import Finding
from kit.bundle.keys import load_or_create, throwaway
from kit.bundle.predicate import Predicate
from kit.bundle.statement import Subjects, statement
from kit.digest import Sha256, tree_digest
from kit.errors import KitError, RunError
from kit.evaluate.compose import compose
from kit.evaluate.lost import lost_result, mark_lost, sign
from kit.evaluate.prepare import Prepared
from kit.evaluate.request import Places
from kit.run.folder import RunFolder, reserve
from kit.run.probe import Probe, ProbeCheck, probe
from kit.run.release import await_release, proved
from kit.run.result import RunResult
from kit.run.runtime.port import Enforcement, Guest
from kit.run.supervise import Watch, supervise
from kit.run.watcher import watched


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what, beside the run's own `Watch`."""

    watch: Watch = field(default_factory=Watch)
    reserved: Callable[[RunFolder], None] = lambda folder: None
    probed: Callable[[Probe], None] = lambda probe: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an evaluation."""

    predicate: Predicate
    bundle: Path


def conduct(ready: Prepared, places: Places, listener: Listener) -> Outcome:
    """
    Run what was prepared and return its signed record.

    A guest that fails is an outcome. Raises `RunError` if the kit or the engine failed; the record then
    says `lost` and why.
    """
    signer = load_or_create(places.keys) if ready.plan.runtime.contains else throwaway()
    submission = tree_digest({f.name: f.sha256 for f in ready.files})
    intent = _statement(
        ready, places, lost_result(ready.spec, "the kit ended before the run did"), submission
    )
    with reserve(places.out, ready.spec.run_id, intent, ready.spec.submission) as folder:
        listener.reserved(folder)
        try:
            result, checks, enforcement = _run(ready, places, folder, listener)
        except BaseException as e:
            reason = e.message if isinstance(e, KitError) else f"the kit failed: {type(e).__name__}: {e}"
            mark_lost(folder, signer, reason)
            raise
        predicate = compose(ready, places, result, checks, enforcement, _audit(ready, result))
        subjects = Subjects(submission, result.log_sha256, result.stamps_sha256)
        sign(folder, signer, statement(predicate, subjects))
    return Outcome(predicate, folder.result)


def _statement(ready: Prepared, places: Places, result: RunResult, submission: Sha256) -> bytes:
    predicate = compose(ready, places, result, (), None, ())
    return statement(predicate, Subjects(submission, result.log_sha256, result.stamps_sha256))


def _run(
    ready: Prepared, places: Places, folder: RunFolder, listener: Listener
) -> tuple[RunResult, tuple[ProbeCheck, ...], Enforcement]:
    runtime = ready.plan.runtime
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

        def start() -> Guest:
            started.append(runtime.start(ready.spec, folder.scratch))
            return started[0]

        result = supervise(ready.spec, start, folder.log, folder.stamps, ready.plan.grammar, listener.watch)
        if ready.preflight.gpus:
            result = proved(result, await_release(ready.preflight.gpus, places.gpus.nvml))
    return result, checks, started[0].enforcement


def _audit(ready: Prepared, result: RunResult) -> tuple[Finding, ...]:
    smoke = ready.plan.smoke
    return (
        floor.check(result.points, smoke.floor if smoke else None),
        trace.clock(result.points),
        trace.monotone(result.points),
    )
