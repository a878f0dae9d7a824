"""Verify a capsule for `speedrun bundle verify`, and word the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.capsule.receive import OwnFacts, Voucher
from kit.capsule.verify import VerifiedCapsule, verify_capsule
from kit.cli.bundle.answer import describe_result
from kit.cli.capsule_text import WORDS, file_names, key_word
from kit.cli.terminal import Meter, note, warn
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import in_shell
from kit.evaluate.provenance import this_kit
from kit.result.keys import Trusted

CHECKED = (
    "every file matches the manifests, and no other file is there",
    "the result: all steps of a bundle with its files",
    "image, data and record are those of the result",
    "who vouches for each file",
)
"""What was checked, in the order of docs/reference/capsule.md."""


def capsule_answer(path: Path, trusted: Trusted, bundle_only: bool) -> dict[str, Any]:
    """Verify a capsule and return the answer. Raises as `verify_capsule` does, `UsageError` for an option."""
    if bundle_only:
        raise UsageError(
            f"{path} is a capsule: --bundle-only is for a result.json without its files",
            f"speedrun bundle verify {in_shell(path)}",
        )
    facts = facts_root()
    own = OwnFacts(facts / "records", facts / "images", this_kit())
    capsule = verify_capsule(path, trusted, own, Meter())
    _tell_warnings(capsule)
    return describe_result(capsule.bundle) | {
        "kind": "capsule",
        "exit": 0 if capsule.accepted else 1,
        "checked": _checked(capsule),
        "packer": _packer(capsule),
        "parts": {} if capsule.received is None else dict(capsule.received.vouchers),
    }


def tell_capsule(answer: dict[str, Any]) -> None:
    """Print what was checked, and who vouches for the files that the result does not bind."""
    note(*(f"  checked: {what}" for what in answer["checked"]))
    if answer["packer"] is not None:
        note(f"  packed by {key_word(answer['packer']['trusted'], None)}, {answer['packer']['key_id'][:12]}")
    for voucher in Voucher:
        files = sorted(path.removeprefix("data/") for path, v in answer["parts"].items() if v == voucher)
        if files and voucher is not Voucher.RESULT:
            note(f"  {WORDS[voucher]}: {file_names(files)}")
    if not answer["trusted"]:
        note("hint: ask the signer for the public key and compare its id, then: speedrun keys trust FILE")
    elif answer["exit"]:
        note("hint: ask the packer for the public key and compare its id, then: speedrun keys trust FILE")


def _checked(capsule: VerifiedCapsule) -> list[str]:
    """Return what was checked: without a packer's signature there is none to check."""
    if capsule.received is None:
        return list(CHECKED[:3])
    return [*CHECKED, *(["the packer's signature"] if capsule.received.signed is not None else [])]


def _packer(capsule: VerifiedCapsule) -> dict[str, Any] | None:
    if capsule.received is None or capsule.received.signed is None:
        return None
    signed = capsule.received.signed
    return {"key_id": signed.claims.packer.key_id, "trusted": signed.trusted}


def _tell_warnings(capsule: VerifiedCapsule) -> None:
    received = capsule.received
    if received is None:
        warn(
            "`unpack` replaced files in this directory, so the packer's signature does not cover it;"
            " verify the archive to check that signature"
        )
        return
    if received.signed is None:
        warn("packed by version 0.1: files that the result does not bind are not signed")
    for file in received.replaced if received.signed is not None else ():
        warn(f"{file.path} differs from what this kit writes; do not use it (unpack replaces it)")
        note(*(f"  the received {file.path} {difference}" for difference in file.differences))
    if received.set_aside:
        warn("the wheels were packed by an untrusted key; do not install them")
