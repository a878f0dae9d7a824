"""
Closing the records of runs whose kit died: end what is left of the guest, then sign what is known.

The intent that was written before the run is the record's draft; only its account of the end changes.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

from kit.core.codec import prose
from kit.core.digest import sha256_bytes, sha256_file
from kit.core.errors import KitError, PrerequisiteError, RunError, SchemaError
from kit.core.schema import read_json, validate
from kit.result.appraisal.trust import TIER_RULES
from kit.result.folder import leave_key
from kit.result.keys import Signer, load_or_create, seal
from kit.result.predicate import Audit
from kit.result.statement import SCHEMAS, Statement, Subjects, parse, statement
from kit.sandbox.folder import RunFolder, adopt, tidy, unfinished
from kit.sandbox.runtime import docker, runc
from kit.sandbox.watchdog import reap
from kit.values.run_result import RunResult, RunStatus, Teardown, Usage
from kit.values.run_spec import RunSpec, RuntimeName

ATTEMPTS = 20
EMPTY = sha256_bytes(b"")


def lost_result(spec: RunSpec, reason: str) -> RunResult:
    """Return the result of a run of which nothing is known but that it was reserved."""
    return RunResult(
        run_id=spec.run_id,
        status=RunStatus.LOST,
        reason=reason,
        ended_in=None,
        clock=None,
        exit_code=None,
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
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


def drafted(folder: RunFolder) -> Statement:
    """Return what a run's intent says. Raises `SchemaError` naming it, `PrerequisiteError` if absent."""
    document = read_json(folder.intent)
    kind = document.get("predicateType") if isinstance(document, dict) else None
    if kind not in SCHEMAS:
        raise SchemaError(f"{folder.intent}: not a reservation of a run")
    validate(SCHEMAS[kind], document, str(folder.intent))
    return parse(document)


def mark_lost(folder: RunFolder, signer: Signer, reason: str) -> None:
    """Write the signed record of a lost run from its intent; the log that there is stays and is bound."""
    draft = drafted(folder)
    predicate = replace(
        draft.predicate,
        run=replace(draft.predicate.run, reason=prose(reason)),
        audit=Audit((), TIER_RULES),
        observations=replace(draft.predicate.observations, output_bytes=folder.log.stat().st_size),
    )
    subjects = Subjects(draft.subjects.submission, sha256_file(folder.log), sha256_file(folder.stamps))
    sign(folder, signer, statement(predicate, subjects))


def sign(folder: RunFolder, signer: Signer, payload: bytes) -> None:
    """Leave the public key, then the signed bundle; from then on the run has ended."""
    bundle = seal(payload, signer)
    folder.ballast.unlink(missing_ok=True)
    leave_key(folder.path, signer)
    folder.finish(bundle)


def close_lost(out: Path, keys: Path) -> list[RunFolder]:
    """
    End and record every run below `out` that lost its kit; return them. Runs of a living kit are left alone.

    Raises `RunError` if something of a guest cannot be ended, `SchemaError` for an intent that was changed,
    `PrerequisiteError` for output that is gone; the other runs have been closed by then.
    """
    closed: list[RunFolder] = []
    broken: KitError | None = None
    docker.tidy(docker.state_folder())
    tidy(out)
    for folder in unfinished(out):
        with adopt(folder) as mine:
            try:
                if mine:
                    _close(folder, keys)
                    closed.append(folder)
            except KitError as e:  # one that cannot be closed must not keep the others open
                broken = broken or e
            except OSError as e:
                broken = broken or PrerequisiteError(
                    f"run {folder.run_id} lost its kit, and cannot be recorded: {e.filename}: {e.strerror}",
                    f"keep {folder.path} somewhere else",
                )
    if broken is not None:
        raise broken
    return closed


def _close(folder: RunFolder, keys: Path) -> None:
    try:
        runtime = RuntimeName(drafted(folder).predicate.environment.runtime.name)
    except SchemaError as e:
        lost = f"run {folder.run_id} lost its kit, and its intent cannot be read"
        raise SchemaError(f"{lost}: {e.message}", f"keep {folder.path} somewhere else") from e
    state = docker.state_folder() if runtime is RuntimeName.DOCKER else runc.state_folder()
    if not any(reap(runtime, str(state), folder.run_id) for _ in range(ATTEMPTS)):
        raise RunError(f"the guest of {folder.run_id} cannot be ended", "look for it with: ps -ef")
    mark_lost(folder, load_or_create(keys), "the kit ended before the run did")
