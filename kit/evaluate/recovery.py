"""
Close interrupted runs: kill what is left of the guest, then sign a record with status `lost`.

1. The reservation must be this user's own, signed and of this folder's name. 2. A run of another machine is
left alone, and so is one whose owner still works. 3. A copy of a folder is refused: the run is another one's.
4. Only then the guest is ended, by the runtime that the signed reservation names. 5. What is signed is the
planned result and the digests of the files that are there. A reservation of version 0.1 is unsigned: nothing
of it is read but that it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kit.core.digest import Sha256
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, RunError, SchemaError, SignatureError
from kit.core.lease import Takeover, claimed
from kit.core.text import in_shell
from kit.evaluate.interrupted import INTERRUPTED, lost_statement, unsigned_statement
from kit.result.folder import leave_key
from kit.result.keys import PublicKey, Signer, load_or_create, seal
from kit.result.predicate import Predicate
from kit.result.reservation import Reservation, is_unsigned_v1, read_reservation
from kit.sandbox import processes
from kit.sandbox.folder import ALIVE, RunFolder, adopt, is_open, tidy, unfinished
from kit.sandbox.runtime import docker, runc
from kit.sandbox.runtime.lease import is_at_work
from kit.sandbox.watchdog import reap
from kit.values.run_spec import RuntimeName

ATTEMPTS = 20
GOES_ON = "the run is still going on in another directory"
REFUSALS = {
    Takeover.COPY: "this directory is a copy of the run's directory",
    Takeover.REPLACED: f"{ALIVE} is missing or was replaced since the run was reserved",
}


def mark_lost(folder: RunFolder, signer: Signer, planned: Predicate, submission: Sha256, reason: str) -> None:
    """Write the signed record of a lost run, as it was planned; see `lost_statement`."""
    sign(folder, signer, lost_statement(folder.own(), planned, submission, reason))


def sign(folder: RunFolder, signer: Signer, payload: bytes) -> None:
    """
    Write the public key, then the signed bundle, which ends the run.

    Raises `IntegrityError` if another directory took the place of the run's: it gets neither.
    """
    own = folder.own()
    bundle = seal(payload, signer)
    own.ballast.unlink(missing_ok=True)
    leave_key(own.path, signer)
    own.finish(bundle)
    folder.require_place()


def close_lost(
    out: Path, keys: Path, elsewhere: Callable[[RunFolder], None] = lambda folder: None
) -> list[RunFolder]:
    """
    Close every interrupted run below `out`; return them. Runs that still go on are left alone.

    `elsewhere` is called with each run that belongs to another machine, which alone can close it. Raises
    `RunError` if something of a guest cannot be ended, `IntegrityError` for a reservation that is planted,
    changed or copied, `PrerequisiteError` for output that is gone; the other runs have been closed by then.
    """
    closed: list[RunFolder] = []
    broken: KitError | None = None
    docker.tidy(docker.state_folder())
    tidy(out)
    folders = unfinished(out)
    if not folders:
        return []
    signer = load_or_create(keys)
    for folder in folders:
        try:
            claim = _close(folder, signer)
            if claim is Takeover.MINE:
                closed.append(folder)
            elif claim is Takeover.ELSEWHERE:
                elsewhere(folder)
        except (KitError, OSError) as e:  # one that cannot be closed must not keep the others open
            if is_open(folder):  # otherwise another process has closed it meanwhile
                broken = broken or _named(folder, e)
    if broken is not None:
        raise broken
    return closed


def _named(folder: RunFolder, e: KitError | OSError) -> KitError:
    """Return an error that names the run that cannot be closed, and what to do."""
    away = folder.path.parent.parent
    aside = f"if you do not expect it there, move it away: mv {in_shell(folder.path, away)}"
    if isinstance(e, OSError):
        return PrerequisiteError(f"cannot close run {folder.run_id}: {e.filename}: {e.strerror}", aside)
    if isinstance(e, IntegrityError):
        return type(e)(f"cannot close run {folder.run_id}: {e.message}", aside)
    return e


def _close(folder: RunFolder, signer: Signer) -> Takeover:
    """Close one run if this process may do so; return who may."""
    if is_unsigned_v1(folder.intent):
        return _close_unsigned(folder, signer)
    reservation = own_reservation(folder, signer.public)
    with claimed(folder.path, ALIVE, reservation.body.lease) as claim:
        if claim in REFUSALS:
            raise SignatureError(f"{folder.path}: {REFUSALS[claim]}")
        if claim is not Takeover.MINE or not is_open(folder):
            return claim if claim is not Takeover.MINE else Takeover.RUNNING
        _require_no_link(folder)
        if is_at_work(folder.run_id):
            raise SignatureError(f"{folder.path}: {GOES_ON}")
        planned = reservation.planned
        _end_guest(folder.run_id, (planned.environment.runtime.name,))
        mark_lost(folder, signer, planned, reservation.subject, INTERRUPTED)
    return Takeover.MINE


def _require_no_link(folder: RunFolder) -> None:
    """Refuse a link to a folder: whoever made it chose a place that he may not be able to write himself."""
    if folder.path.is_symlink():
        raise SignatureError(f"{folder.path} is a link")


def own_reservation(folder: RunFolder, own: PublicKey) -> Reservation:
    """Return the verified reservation of a folder's run. Raises as `read_reservation`."""
    reservation = read_reservation(folder.intent, own)
    if reservation.body.id != folder.run_id:
        raise SchemaError(f"{folder.intent} is the reservation of another run, {reservation.body.id}")
    return reservation


def _close_unsigned(folder: RunFolder, signer: Signer) -> Takeover:
    """Close a run of version 0.1, whose reservation is not signed."""
    with adopt(folder) as mine:
        if not mine:
            return Takeover.RUNNING
        _require_no_link(folder)
        if is_at_work(folder.run_id):
            raise SignatureError(f"{folder.intent}: it is not signed, and {GOES_ON}")
        if any(not processes.is_own(pid) for pid in processes.marked(folder.run_id)):
            raise SignatureError(f"{folder.intent}: it is not signed, and the run is another user's")
        payload = unsigned_statement(folder)
        _end_guest(folder.run_id, RuntimeName)
        sign(folder, signer, payload)
    return Takeover.MINE


def _end_guest(run_id: str, runtimes: Iterable[RuntimeName]) -> None:
    for runtime in runtimes:
        state = docker.state_folder() if runtime is RuntimeName.DOCKER else runc.state_folder()
        if not any(reap(runtime, str(state), run_id) for _ in range(ATTEMPTS)):
            raise RunError(f"cannot kill the guest of run {run_id}", "find its processes with: ps -ef")
