"""
Define the format of a capsule: a BagIt bag (RFC 8493) in a deterministic tar.

    capsule/bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt  RUN.md
    capsule/capsule.json  packer.pem   the packer's signature and key; version 0.1 wrote neither
    capsule/data/run/            the signed bundle and the files beside it
    capsule/data/image/          the image: OCI layout, with Docker's manifest.json
    capsule/data/images/<era>/   image.toml, lock.json, digest: enough to build the image again
    capsule/data/records/        the kit's file about the record
    capsule/data/runc/           a configuration for runc alone
    capsule/data/shards/         the data, if packed
    capsule/data/kit/            wheels of the kit, if packed

The tag files come first, then the payload sorted by path, each directory before its content. So a reader
knows each next member in advance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kit.core import bagit
from kit.core.digest import Sha256, is_sha256, sha256_bytes
from kit.core.errors import IntegrityError
from kit.image.entry import EntryKind

TOP = "capsule"
"""Short and always the same, so that every path fits into a plain tar header."""
BAGIT = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = bagit.TAG_MANIFEST
RUN_MD = "RUN.md"
STATEMENT = "capsule.json"
"""The statement that the packer signs: `kit.capsule.statement`."""
PACKER = "packer.pem"
"""The packer's public key."""
TAG_FILES = (BAGIT, INFO, MANIFEST, TAG_MANIFEST, RUN_MD)
"""Tag files of every capsule, in the order of the archive."""
SIGNED = (STATEMENT, PACKER)
"""The tag files that follow, unless version 0.1 packed the capsule."""
COVERED = (RUN_MD, INFO, BAGIT, STATEMENT, MANIFEST, PACKER)
"""Files that the tag manifest lists if they exist, in the order of `sort` in the C locale."""

BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_TAG_FILE = 1 << 20
"""Bytes. `STATEMENT` repeats every path in base64, so its limit is four times as large."""
MAX_FILES = 4096
MAX_PATH = 512

RUN = "data/run"
IMAGE = "data/image"
IMAGES = "data/images"
RECORDS = "data/records"
RUNC = "data/runc"
SHARDS = "data/shards"
KIT = "data/kit"

_PATH = re.compile(r"data(/[A-Za-z0-9_][A-Za-z0-9_.+@=,-]*)+")
_OXUM = re.compile(r"([0-9]{1,16})\.([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Oxum:
    """Size and number of the payload files: BagIt's `Payload-Oxum`."""

    size: int
    """Bytes."""
    files: int


def manifest(files: Mapping[str, Sha256]) -> bytes:
    """Return the output of `sha256sum` for these paths, sorted by path."""
    return "".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode("ascii")


def parse_manifest(data: bytes, where: str) -> dict[str, Sha256]:
    """
    Parse a payload manifest to path -> sha256, in order.

    Raises `IntegrityError` unless `manifest` writes the same bytes: sorted, unique, plain paths below
    `data/`, none both a file and a directory; at most `MAX_FILES`.
    """
    digests: dict[str, Sha256] = {}
    last = ""
    for number, line in enumerate(_lines(data, where), 1):
        digest, gap, path = line[:64], line[64:66], line[66:]
        if not is_sha256(digest) or gap != "  ":
            raise _refusal(where, number, "not a line in sha256sum format")
        if len(path) > MAX_PATH or not _PATH.fullmatch(path):
            raise _refusal(where, number, f"invalid payload path {path[:120]!r}")
        if path <= last:
            raise _refusal(where, number, f"{path!r} is listed twice or out of order")
        if number > MAX_FILES:
            raise _refusal(where, number, f"more than {MAX_FILES} files")
        digests[path], last = Sha256(digest), path
    for path in digests:
        for folder in parents(path):
            if folder in digests:
                raise IntegrityError(f"{where}: {folder} is both a file and a directory")
    if manifest(digests) != data or not digests:
        raise IntegrityError(f"{where} is empty or not in canonical form")
    return digests


def _lines(data: bytes, where: str) -> list[str]:
    try:
        return data.decode("ascii").split("\n")[:-1]
    except UnicodeDecodeError as e:
        raise IntegrityError(f"{where} is not ASCII text") from e


def _refusal(where: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(f"{where}, line {number}: {why}")


def tag_manifest(tags: Mapping[str, bytes]) -> bytes:
    """Return the manifest of the tag files."""
    listed = [name for name in COVERED if name in tags]
    return "".join(f"{sha256_bytes(tags[name])}  {name}\n" for name in listed).encode("ascii")


def is_signed(tag_manifest: bytes) -> bool:
    """Tell whether a tag manifest lists a packer's statement; then `SIGNED` must follow `TAG_FILES`."""
    return f"  {STATEMENT}\n".encode() in tag_manifest


def largest(tag: str) -> int:
    """Return the size limit of a tag file, in bytes."""
    return 4 * MAX_TAG_FILE if tag == STATEMENT else MAX_TAG_FILE


def info(oxum: Oxum, run_id: str, day: str, version: str) -> bytes:
    """Return bag-info.txt. `day` is the run's, so that a capsule packed again has the same bytes."""
    lines = (
        f"Bag-Software-Agent: speedrun-kit {version}",
        f"Bagging-Date: {day}",
        f"External-Identifier: {run_id}",
        f"Payload-Oxum: {oxum.size}.{oxum.files}",
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def info_version(data: bytes, where: str) -> str:
    """Return the packer's version from bag-info.txt. Raises `IntegrityError` if it is missing or invalid."""
    agent = re.match(
        r"Bag-Software-Agent: speedrun-kit ([0-9A-Za-z.+-]{1,64})$", (_lines(data, where) or [""])[0]
    )
    if agent is None:
        raise IntegrityError(f"{where}: no version of speedrun-kit in line 1")
    return agent[1]


def parse_oxum(data: bytes, where: str) -> Oxum:
    """Return the payload's size from bag-info.txt. Raises `IntegrityError` unless it is stated once."""
    values = [line.split(": ", 1)[1] for line in _lines(data, where) if line.startswith("Payload-Oxum: ")]
    match = _OXUM.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise IntegrityError(f"{where}: expected exactly one valid Payload-Oxum")
    return Oxum(int(match[1]), int(match[2]))


def parents(path: str) -> Iterator[str]:
    """Yield the parent directories of `path`, outermost first."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth])


def members(payload: Mapping[str, Sha256]) -> Iterator[tuple[str, EntryKind]]:
    """Yield every payload member of the archive in order, directories included, tag files excluded."""
    folders: set[str] = set()
    for path in sorted(payload):
        for folder in parents(path):
            if folder not in folders:
                folders.add(folder)
                yield folder, EntryKind.FOLDER
        yield path, EntryKind.FILE
