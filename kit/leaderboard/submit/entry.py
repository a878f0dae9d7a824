"""
Read and write one submitted result as a directory of a repository.

    submissions/<task>/<agent>/<run_id>/
        entry.json       agent, model, hints, note, capsule, retraction: unsigned
        result.json      the signed bundle
        signer.pem       the signer's public key
        submission/      the files that ran
        guest.log.gz     the guest's output
        stamps.gz        the host's stamps
"""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.benchmark.submission import load_submission
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.core.errors import IntegrityError, PrerequisiteError, SchemaError, UsageError
from kit.core.files import disk_errors
from kit.core.reading import open_file
from kit.core.schema import parse_json, validate
from kit.core.text import in_shell
from kit.leaderboard.submit.names import name_fault
from kit.result import folder
from kit.result.dsse import MAX_BUNDLE
from kit.result.keys import MAX_PEM, Trusted
from kit.result.statement import LOG, STAMPS, SUBMISSION
from kit.result.verify import VerifiedBundle, open_bundle
from kit.values.task_id import file_label, task_id

ROOT = "submissions"
ENTRY = "entry.json"
FORM = "submission.v1"
GZIPPED = (f"{LOG}.gz", f"{STAMPS}.gz")
FILES = (ENTRY, folder.BUNDLE, folder.SIGNER, *GZIPPED)
MAX_ENTRY = 16 << 10
MAX_GZIP = 16 << 20
MAX_PLAIN = 64 << 20
"""Size limit of guest.log and of stamps after decompression, in bytes."""
POINTER = b"version https://git-lfs.github.com/spec/"
"""Start of the file that a clone without Git LFS has in place of a *.gz file from the Hub."""
AGENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Retraction:
    """A result that its submitter withdrew. It stays listed as retracted."""

    on: str
    """Day, ISO 8601."""
    reason: str


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """What the submitter states in entry.json; unsigned."""

    agent: str
    model: str | None = None
    hints: tuple[int, ...] = ()
    """Hint levels, ascending."""
    note: str | None = None
    capsule: str | None = None
    """URL with https."""
    retracted: Retraction | None = None

    def to_json(self) -> bytes:
        """Return entry.json. Raises `SchemaError` for an invalid value or name."""
        gone = self.retracted
        document = {
            "schema": FORM,
            "agent": self.agent,
            "model": self.model,
            "hints": list(self.hints),
            "note": self.note,
            "capsule": self.capsule,
            "retracted": {"on": gone.on, "reason": gone.reason} if gone else None,
        }
        validate(FORM, document, ENTRY)
        _check_values(document)
        return canonical_json(document) + b"\n"


@dataclass(frozen=True, slots=True)
class Submitted:
    """One directory whose bundle and files have been verified."""

    where: Path
    entry: BoardEntry
    bundle: VerifiedBundle
    bundle_sha256: Sha256


def read_entry(path: Path) -> BoardEntry:
    """Read entry.json. Raises `SchemaError` if it is invalid, `IntegrityError` if it is too large."""
    data = read_bounded(path, MAX_ENTRY)
    d = parse_json(data, ENTRY)
    validate(FORM, d, ENTRY)
    _check_values(d)
    gone = d["retracted"]
    return BoardEntry(
        agent=d["agent"],
        model=d["model"],
        hints=tuple(d["hints"]),
        note=d["note"],
        capsule=d["capsule"],
        retracted=Retraction(gone["on"], gone["reason"]) if gone else None,
    )


def _check_values(document: dict[str, Any]) -> None:
    """Check what the schema cannot: names without lookalike characters, and sorted hints."""
    model, hints = document["model"], document["hints"]
    if model is not None and (fault := name_fault(model)):
        raise SchemaError(f"{ENTRY}: model: {fault}", "see docs/reference/submission.md")
    if any(type(level) is not int for level in hints) or hints != sorted(set(hints)):
        raise SchemaError(f"{ENTRY}: hints: expected ascending integers without duplicates, got {hints}")


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a file. Raises `IntegrityError` if it is not a regular file or larger than `limit` bytes."""
    if path.is_symlink() or not path.is_file():
        raise IntegrityError(f"{path.name} is not a regular file")
    with open_file(path) as f:
        data = f.read(limit + 1)
    if len(data) > limit:
        raise IntegrityError(f"{path.name} is larger than {limit} bytes")
    return data


def read_signer_key(where: Path) -> bytes:
    """Read the signer's public key, as PEM, from the directory of a signed document."""
    path = where / folder.SIGNER
    if not path.is_file():
        own = f"copy the signer's public key there; if it is your key: speedrun keys show > {in_shell(path)}"
        raise PrerequisiteError(f"{path} is missing", own)
    return read_bounded(path, MAX_PEM)


