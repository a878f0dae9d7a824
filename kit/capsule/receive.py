"""
Unpack and verify an untrusted capsule, and replace files that are not safe to use.

This kit makes RUN.md, config.json and the image's indices from the verified bundle and compares. If they
differ, its files replace the received ones, which move to `received/`. Capsules of version 0.1 are unsigned,
so each file that their bundle does not name must equal the file that 0.1 packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from kit.capsule import bag, version1
from kit.capsule.content import Capsule, open_capsule, wheels_of
from kit.capsule.derived import CONFIG, payload_files, run_md, run_md_of_version_1
from kit.capsule.differences import differences
from kit.capsule.statement import CapsulePart, PackedRun, SignedCapsule, Word, read_signed
from kit.capsule.unpack import MAX_BYTES, unpack
from kit.core.digest import Sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, SchemaError, SignatureError
from kit.core.store import Progress, no_progress
from kit.result.keys import Trusted
from kit.result.statement import PREDICATE_TYPE_V1
from kit.values.software import Kit

RECEIVED = "received"
"""Directory of received files that were replaced. Do not follow or run them."""
AGAIN = "get the capsule again from the person who packed it"
MAX_COMPARED = 1 << 20
"""Size limit in bytes of files whose differences are listed."""


class Voucher(StrEnum):
    """Who vouches for a received file."""

    RESULT = "result"
    """The signed result names its sha256."""
    KIT = "kit"
    """It equals a file that this kit makes or has."""
    PACKER = "packer"
    """Only the packer vouches for it."""


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """Facts of this kit, to compare a capsule with."""

    records: Path
    images: Path
    kit: Kit


@dataclass(frozen=True, slots=True)
class ReplacedFile:
    """A received file that this kit replaced."""

    path: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReceivedCapsule:
    """An unpacked capsule, and who vouches for its files."""

    capsule: Capsule
    signed: SignedCapsule | None
    """None for a capsule of version 0.1."""
    vouchers: Mapping[str, Voucher]
    """For RUN.md and every payload file, as received."""
    replaced: tuple[ReplacedFile, ...]
    set_aside: tuple[str, ...]
    """Wheels of an untrusted packer, which were moved to `received/`."""

    @property
    def accepted(self) -> bool:
        """
        Tell whether trusted keys signed the result and all files that only the packer vouches for.

        In a capsule of version 0.1, those are image.toml and lock.json; an image built from other packages
        has another digest.
        """
        unsigned = self.signed is not None and not self.signed.trusted
        return self.capsule.bundle.trusted and not (unsigned and Voucher.PACKER in self.vouchers.values())


def receive(
    file: Path,
    folder: Path,
    trusted: Trusted,
    own: OwnFacts,
    max_bytes: int = MAX_BYTES,
    progress: Progress = no_progress,
) -> ReceivedCapsule:
    """
    Unpack a capsule into the new directory `folder`, verify it, and return who vouches for each file.

    Raises as `unpack` and `open_capsule` do; `SignatureError`, `SchemaError` or `DigestMismatch` if the
    packer's signature is missing, invalid or for other files; `DigestMismatch` naming RUN.md, config.json or
    an index that differs from this kit's, unless a trusted packer signed it or names another kit. On an error
    `folder` does not exist.
    """
    judged: list[ReceivedCapsule] = []
    unpack(file, folder, max_bytes, progress, lambda root: judged.append(_settle(root, trusted, own)))
    (received,) = judged
    bundle = replace(
        received.capsule.bundle, path=folder / received.capsule.bundle.path.relative_to(received.capsule.root)
    )
    return replace(received, capsule=replace(received.capsule, root=folder, bundle=bundle))


def _settle(root: Path, trusted: Trusted, own: OwnFacts) -> ReceivedCapsule:
    """Judge an unpacked capsule, and replace the files that are not safe to use."""
    received, made = judge(root, trusted, own)
    if received.signed is None or received.replaced or received.set_aside:
        _remake(received.capsule, received.signed, made, received.set_aside, own)
    return received


def judge(root: Path, trusted: Trusted, own: OwnFacts) -> tuple[ReceivedCapsule, dict[str, bytes]]:
    """
    Verify an unpacked capsule and change nothing; also return what `receive` writes in place of its files.

    Raises as `receive` does. Whether the files match the manifests is NOT checked.
    """
    capsule = open_capsule(root, trusted)
    tags = {n: (root / n).read_bytes() for n in (*bag.TAG_FILES, *bag.SIGNED) if (root / n).is_file()}
    _require_info(tags, capsule)
    signed = _signed(tags, trusted, capsule)
    if signed is None:
        _require_version_1(tags, capsule, own)
    made = _made(capsule, signed)
    received = {bag.RUN_MD: sha256_bytes(tags[bag.RUN_MD]), **capsule.listed}
    other = tuple(path for path, data in made.items() if received[path] != sha256_bytes(data))
    replaced = tuple(ReplacedFile(path, _differences(root / path, made[path])) for path in other)
    if signed is not None and not signed.trusted and signed.claims.packer.kit == own.kit:
        _refuse(replaced, "and the packer's key is untrusted")
    same = {path for path, equal in _compare_own(capsule, own).items() if equal}
    same |= set(made).difference(other if signed is not None else ())
    vouchers = {path: _voucher(path, capsule.words, same) for path in received}
    wheels = wheels_of(capsule.listed)
    aside = wheels if signed is not None and not signed.trusted else ()
    return ReceivedCapsule(capsule, signed, vouchers, replaced, aside), {path: made[path] for path in other}


def _require_info(tags: Mapping[str, bytes], capsule: Capsule) -> None:
    run, data = capsule.facts.predicate.run, tags[bag.INFO]
    version = bag.info_version(data, bag.INFO)
    if bag.info(bag.parse_oxum(data, bag.INFO), run.id, run.started_at[:10], version) != data:
        raise IntegrityError(f"{bag.INFO} does not match run {run.id}")


def _signed(tags: Mapping[str, bytes], trusted: Trusted, capsule: Capsule) -> SignedCapsule | None:
    bundle = capsule.bundle
    if bag.STATEMENT not in tags:
        if bundle.document["predicateType"] != PREDICATE_TYPE_V1:
            raise SignatureError(
                f"{bag.STATEMENT} is missing: a capsule of this result must be signed by its packer",
                AGAIN,
            )
        return None
    signed = read_signed(tags, trusted)
    p, claims = bundle.predicate, signed.claims
    digest = sha256_file(bundle.path)
    if claims.run != PackedRun(p.run.id, digest, p.task.id, p.task.profile, p.score.verdict):
        raise DigestMismatch(f"{bag.STATEMENT} names another run than the bundle in {bag.RUN}")
    if claims.parts != parts_of(capsule.words):
        raise SchemaError(f"{bag.STATEMENT} lists other files, or other vouchers, than this capsule has")
    return signed


def parts_of(words: Mapping[str, Word]) -> tuple[CapsulePart, ...]:
    """Return the parts that a packer's statement must list for this payload."""
    every = {bag.RUN_MD: Word.PACKER, **words}
    return tuple(CapsulePart(path, every[path]) for path in sorted(every))


