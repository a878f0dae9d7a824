"""
Try a submission for a few steps, as an edit loop does. Gives no result and writes nothing into the runs.

The guest gets the mounts, limits and isolation of a run. There is no probe, no audit, no rerun and no bundle.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kit.core.errors import UsageError
from kit.core.facts import guest_file
from kit.core.files import readable_copy
from kit.evaluate.launch import PORT, free_port
from kit.evaluate.prepare import Prepared
from kit.evaluate.request import Request
from kit.evaluate.trial import StepBound, run_bounded
from kit.sandbox.run_guest import guest_directory
from kit.sandbox.supervise import RunCallbacks
from kit.values.output import StoredOutput
from kit.values.profile import Profile
from kit.values.run_result import Point, RunResult, RunStatus
from kit.values.run_spec import Mount, RunSpec

STEPS = 15
"""The trial ends at the first line of this step or a later one."""
VALIDATIONS = 2
"""The trial ends at this many validation lines, for scripts that print no training lines."""
BOUND = StepBound(STEPS, VALIDATIONS)
PREFIX = "speedrun-quick-"
KEPT_S = 86_400.0
"""Seconds for which the log of a trial is kept."""
LAUNCHER = guest_file("ranks.py")
TARGET = PurePosixPath("/input/ranks.py")


@dataclass(frozen=True, slots=True)
class QuickTrial:
    """How a trial ended. It is no result: nothing is signed, and nothing was audited."""

    result: RunResult
    is_enough: bool
    """Whether the kit ended the script because it had printed enough."""
    last: Point | None
    """The newest line that counts."""
    val_loss: float | None
    """Nats per token, of the newest validation line."""
    log: Path
    """What the script printed, in a directory for temporary files."""

    @property
    def is_ok(self) -> bool:
        """Tell whether the script printed lines that count, and neither crashed nor ran into a limit."""
        return self.last is not None and (self.is_enough or self.result.status is RunStatus.COMPLETED)


def require_quick(request: Request) -> None:
    """Raise `UsageError` if a request is not one for a quick trial: only the smoke profile has them."""
    if request.profile is not Profile.SMOKE:
        raise UsageError(
            "--quick needs the smoke profile",
            "omit --quick; a submission of the smoke profile needs --profile smoke",
        )


def try_quickly(ready: Prepared, callbacks: RunCallbacks) -> QuickTrial:
    """
    Start a prepared run's guest and end it after a few steps.

    The log stays in a new directory below the system's directory for temporary files. Raises what the
    runtime's start raises, and `RunError` if the watchdog does not start or the disk is full.
    """
    _remove_old_logs(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    output = StoredOutput(folder / "guest.log", folder / "stamps")
    with guest_directory(None, PREFIX) as scratch:
        run = run_bounded(ready, _spec(ready, scratch), scratch, output, BOUND, callbacks)
    return QuickTrial(run.result, run.is_enough, run.last, run.val_loss, output.log)


def _remove_old_logs(folder: Path) -> None:
    """Remove this user's logs of trials that are older than `KEPT_S`; what cannot be removed stays."""
    for old in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = old.lstat()
            own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if own and time.time() - status.st_mtime > KEPT_S:
                shutil.rmtree(old, ignore_errors=True)


def _spec(ready: Prepared, scratch: Path) -> RunSpec:
    """Return the run's spec, without torchrun, which takes seconds to import torch."""
    plan = ready.plan
    launcher = readable_copy(LAUNCHER, scratch)
    where = str(TARGET) if plan.runtime.contains else str(launcher)
    ranks = (str(plan.terms.world_size), str(free_port() if not plan.runtime.contains else PORT))
    return replace(
        ready.spec,
        argv=(plan.python, "-S", where, *ranks, plan.entry, *plan.script_args),
        mounts=(*ready.spec.mounts, Mount(launcher, TARGET)),
    )
