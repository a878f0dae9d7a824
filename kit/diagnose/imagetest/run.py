"""Run a self-test: bring the image, start it under the limits of a full run, end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kit.core.errors import KitError, UsageError
from kit.core.facts import guest_file
from kit.core.files import make_readable, readable_copy
from kit.core.store import Fetcher, Progress, Store, no_progress
from kit.core.version import Version
from kit.diagnose.imagetest.judge import (
    SelfTestCheck,
    checks_of,
    expectation_of,
    judge,
    judge_ending,
    judge_isolation,
)
from kit.diagnose.imagetest.report import (
    ATTENTION,
    CHECKS,
    CUDNN,
    MORE,
    SelfTestOutcome,
    last_error_line,
    read_report,
)
from kit.evaluate.gpus import cuda_of
from kit.evaluate.launch import CACHES, full_limits, gpu_variables, search_path
from kit.evaluate.prepare import bring_image
from kit.gpu.nvml import Nvml
from kit.gpu.preflight import NO_GPUS, GpuRequirements, Preflight, Sources, preflight
from kit.gpu.release import add_release, await_release
from kit.image.build import Layout
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.sandbox.folder import new_run_id
from kit.sandbox.isolation_probe import IsolationResult, probe
from kit.sandbox.run_guest import GuestRun, guest_directory, run_guest
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.port import Runtime
from kit.sandbox.supervise import RunCallbacks
from kit.sandbox.watchdog import watchdog
from kit.values.deadlines import Deadlines
from kit.values.run_result import Enforcement, RunStatus
from kit.values.run_spec import GpuDevice, ImageRef, RunSpec, RuntimeName

SCRIPTS = {
    CHECKS: (guest_file("selftest.py"),),
    CHECKS + MORE: (guest_file("selftest.py"), guest_file("selftest_v2.py")),
    CHECKS + CUDNN: tuple(
        guest_file(name) for name in ("selftest.py", "selftest_v2.py", "selftest_cudnn.py")
    ),
    CHECKS + ATTENTION: tuple(
        guest_file(name) for name in ("selftest.py", "selftest_v2.py", "selftest_attention.py")
    ),
}
"""The scripts of each set of checks; the last one is started, and imports the others."""
MOST_GPUS = 8
NO_RECORD = 0
TOTAL_S = 900.0
PYTHON = "python3"


@dataclass(frozen=True, slots=True)
class SelfTestContext:
    """Sources of images and GPUs for a self-test, and its progress callback."""

    images: Path
    store: Store
    fetchers: Sequence[Fetcher]
    gpus: Sources = field(default_factory=Sources)
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """Result of a self-test."""

    image: ImageRef
    enforcement: Enforcement
    gpus: int
    seconds: float
    """Seconds from the start of the guest to its end, on the host's monotonic clock."""
    checks: tuple[SelfTestCheck, ...]
    cancelled: bool

    @property
    def passed(self) -> bool:
        """Return whether no check failed."""
        return all(check.outcome is not SelfTestOutcome.FAILED for check in self.checks)

    def document(self) -> dict[str, object]:
        """Return the result as a JSON object."""
        return {
            "era": self.image.era,
            "passed": self.passed,
            "config": self.image.config_digest,
            "manifest": self.image.manifest_digest,
            "runtime": self.enforcement.runtime,
            "runtime_version": self.enforcement.version,
            "not_enforced": list(self.enforcement.not_enforced),
            "gpus": self.gpus,
            "seconds": round(self.seconds, 3),
            "checks": [
                {"id": c.id, "outcome": c.outcome, "detail": c.detail, "seconds": c.seconds}
                for c in self.checks
            ],
        }


