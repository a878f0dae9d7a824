"""
The form of a capsule: a BagIt bag (RFC 8493) in a tar of one spelling. Reads and writes no archive.

    capsule/bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt  RUN.md
    capsule/capsule.json  packer.pem   the packer's signature and key; version 0.1 wrote neither
    capsule/data/run/            the signed bundle and the files beside it
    capsule/data/image/          the image: OCI layout, with Docker's manifest.json
    capsule/data/images/<era>/   image.toml, lock.json, digest: from which the image can be built again
    capsule/data/records/        the kit's file about the record
    capsule/data/runc/           a configuration for runc alone
    capsule/data/shards/         the data, where it was packed
    capsule/data/kit/            wheels of the kit, where they were packed

The tag files come first, then the payload sorted by path, each folder before what it holds. So a reader knows
what must follow before the first byte of it arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kit.core.digest import Sha256, is_sha256, sha256_bytes
from kit.core.errors import IntegrityError
from kit.image.entry import EntryKind

TOP = "capsule"
"""Short and the same for all: with it every path fits into a plain tar header."""
BAGIT = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
RUN_MD = "RUN.md"
STATEMENT = "capsule.json"
"""What the packer signed: `kit.capsule.statement`."""
PACKER = "packer.pem"
"""The packer's public key."""
TAG_FILES = (BAGIT, INFO, MANIFEST, TAG_MANIFEST, RUN_MD)
"""Of every capsule, in the order in which they stand in the archive."""
SIGNED = (STATEMENT, PACKER)
"""The tag files that follow, unless version 0.1 packed the capsule."""
COVERED = (RUN_MD, INFO, BAGIT, STATEMENT, MANIFEST, PACKER)
"""What the tag manifest lists if it is there, sorted as `sort` does in the C locale."""

BAGIT_TXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MAX_TAG_FILE = 1 << 20
"""Bytes; of `STATEMENT`, which repeats every path in base64, four times as many."""
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
    """How much payload there is; BagIt's own term (octets and number of files) for its `Payload-Oxum`."""

    size: int
    """Bytes."""
    files: int


def manifest(files: Mapping[str, Sha256]) -> bytes:
    """Return what `sha256sum` prints for these paths, sorted by path."""
    return "".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode("ascii")


def parse_manifest(data: bytes, where: str) -> dict[str, Sha256]:
    """
    Return path -> sha256 of a payload manifest, in order.

    Raises `IntegrityError` unless it is what `manifest` writes: paths below `data/` of plain names, sorted,
    none twice, none both a file and a folder; at most `MAX_FILES`.
    """
    digests: dict[str, Sha256] = {}
    last = ""
    for number, line in enumerate(_lines(data, where), 1):
        digest, gap, path = line[:64], line[64:66], line[66:]
        if not is_sha256(digest) or gap != "  ":
            raise _refusal(where, number, "not a line of sha256sum")
        if len(path) > MAX_PATH or not _PATH.fullmatch(path):
            raise _refusal(where, number, f"{path[:120]!r} is no path of a capsule's payload")
        if path <= last:
            raise _refusal(where, number, f"{path!r} is listed twice, or not in order")
        if number > MAX_FILES:
            raise _refusal(where, number, f"more than {MAX_FILES} files")
        digests[path], last = Sha256(digest), path
    for path in digests:
        for folder in parents(path):
            if folder in digests:
                raise IntegrityError(f"{where}: {folder} is both a file and a folder")
    if manifest(digests) != data or not digests:
        raise IntegrityError(f"{where}: not in its one spelling, or empty")
    return digests


def _lines(data: bytes, where: str) -> list[str]:
    try:
        return data.decode("ascii").split("\n")[:-1]
    except UnicodeDecodeError as e:
        raise IntegrityError(f"{where}: not plain ASCII") from e


def _refusal(where: str, number: int, why: str) -> IntegrityError:
    return IntegrityError(f"{where}, line {number}: {why}")


def tag_manifest(tags: Mapping[str, bytes]) -> bytes:
    """Return the manifest of the tag files that it covers."""
    listed = [name for name in COVERED if name in tags]
    return "".join(f"{sha256_bytes(tags[name])}  {name}\n" for name in listed).encode("ascii")


def is_signed(tag_manifest: bytes) -> bool:
    """Tell whether a tag manifest lists a packer's statement, so that `SIGNED` must follow `TAG_FILES`."""
    return f"  {STATEMENT}\n".encode() in tag_manifest


def largest(tag: str) -> int:
    """Return how many bytes a tag file may have."""
    return 4 * MAX_TAG_FILE if tag == STATEMENT else MAX_TAG_FILE


def info(oxum: Oxum, run_id: str, day: str, version: str) -> bytes:
    """Return bag-info.txt. `day` is that of the run: the same capsule has the same bytes on any day."""
    lines = (
        f"Bag-Software-Agent: speedrun-kit {version}",
        f"Bagging-Date: {day}",
        f"External-Identifier: {run_id}",
        f"Payload-Oxum: {oxum.size}.{oxum.files}",
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def info_version(data: bytes, where: str) -> str:
    """Return the packer's version as bag-info.txt states it. Raises `IntegrityError` unless it is one."""
    agent = re.match(
        r"Bag-Software-Agent: speedrun-kit ([0-9A-Za-z.+-]{1,64})$", (_lines(data, where) or [""])[0]
    )
    if agent is None:
        raise IntegrityError(f"{where}: names no version of speedrun-kit in its first line")
    return agent[1]


def parse_oxum(data: bytes, where: str) -> Oxum:
    """Return the payload's size as bag-info.txt states it. Raises `IntegrityError` if it does not, once."""
    values = [line.split(": ", 1)[1] for line in _lines(data, where) if line.startswith("Payload-Oxum: ")]
    match = _OXUM.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise IntegrityError(f"{where}: states no Payload-Oxum, or more than one")
    return Oxum(int(match[1]), int(match[2]))


def parents(path: str) -> Iterator[str]:
    """Yield the folders that hold `path`, the outermost first."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth])


def members(payload: Mapping[str, Sha256]) -> Iterator[tuple[str, EntryKind]]:
    """Yield every member of the archive below `TOP` in its order, folders too; the tag files not."""
    folders: set[str] = set()
    for path in sorted(payload):
        for folder in parents(path):
            if folder not in folders:
                folders.add(folder)
                yield folder, EntryKind.FOLDER
        yield path, EntryKind.FILE
