"""
Make the record of an interrupted run. Kills no guest.

All values come from the signed reservation, or are derived from the files that the run left.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from kit.core.codec import prose
from kit.core.digest import Sha256, sha256_bytes, tree_digest
from kit.core.errors import DigestMismatch, SchemaError
from kit.core.system import NOFOLLOW, NONBLOCK, READ
from kit.result.appraisal.trust import TIER_RULES
from kit.result.appraisal.verdict import judge, ranking_blockers
from kit.result.derive import claims_of, observations_of
from kit.result.folder import submission_files
from kit.result.predicate import (
    Audit,
    CompileCache,
    Cpu,
    Data,
    Environment,
    Evidence,
    Hardware,
    Inputs,
    Isolation,
    IsolationReport,
    Lines,
    Manifest,
    Predicate,
    Run,
    RuntimeInfo,
    Score,
    TaskInfo,
    Verdict,
)
from kit.result.statement import Subjects, statement
from kit.sandbox.folder import RunFolder
from kit.values.deadlines import Deadlines
from kit.values.log import Grammar
from kit.values.profile import Profile
from kit.values.run_result import RunResult, RunStatus, Teardown, Usage
from kit.values.run_spec import Limits, RunSpec, RuntimeName
from kit.values.software import Kit
from kit.values.task_id import set_of

EMPTY = sha256_bytes(b"")
UNKNOWN = "unknown"
INTERRUPTED = "speedrun exited before the run finished"
UNSIGNED = "it was interrupted; its reservation is unsigned (version 0.1)"


@dataclass(frozen=True, slots=True)
class BoundFile:
    """A file beside the record."""

    sha256: Sha256
    size: int


def lost_result(spec: RunSpec, reason: str) -> RunResult:
    """Return the result of a run that was reserved and about which nothing else is known."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    return _result(spec.run_id, reason, now)


def _result(run_id: str, reason: str, started_at: str) -> RunResult:
    return RunResult(
        run_id=run_id,
        status=RunStatus.LOST,
        reason=reason,
        ended_in=None,
        clock=None,
        exit_code=None,
        started_at=started_at,
        wall_s=0.0,
        train_wall_s=None,
        phases=(),
        points=(),
        output_bytes=0,
        output_lines=0,
        usage=Usage(),
        teardown=Teardown(0.0, ()),
        log_sha256=EMPTY,
        stamps_sha256=EMPTY,
    )


def lost_statement(folder: RunFolder, planned: Predicate, submission: Sha256, reason: str) -> bytes:
    """
    Return the statement of a lost run: its plan, and the digests of the output that it left.

    Raises `OSError` for output that is gone, `DigestMismatch` for what is no regular file.
    """
    log, stamps = _bound(folder.log), _bound(folder.stamps)
    predicate = replace(
        planned,
        run=replace(planned.run, reason=prose(reason)),
        audit=Audit((), TIER_RULES),
        observations=replace(planned.observations, output_bytes=log.size),
    )
    return statement(predicate, Subjects(submission, log.sha256, stamps.sha256))


def unsigned_statement(folder: RunFolder) -> bytes:
    """
    Return the statement of a run that version 0.1 left unfinished; its reservation is not used.

    Run id, record and time are those of the folder's name; the files are as they lie there. Raises as
    `lost_statement`, and `SchemaError` for a name without a time.
    """
    files = submission_files(folder.path)
    submission = tree_digest({f.name: f.sha256 for f in files})
    result = _result(folder.run_id, UNSIGNED, _started_at(folder.run_id))
    claims = claims_of((), Grammar.STEP)
    nothing = Lines(None, 0)
    predicate = Predicate(
        run=_unknown_run(result),
        task=_unknown_task(folder.run_id),
        environment=Environment(
            UNKNOWN,
            None,
            (),
            RuntimeInfo(RuntimeName.HOST, UNKNOWN, False, None, ()),
            IsolationReport(Isolation.NONE, ()),
        ),
        hardware=Hardware(Cpu(UNKNOWN, 1), 0, (), None, None),
        inputs=Inputs(files, Data(UNKNOWN, UNKNOWN, False, (), 0), Manifest(UNKNOWN, EMPTY), None),
        claims=claims,
        evidence=Evidence(False, nothing, nothing),
        observations=observations_of(result),
        audit=Audit((), TIER_RULES),
        score=Score(Verdict.FAILED, ranked=False, unranked_because=(), fsr=None),
    )
    verdict = judge(result.status, claims, predicate.task.target_val_loss, ())
    score = replace(
        predicate.score, verdict=verdict, unranked_because=(UNSIGNED, *ranking_blockers(predicate))
    )
    return lost_statement(folder, replace(predicate, score=score), submission, UNSIGNED)


def _unknown_run(result: RunResult) -> Run:
    return Run(
        id=result.run_id,
        nonce="00",
        status=result.status,
        reason=result.reason,
        ended_in=None,
        clock=None,
        exit_code=None,
        started_at=result.started_at,
        argv=(UNKNOWN,),
        entry=UNKNOWN,
        env=(),
        compile_cache=CompileCache.COLD,
        world_size=1,
        gpus=0,
        deadlines=Deadlines(0, 0, 0, 0, 0),
        limits=Limits(memory=0, pids=0, shm=0, workspace=0, tmp=0, output=0, line=0, open_files=0),
        untimed_steps=0,
        kit=Kit(UNKNOWN, None),
    )


def _unknown_task(run_id: str) -> TaskInfo:
    """Take the record from the run id, and the smoke profile, which is never ranked."""
    record = str(max(1, int(run_id[1:3])))
    return TaskInfo(
        id=record,
        set=set_of(record),
        profile=Profile.SMOKE,
        target=None,
        target_val_loss=0.0,
        target_source=UNKNOWN,
        baseline_submission_sha256=None,
    )


def _started_at(run_id: str) -> str:
    try:
        time = datetime.datetime.strptime(run_id.split("-")[1], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - it is UTC
    except ValueError as e:
        raise SchemaError(f"run id {run_id} contains no time") from e
    return time.replace(tzinfo=datetime.UTC).isoformat(timespec="milliseconds")


def _bound(path: Path) -> BoundFile:
    """Return digest and size of a regular file; a link is not followed: it may lead to any file."""
    fd = os.open(path, READ | NOFOLLOW | NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DigestMismatch(f"{path} is not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as f:
            digest = Sha256(hashlib.file_digest(f, "sha256").hexdigest())
            return BoundFile(digest, f.tell())
    finally:
        os.close(fd)
