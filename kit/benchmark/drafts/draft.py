"""
Derive a record's facts from a log or an upstream commit, and write them as `record.v2`.

What cannot be derived has a comment that begins with `# review:`. A required field that is unknown has a
value that the schema refuses.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from kit.benchmark.drafts.clone import UpstreamClone
from kit.benchmark.drafts.drafted import DirectoryRuns, EraVersions, LogSource, RecordDraft
from kit.benchmark.drafts.script_facts import script_facts
from kit.benchmark.drafts.toml_text import draft_toml
from kit.core.errors import UsageError
from kit.core.text import one_line
from kit.values.logfile import unpadded
from kit.values.logread import Log, read_log

ENTRY = "train_gpt.py"
FILES = (ENTRY, "triton_kernels.py", "dc_triton_kernels.py")
"""Files of a commit that are a record's script, as far as they are there."""
RANKS = 8
MAX_LOGS = 300
"""Logs of one directory that are read for its statistics."""
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,60}", re.ASCII)
_RUN_ID = re.compile(rb"(?m)^    run_id: str = .*\n")
"""The line of a script that names one run."""


def draft_record(
    name: str,
    log: LogSource | None,
    commit: str | None,
    clone: UpstreamClone | None,
    eras: Sequence[EraVersions],
) -> str:
    """
    Return the TOML text of a draft.

    With `commit`, the script is that commit's, from `clone`; otherwise it is the log's. Raises `UsageError`
    if the log is not of a whole run, states no script, or holds what cannot stand in a record.
    """
    read = None if log is None else _checked(read_log(log.data))
    if commit is not None and clone is not None:
        files = _of_commit(clone, commit)
    elif read is not None:
        files = _of_log(read)
    else:
        raise UsageError("a draft needs a log or a commit", "pass a log file, or --upstream and a commit")
    return draft_toml(
        RecordDraft(
            name=name,
            log=log,
            read=read,
            files=files,
            commit=commit,
            facts=script_facts(files),
            row=None if clone is None else clone.row(int(re.sub("[a-z]", "", name))),
            runs=None if log is None or read is None or clone is None else _runs(clone, log, read),
            era=_era(read, eras),
        )
    )


def _checked(log: Log) -> Log:
    if log.grammar is None or not log.validations:
        raise UsageError("the log has no line with a validation loss", "pass the log file of a whole run")
    last = log.points[-1]
    final = log.validations[-1]
    if final.step != final.total_steps or final.step != last.step:
        raise UsageError(
            f"the log ends at step {last.step} of {last.total_steps}, last validated at step {final.step}",
            "pass the log file of a whole run",
        )
    if any(point.total_steps != final.total_steps for point in log.points):
        raise UsageError("the log's lines state different numbers of steps", "pass the log file of one run")
    if [p.step for p in log.points] != sorted(p.step for p in log.points):
        raise UsageError("the log's steps do not ascend", "pass the log file of one run")
    if final.val_loss is None or not 0 < final.val_loss < 20:
        raise UsageError(f"the log's last validation loss is {final.val_loss}", "pass the log of a record")
    stated = log.environment
    for version in () if stated is None else (stated.torch, stated.python, stated.triton):
        if version is not None and not _VERSION.fullmatch(version):
            raise UsageError(
                f"invalid version in the log: {one_line(version)!r}", "pass an unchanged log file"
            )
    return log


def _of_log(log: Log) -> tuple[tuple[str, bytes], ...]:
    if not log.sources:
        raise UsageError("the log does not begin with its script", "pass the log file, not the printed lines")
    names = [ENTRY, *(source.name for source in log.sources[1:])]
    if len(set(names)) != len(names):
        raise UsageError(
            f"the log holds a file twice: {', '.join(names)[:200]}", "pass an unchanged log file"
        )
    return tuple(zip(names, unpadded(log.sources), strict=True))


def _of_commit(clone: UpstreamClone, commit: str) -> tuple[tuple[str, bytes], ...]:
    there = clone.names(commit, "")
    files = [(name, clone.file(commit, name)) for name in FILES if name in there]
    found = tuple((name, data) for name, data in files if data is not None)
    if not found or found[0][0] != ENTRY:
        raise UsageError(f"{ENTRY} not found in commit {commit}", "pass a commit of 2025 or later")
    return found


def _runs(clone: UpstreamClone, log: LogSource, read: Log) -> DirectoryRuns | None:
    """Return the statistics of the log's directory; None if its place upstream is not known."""
    if log.origin is None:
        return None
    commit, folder = log.origin.commit, log.origin.path.rpartition("/")[0]
    script = _without_run_id(unpadded(read.sources))
    names = [n for n in clone.names(commit, folder) if n.endswith((".txt", ".log"))]
    finals = []
    for name in names[:MAX_LOGS]:
        data = clone.file(commit, f"{folder}/{name}")
        other = None if data is None else read_log(data)
        if other is None or not other.validations or _gpus(other) != RANKS:
            continue
        final = other.validations[-1]
        if final.step == final.total_steps and _without_run_id(unpadded(other.sources)) == script:
            finals.append(final)
    times = [float(final.train_time_ms or 0) for final in finals]
    losses = [final.val_loss or 0.0 for final in finals]
    if not finals:
        return None
    several = len(finals) > 1
    return DirectoryRuns(
        runs=len(finals),
        mean_ms=round(statistics.mean(times), 1),
        sd_ms=round(statistics.stdev(times), 1) if several else None,
        mean_val_loss=round(statistics.mean(losses), 5),
        sd_val_loss=round(statistics.stdev(losses), 5) if several else None,
    )


def _without_run_id(files: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(_RUN_ID.sub(b"", data) for data in files)


def _gpus(log: Log) -> int:
    return 0 if log.environment is None else len(log.environment.gpus)


def _era(log: Log | None, eras: Sequence[EraVersions]) -> EraVersions | None:
    """Return the era with the log's release of torch; None if no image has it."""
    torch = None if log is None or log.environment is None else log.environment.torch
    if torch is None:
        return None
    release = re.match(r"[0-9]+\.[0-9]+\.[0-9]+", torch)
    same = [e for e in eras if release is not None and e.torch.split("+")[0] == release[0]]
    return same[0] if len(same) == 1 else None
