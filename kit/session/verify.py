"""Verify a session's directory: all that `agent verify` checks, and the scripts and logs of its tries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kit.agent.nodefiles import NodeFiles
from kit.agent.recorded import RecordedRun, fault_text
from kit.agent.tool_events import ToolCalled, TryEnded, TryLost, TryReserved
from kit.agent.verify import RunCheck, verify_run
from kit.core.errors import KitError
from kit.core.text import one_line
from kit.result.keys import Trusted
from kit.session.logs import log_sha256, try_log
from kit.session.trials import LOG, TRIES


def verify_session(folder: Path, trusted: Trusted) -> RunCheck:
    """Verify a session's directory; finished, interrupted or running. Raises as `verify_run` does."""
    check = verify_run(folder, trusted)
    if check.run is None:
        return check
    faults = (*check.faults, *map(one_line, _call_faults(check.run)), *map(one_line, _try_faults(check.run)))
    return replace(check, faults=faults)


def _call_faults(run: RecordedRun) -> Iterator[str]:
    """Yield gaps in the numbers of the calls."""
    numbers = [e.call for e in run.contents.events if isinstance(e, ToolCalled)]
    for place, number in enumerate(numbers, start=1):
        if number != place:
            yield f"the journal has call {number} where call {place} is expected"
            return


def _try_faults(run: RecordedRun) -> Iterator[str]:
    """Yield tries whose files are not those of the journal, and charges that are not their times."""
    events = run.contents.events
    reserved = {e.trial: e for e in events if isinstance(e, TryReserved)}
    ended = {e.trial for e in events if isinstance(e, TryEnded | TryLost)}
    if list(reserved) != list(range(1, len(reserved) + 1)):
        yield "the tries of the journal are not numbered from 1"
    for trial, event in reserved.items():
        try:
            NodeFiles(run.folder, trial, TRIES).read_submission(event.submission_sha256)
        except (KitError, OSError) as e:
            yield f"try {trial}: {fault_text(e)}"
    if run.tree.ended is not None:
        yield from (f"try {trial} has no end" for trial in reserved if trial not in ended)
    for end in (e for e in events if isinstance(e, TryEnded)):
        yield from _end_faults(run, end, reserved.get(end.trial))


def _end_faults(run: RecordedRun, end: TryEnded, reserved: TryReserved | None) -> Iterator[str]:
    if reserved is None:
        yield f"try {end.trial} ends, and was never reserved"
        return
    if log_sha256(run.folder, try_log(end.trial)) != end.log_sha256:
        yield f"try {end.trial}: {LOG} does not have the digest in the journal"
    if abs(end.gpu_seconds - end.wall_s * reserved.gpus) > 1e-6 * max(1.0, end.gpu_seconds):
        yield f"try {end.trial} is charged {end.gpu_seconds:g} GPU-seconds for {end.wall_s:g} s"
