"""Report a received capsule as text and as JSON: its contents, and who vouches for each part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kit.capsule.bag import KIT
from kit.capsule.guide import title
from kit.capsule.receive import RECEIVED, ReceivedCapsule, Voucher
from kit.cli.terminal import note
from kit.core.codec import encode
from kit.core.text import counted
from kit.result.revocations import Revocation
from kit.values.task_id import listed_as

WORDS = {
    Voucher.RESULT: "bound by the signed result",
    Voucher.KIT: "identical to this kit's files",
    Voucher.PACKER: "vouched for by the packer only",
}
WHEELS = f"{KIT.removeprefix('data/')}/"
"""Directory of a capsule's wheels, without `data/`, as in the texts."""


def tell_received(received: ReceivedCapsule) -> None:
    """Print who signed a capsule, who vouches for each part, and what was replaced."""
    bundle, signed = received.capsule.bundle, received.signed
    note(title(bundle.predicate))
    note(f"result: signed by {key_word(bundle.trusted, bundle.revoked)}, {bundle.key_id[:12]}")
    if signed is None:
        note("warning: packed by version 0.1: files that the result does not bind are not signed")
    else:
        packer = signed.claims.packer
        kit = f"speedrun-kit {packer.kit.version}"
        note(
            f"capsule: packed by {key_word(signed.trusted, signed.revoked)} with {kit}, {packer.key_id[:12]}"
        )
    for voucher, files in _by_voucher(received).items():
        note(f"  {WORDS[voucher]}: {file_names(files)}")
    if signed is None:
        names = ", ".join(file.path for file in received.replaced)
        note(f"  replaced by this kit's files: {names}; the received ones are in {RECEIVED}/")
    for file in received.replaced if signed is not None else ():
        note(f"warning: {file.path} differs from what this kit writes; do not use it (now in {RECEIVED}/)")
        for difference in file.differences:
            note(f"  the received {file.path} {difference}")
    if received.set_aside:
        note(f"warning: the wheels were packed by an untrusted key; do not install them (now in {RECEIVED}/)")


def file_names(paths: Iterable[str]) -> str:
    """Return the names of a capsule's files for one line; the wheels of a kit are only counted."""
    paths = list(paths)
    wheels = sum(path.startswith(WHEELS) for path in paths)
    named = [path for path in paths if not path.startswith(WHEELS)]
    return ", ".join([*named, *([f"{WHEELS} ({counted(wheels, 'wheel')})"] if wheels else [])])


def received_document(received: ReceivedCapsule) -> dict[str, Any]:
    """Return the report as a JSON object."""
    capsule, signed = received.capsule, received.signed
    p = capsule.bundle.predicate
    packer = None
    if signed is not None:
        kit = signed.claims.packer.kit
        packer = {
            "key_id": signed.claims.packer.key_id,
            "trusted": signed.trusted,
            "revoked": encode(Revocation, signed.revoked),
            "kit": {"version": kit.version, "commit": kit.commit},
        }
    return {
        "folder": str(capsule.root),
        "run_id": p.run.id,
        "record": listed_as(p.task.id),
        "profile": p.task.profile,
        "verdict": p.score.verdict,
        "key_id": capsule.bundle.key_id,
        "trusted": capsule.bundle.trusted,
        "with_data": capsule.facts.with_data,
        "packer": packer,
        "accepted": received.accepted,
        "parts": dict(received.vouchers),
        "replaced": {file.path: list(file.differences) for file in received.replaced},
        "set_aside": list(received.set_aside),
    }


def key_word(trusted: bool, revoked: Revocation | None) -> str:
    """Return how far a key is trusted, as in `signed by a trusted key`."""
    if revoked is not None:
        return f"a REVOKED key ({revoked.describe()})"
    return "a trusted key" if trusted else "an untrusted key"


def _by_voucher(received: ReceivedCapsule) -> dict[Voucher, list[str]]:
    """Return the files by voucher; the many files of the result are shortened to directories."""
    grouped: dict[Voucher, dict[str, None]] = defaultdict(dict)
    for path, voucher in received.vouchers.items():
        short = path.removeprefix("data/")
        grouped[voucher][f"{short.rsplit('/', 1)[0]}/" if voucher is Voucher.RESULT else short] = None
    return {voucher: list(grouped[voucher]) for voucher in Voucher if grouped[voucher]}
