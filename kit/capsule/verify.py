"""
Verify a capsule, packed or unpacked, as `kit.capsule.receive` does, and leave nothing on the disk.

1. Bytes: every file matches the manifests, and no other file is there. 2. Result: the bundle's signature,
its files and values. 3. Contents: image, data and record are those of the result. 4. Packer: the packer's
signature covers the manifests and the list of files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.capsule import bag
from kit.capsule.content import open_capsule
from kit.capsule.receive import AGAIN, RECEIVED, OwnFacts, ReceivedCapsule, judge
from kit.capsule.unpack import read_through
from kit.core.digest import Sha256, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError
from kit.core.schema import MAX_DOCUMENT
from kit.core.store import Progress, no_progress
from kit.result.keys import Trusted
from kit.result.verify import VerifiedBundle

_BULK = (f"{bag.SHARDS}/", f"{bag.KIT}/")
_BLOBS = f"{bag.IMAGE}/blobs/"


@dataclass(frozen=True, slots=True)
class VerifiedCapsule:
    """A capsule whose files match its result."""

    bundle: VerifiedBundle
    received: ReceivedCapsule | None
    """Who vouches for its files; None for a directory in which `unpack` replaced files."""

    @property
    def accepted(self) -> bool:
        """Tell whether trusted keys signed the result and all files that only the packer vouches for."""
        return self.received.accepted if self.received is not None else self.bundle.trusted


def verify_capsule(
    path: Path, trusted: Trusted, own: OwnFacts, progress: Progress = no_progress
) -> VerifiedCapsule:
    """
    Verify a capsule's archive or directory.

    Small files of an archive are written to a temporary directory, which is deleted. Raises as `receive`
    does; for a directory, `DigestMismatch` if a file differs from the manifests, is missing or unexpected.
    """
    if path.is_dir():
        return _verify_folder(path, trusted, own, progress)
    with tempfile.TemporaryDirectory(prefix="speedrun-capsule-") as name:
        read_through(path, Path(name), _is_judged, progress)
        try:
            received, _ = judge(Path(name), trusted, own)
        except IntegrityError as e:  # the temporary path means nothing to a reader
            hint = AGAIN if name in e.hint else e.hint
            raise type(e)(e.headline.replace(f"{name}/", ""), hint, e.details) from e
    return VerifiedCapsule(received.capsule.bundle, received)


def _is_judged(path: str, size: int) -> bool:
    """Tell whether more than the sha256 of a file is needed to judge the capsule."""
    return not path.startswith(_BULK) and (not path.startswith(_BLOBS) or size <= MAX_DOCUMENT)


def _verify_folder(root: Path, trusted: Trusted, own: OwnFacts, progress: Progress) -> VerifiedCapsule:
    capsule = open_capsule(root, trusted)  # refuses links and other special files before any is opened
    tags = _tags(root)
    for name in bag.TAG_FILES:
        if name not in tags:
            raise DigestMismatch(f"{name} is missing from the capsule", AGAIN)
    if tags[bag.BAGIT] != bag.BAGIT_TXT:
        raise IntegrityError(f"{root}: {bag.BAGIT} does not declare BagIt 1.0", AGAIN)
    if tags[bag.TAG_MANIFEST] != bag.tag_manifest(tags):
        raise DigestMismatch(
            f"{root}: checksum mismatch between {bag.TAG_MANIFEST} and the files that it lists", AGAIN
        )
    _compare_payload(root, capsule.listed, progress)
    if (root / RECEIVED).is_dir():
        return VerifiedCapsule(capsule.bundle, None)
    received, _ = judge(root, trusted, own)
    return VerifiedCapsule(received.capsule.bundle, received)


def _tags(root: Path) -> dict[str, bytes]:
    tags = {}
    for name in (*bag.TAG_FILES, *bag.SIGNED):
        path = root / name
        if path.is_file():
            if path.stat().st_size > bag.largest(name):
                raise IntegrityError(f"{name} has more than {bag.largest(name)} bytes", AGAIN)
            tags[name] = path.read_bytes()
    return tags


def _compare_payload(root: Path, listed: Mapping[str, Sha256], progress: Progress) -> None:
    """Hash every payload file, and refuse files that the manifest does not list."""
    there = {p.relative_to(root).as_posix(): p for p in (root / "data").rglob("*") if p.is_file()}
    for path in sorted(there.keys() - listed.keys()):
        raise DigestMismatch(f"unexpected file in the capsule: {path}", AGAIN)
    for path in sorted(listed.keys() - there.keys()):
        raise DigestMismatch(f"{path} is missing from the capsule", AGAIN)
    total, done = sum(p.stat().st_size for p in there.values()), 0
    for path, place in sorted(there.items()):
        actual = sha256_file(place)
        if actual != listed[path]:
            raise DigestMismatch(
                f"checksum mismatch: {path} has sha256 {actual}, expected {listed[path]}", AGAIN
            )
        done += place.stat().st_size
        progress(f"read {root.name}", done, total)