def inflate(path: Path) -> bytes:
    """
    Decompress a gzip file of at most `MAX_PLAIN` bytes.

    Raises `IntegrityError` if the content is larger, damaged, or followed by other bytes.
    """
    packed = zlib.decompressobj(wbits=31)
    raw = read_bounded(path, MAX_GZIP)
    if raw.startswith(POINTER):
        raise IntegrityError(f"{path.name} is a Git LFS pointer, not the file: run git lfs pull")
    try:
        data = packed.decompress(raw, MAX_PLAIN + 1)
    except zlib.error as e:
        raise IntegrityError(f"{path.name} is not a valid gzip file: {e}") from e
    if len(data) > MAX_PLAIN:
        raise IntegrityError(f"{path.name} decompresses to more than {MAX_PLAIN} bytes")
    if not packed.eof or packed.unused_data:
        raise IntegrityError(f"{path.name} is truncated, or has trailing bytes")
    return data


def open_submitted(where: Path, trusted: Trusted) -> Submitted:
    """
    Read and verify one entry. Its path in the repository is not checked.

    Raises as `read_entry`, `inflate`, `load_submission` and `open_bundle` do.
    """
    entry = read_entry(where / ENTRY)
    bundle = read_bounded(where / folder.BUNDLE, MAX_BUNDLE)
    files = load_submission(where / SUBMISSION)
    if files.left_out:  # the result binds none of these
        raise UsageError(f"unexpected file: {SUBMISSION}/{files.left_out[0]}", "remove it from the entry")
    with tempfile.TemporaryDirectory(prefix="speedrun-submitted-") as name:
        beside = Path(name)
        (beside / folder.BUNDLE).write_bytes(bundle)
        (beside / folder.SIGNER).write_bytes(read_bounded(where / folder.SIGNER, MAX_PEM))
        for packed in GZIPPED:
            (beside / packed.removesuffix(".gz")).write_bytes(inflate(where / packed))
        (beside / SUBMISSION).mkdir()
        files.write(beside / SUBMISSION)
        try:
            verified = open_bundle(beside, trusted)
        except IntegrityError as e:  # the temporary path means nothing to a reader
            raise type(e)(e.message.replace(f"{name}/", ""), "") from e
    return Submitted(where, entry, verified, sha256_bytes(bundle))


def place_of(bundle: VerifiedBundle, agent: str) -> str:
    """Return the directory of a result in a repository. Raises `UsageError` for an invalid agent name."""
    p = bundle.predicate
    return place_for(p.task.id, agent, p.run.id)


def place_for(task: str | int, agent: str, name: str) -> str:
    """Return the directory of a run or series id. Raises `UsageError` for an invalid agent name."""
    if not AGENT.fullmatch(agent):
        raise UsageError(f"invalid agent name: {agent[:80]!r}", "use up to 64 characters from a-z, 0-9 and -")
    return f"{ROOT}/{file_label(task_id(task))}/{agent}/{name}"


def write_submission(bundle: VerifiedBundle, entry: BoardEntry, root: Path) -> tuple[str, ...]:
    """
    Write a verified run as a directory below `root`; return its files, relative to `root`, sorted.

    The same run gives the same bytes with one version of zlib. Raises `UsageError` if the directory exists or
    is below a link, or the output is too large, `PrerequisiteError` if signer.pem is missing, `RunError` if
    the disk is full. A failure leaves no files behind.
    """
    place = place_of(bundle, entry.agent)
    require_no_link(root, place)
    target = root / place
    described = entry.to_json()
    beside = bundle.path.parent
    packed = {f"{name}.gz": _compressed(beside / name) for name in (LOG, STAMPS)}
    if target.exists():
        raise UsageError(f"{target} already exists", "this run is already submitted")
    script = load_submission(beside / SUBMISSION)
    packed[folder.BUNDLE] = read_bounded(bundle.path, MAX_BUNDLE)
    packed[folder.SIGNER] = read_signer_key(beside)
    with disk_errors(target):
        (target / SUBMISSION).mkdir(parents=True)
    try:
        with disk_errors(target):
            script.write(target / SUBMISSION)
            for name, data in {**packed, ENTRY: described}.items():
                (target / name).write_bytes(data)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # an incomplete directory would count as an entry
        raise
    return tuple(sorted(p.relative_to(root).as_posix() for p in target.rglob("*") if p.is_file()))


def require_no_link(root: Path, place: str) -> None:
    """Raise `UsageError` if a directory of `place` below `root` is a link: whoever made it chose where."""
    for parent in (root / place).relative_to(root).parents:
        if (root / parent).is_symlink() and parent != Path():
            raise UsageError(
                f"cannot write {root / place}: {root / parent} is a symbolic link",
                "entries are in directories; replace the link by one",
            )


def _compressed(path: Path) -> bytes:
    if path.stat().st_size > MAX_PLAIN:
        raise UsageError(f"{path.name} is larger than {MAX_PLAIN} bytes, the limit for entries")
    data = gzip.compress(read_bounded(path, MAX_PLAIN), compresslevel=9, mtime=0)
    if len(data) > MAX_GZIP:
        raise UsageError(f"{path.name}.gz has {len(data)} bytes; the limit for entries is {MAX_GZIP}")
    return data