def _made(capsule: Capsule, signed: SignedCapsule | None) -> dict[str, bytes]:
    """Return the derived files; a RUN.md of version 0.1 is compared in `_require_version_1`."""
    packer = None if signed is None else signed.claims.packer
    text = run_md(capsule.facts, packer, wheels_of(capsule.listed), unpacked=signed is None)
    return {bag.RUN_MD: text, **payload_files(capsule.facts)}


def _require_version_1(tags: Mapping[str, bytes], capsule: Capsule, own: OwnFacts) -> None:
    """
    Refuse unsigned files that differ from those that version 0.1 packed.

    Eras and records of 0.1 never change, so files that this kit also has must be equal. Only image.toml,
    lock.json and digest of an era that this kit does not have are not compared.
    """
    facts, changed = capsule.facts, []
    text = run_md_of_version_1(facts)
    if tags[bag.RUN_MD] != text:
        changed.append(ReplacedFile(bag.RUN_MD, differences(tags[bag.RUN_MD], text, is_config=False)))
    for path, data in payload_files(facts).items():
        place = capsule.root / path
        if path == CONFIG:
            small = place.stat().st_size <= MAX_COMPARED
            fits = small and version1.is_config(place.read_bytes(), facts.spec)
        else:
            fits = capsule.listed[path] == sha256_bytes(data)
        if not fits:
            changed.append(ReplacedFile(path, _differences(place, data)))
    _refuse(tuple(changed), "and it is unsigned (version 0.1 packed no signature)")
    if wheels_of(capsule.listed):
        raise IntegrityError(f"unexpected files in {bag.KIT}: version 0.1 packed no wheels")
    for path, same in _compare_own(capsule, own).items():
        if not same and capsule.words[path] is Word.PACKER:
            raise DigestMismatch(f"{path} differs from this kit's file, and it is unsigned", AGAIN)