def selftest(
    era: str,
    runtime: Runtime,
    context: SelfTestContext,
    gpus: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> SelfTestResult:
    """
    Start an image under the limits of a full run and return the result of its self-test.

    If `gpus` is None, the guest gets the machine's GPUs if they suit the image; if not, the skipped checks
    say why. A failed check does not raise. Raises `UsageError` for an unknown era, `PrerequisiteError` for
    an engine that is missing, `RunError` if the engine failed, and what `choose_gpus` and bringing the
    image raise.
    """
    spec = read_spec(context.images, era)
    lock = read_lock(spec)
    ready, no_gpus = choose_gpus(cuda_of(lock), runtime.name, context.gpus, gpus)
    if isinstance(runtime, Docker):
        runtime.require_engine()
    layout, image = bring_image(
        era, runtime, context.images, context.store, context.fetchers, context.progress
    )
    with guest_directory(None, "speedrun-selftest-") as scratch:
        scripts = SCRIPTS[checks_of(spec)]
        run_spec = _run_spec(layout, image, ready, scratch / "submission", scripts)
        probed, run = _run(run_spec, runtime, scratch, cancelled)
        result = run.result
        if ready.gpus:
            result = add_release(result, await_release(ready.gpus, context.gpus.nvml))
        expectation = expectation_of(spec, lock, no_gpus)
        report = read_report(run.output.pieces(), expectation.checks)
        error_line = last_error_line(run.output.pieces())
    return SelfTestResult(
        image=image,
        enforcement=run.enforcement,
        gpus=run_spec.gpus,
        seconds=result.wall_s,
        checks=(
            judge_isolation(probed),
            *judge(report, expectation),
            *judge_ending(result, report, error_line),
        ),
        cancelled=result.status is RunStatus.CANCELLED,
    )


def _run_spec(
    layout: Layout, image: ImageRef, ready: Preflight, submission: Path, scripts: tuple[Path, ...]
) -> RunSpec:
    """Return the RunSpec of an evaluation with the self-test as its submission; it starts the last script."""
    make_readable(submission, submission.parent)
    for script in scripts:
        readable_copy(script, submission)
    path = {"PATH": search_path(layout.era, PYTHON)}
    return RunSpec(
        run_id=new_run_id(NO_RECORD),
        image=image,
        submission=submission,
        argv=(PYTHON, scripts[-1].name),
        env=tuple(sorted({**path, **dict(layout.env), **CACHES, **gpu_variables(ready)}.items())),
        limits=full_limits(),
        deadlines=Deadlines(start_s=TOTAL_S, warmup_s=TOTAL_S, total_s=TOTAL_S),
        gpus=len(ready.gpus),
        gpu_devices=tuple(GpuDevice(gpu.uuid, gpu.minor) for gpu in ready.gpus),
        world_size=max(len(ready.gpus), 1),
    )


def _run(
    spec: RunSpec, runtime: Runtime, scratch: Path, cancelled: Callable[[], bool]
) -> tuple[IsolationResult, GuestRun]:
    with watchdog(runtime.reaper(spec.run_id)):
        probed = probe(runtime, spec, PYTHON, scratch)
        with run_guest(runtime, spec, scratch, callbacks=RunCallbacks(cancelled=cancelled)) as run:
            return probed, run


def choose_gpus(
    cuda: Version | None, runtime: RuntimeName, sources: Sources, gpu_count: int | None
) -> tuple[Preflight, str | None]:
    """
    Return the GPUs for the guest, and the reason if there are none.

    `cuda` is the CUDA version of the image, or None. Raises `UsageError` if `gpu_count` asks for GPUs and the
    image has no CUDA, `PrerequisiteError` if the machine has fewer GPUs or they do not suit the image.
    """
    if gpu_count == 0:
        return NO_GPUS, "disabled by --gpus 0"
    if cuda is None:
        if gpu_count is not None:
            raise UsageError("the image has no CUDA and cannot use GPUs", "leave --gpus out")
        return NO_GPUS, "the image has no CUDA"
    count = _count(sources.nvml) if gpu_count is None else gpu_count
    if count == 0:
        return NO_GPUS, "this machine has no NVIDIA GPU"
    engine = runtime is RuntimeName.DOCKER
    ready = preflight(GpuRequirements(count, "pass a smaller --gpus", cuda, engine), sources)
    if gpu_count is not None:
        ready.require()
    if ready.refusals:
        return NO_GPUS, "; ".join(finding.detail for finding in ready.refusals)
    return ready, None


def _count(nvml: Nvml) -> int:
    try:
        return min(len(nvml.read().gpus), MOST_GPUS)
    except KitError:
        return 1  # so that the preflight reports the fault