def _refuse(files: tuple[ReplacedFile, ...], why: str) -> None:
    if files:
        details = [f"{f.path} {text}" for f in files for text in f.differences]
        names = ", ".join(f.path for f in files)
        raise DigestMismatch(
            f"{names}: differs from what speedrun-kit packs for this result, {why}", AGAIN, details
        )


def _differences(place: Path, made: bytes) -> tuple[str, ...]:
    size = place.stat().st_size
    if size > MAX_COMPARED:
        return (f"has {size} bytes, expected {len(made)}",)
    return differences(place.read_bytes(), made, is_config=place.name == "config.json")


def _compare_own(capsule: Capsule, own: OwnFacts) -> dict[str, bool]:
    """Return, for each file that this kit also has, whether the bytes are equal."""
    homes = {bag.IMAGES: own.images, bag.RECORDS: own.records}
    same = {}
    for path, sha256 in capsule.listed.items():
        for top, home in homes.items():
            here = home / path.removeprefix(f"{top}/")
            if path.startswith(f"{top}/") and here.is_file():
                same[path] = sha256_file(here) == sha256
    return same


def _voucher(path: str, words: Mapping[str, Word], same: set[str]) -> Voucher:
    if words.get(path) is Word.RESULT:
        return Voucher.RESULT
    return Voucher.KIT if path in same else Voucher.PACKER


def _remake(
    capsule: Capsule,
    signed: SignedCapsule | None,
    made: Mapping[str, bytes],
    aside: tuple[str, ...],
    own: OwnFacts,
) -> None:
    """Replace received files, which move to `received/`, and write the bag's tag files again."""
    root, facts = capsule.root, capsule.facts
    listed: dict[str, Sha256] = {
        p: d for p, d in capsule.listed.items() if p.removeprefix(f"{bag.KIT}/") not in aside
    }
    payload = {path: data for path, data in made.items() if path != bag.RUN_MD}
    gone = (*payload, *(f"{bag.KIT}/{name}" for name in aside))
    tags = (bag.RUN_MD, bag.INFO, bag.MANIFEST, bag.TAG_MANIFEST, *(bag.SIGNED if signed else ()))
    for path in (*gone, *tags):
        kept = root / RECEIVED / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        (root / path).rename(kept)
    if aside:
        (root / bag.KIT).rmdir()
    listed |= {path: sha256_bytes(data) for path, data in payload.items()}
    for path, data in payload.items():
        _write(root / path, data)
    run = facts.predicate.run
    size = sum((root / path).stat().st_size for path in listed)
    info = bag.info(bag.Oxum(size, len(listed)), run.id, run.started_at[:10], own.kit.version)
    packer = None if signed is None else signed.claims.packer
    new = {
        bag.BAGIT: bag.BAGIT_TXT,
        bag.INFO: info,
        bag.MANIFEST: bag.manifest(listed),
        bag.RUN_MD: run_md(facts, packer, wheels_of(listed), unpacked=True),
    }
    new[bag.TAG_MANIFEST] = bag.tag_manifest(new)
    for name in tags:
        if name in new:
            _write(root / name, new[name])


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o444)
