"""Load a submission: the directory that an agent hands in."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.task_files import MANIFEST, MAX_MANIFEST, listed
from kit.benchmark.workspace import MAX_BYTES, RULES, FolderFault, list_folder
from kit.core.digest import Sha256, sha256_bytes, tree_digest
from kit.core.errors import PrerequisiteError, SchemaError, UsageError
from kit.core.files import make_readable
from kit.core.open_folder import OpenFolder, open_folder
from kit.core.schema import parse_toml, validate

ENTRY = "train_gpt2.py"
"""Upstream's name of the training script up to record 21, and the name of the kit's own trainer."""
LATER_ENTRY = "train_gpt.py"
"""Upstream's name of the training script in later records."""
ENTRIES = (ENTRY, LATER_ENTRY)
RUN_TOML = "run.toml"
MAX_RUN_TOML = 16 << 10
"""Bytes. The time to parse a key of many parts grows with the square of its length."""

_RUN = 'write one line into run.toml, for example: args = ["--lr", "0.1"]'


@dataclass(frozen=True, slots=True)
class SubmissionFile:
    """One file in memory, so that the checked bytes are the bytes that run."""

    name: str
    """Relative POSIX path."""
    data: bytes
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Submission:
    """The content of a submission at the time of loading."""

    entry: str
    args: tuple[str, ...]
    files: tuple[SubmissionFile, ...]
    """Sorted by name, including `run.toml` if it exists."""
    left_out: tuple[str, ...] = ()
    """What the directory also holds and no run gets; see `kit.benchmark.workspace`."""

    @property
    def digest(self) -> Sha256:
        """Return the digest of the whole submission; see `kit.core.digest.tree_digest`."""
        return tree_digest({f.name: f.sha256 for f in self.files})

    def write(self, folder: Path) -> None:
        """Write the files into an empty directory, read-only, for the guest."""
        for file in self.files:
            path = folder / file.name
            make_readable(path.parent, folder)
            with path.open("xb") as f:
                f.write(file.data)
            path.chmod(0o444)


@dataclass(frozen=True, slots=True)
class SubmissionFolder:
    """The content of a directory, and every rule of submissions that it breaks."""

    entry: str
    """The training script; it may be missing."""
    files: tuple[SubmissionFile, ...]
    """Those that could be read, sorted by name."""
    left_out: tuple[str, ...]
    args: tuple[str, ...]
    """Those of `run.toml`; none if it is missing or invalid."""
    faults: tuple[FolderFault, ...]


def entry_of(names: Collection[str]) -> str:
    """Return the training script among the files of a submission whose task is not known."""
    return next((name for name in ENTRIES if name in names), ENTRY)


def load_submission(folder: Path, entry: str | None = None) -> Submission:
    """
    Read a submission into memory.

    `entry` is the training script as the task names it; None takes whichever of `ENTRIES` is there.
    Links, devices, pipes, sockets and names other than `[A-Za-z0-9_.-]` are refused. So are more than 64
    files, 8 MiB or 4 levels, and an invalid `run.toml`. Hidden files, caches and the texts of `task export`
    are left out; see `kit.benchmark.workspace` and `kit.benchmark.task_files`. The code is not checked.
    Raises `PrerequisiteError` if the directory or its entry file is missing, `UsageError` if it breaks a
    rule, `SchemaError` for `run.toml`.
    """
    return _without_faults(read_submission(folder, entry))


def load_open(folder: OpenFolder, entry: str | None = None) -> Submission:
    """Read a submission from an open directory into memory; otherwise as `load_submission`."""
    return _without_faults(_read_open(folder, entry))


def _without_faults(read: SubmissionFolder) -> Submission:
    for fault in read.faults:
        raise fault.error(fault.message, fault.hint)
    return Submission(read.entry, read.args, read.files, read.left_out)


def read_submission(folder: Path, entry: str | None = None) -> SubmissionFolder:
    """
    Read what a directory holds, and return every rule that it breaks instead of raising the first.

    `entry` is as for `load_submission`.
    Raises `PrerequisiteError` if `folder` is not a directory, and `OSError` if it cannot be listed.
    """
    if not folder.is_dir():
        raise PrerequisiteError(f"not a directory: {folder}", RULES)
    with open_folder(folder) as opened:
        return _read_open(opened, entry)


def _read_open(folder: OpenFolder, entry: str | None) -> SubmissionFolder:
    listing = list_folder(folder)
    faults = list(listing.faults)
    entry = entry or entry_of({*listing.names, *(fault.name for fault in faults)})
    if entry not in listing.names and not any(fault.name == entry for fault in faults):
        faults.append(_no_entry(folder.path, entry, listing.names))
    files: list[SubmissionFile] = []
    exported = _exported(folder) if MANIFEST in listing.left_out else {}
    unchanged: list[str] = []
    left = MAX_BYTES
    for name in listing.names:
        try:
            data = _read(folder, name, left)
        except UsageError as e:
            faults.append(FolderFault(name, e.message, e.hint))
            continue
        digest = sha256_bytes(data)
        if exported.get(name) == digest:
            unchanged.append(name)
            continue
        left -= len(data)
        files.append(SubmissionFile(name, data, digest))
    args: tuple[str, ...] = ()
    try:
        args = _args(files, folder.path)
    except SchemaError as e:
        faults.append(FolderFault(RUN_TOML, e.message, e.hint, SchemaError))
    left_out = tuple(sorted((*listing.left_out, *unchanged)))
    return SubmissionFolder(entry, tuple(files), left_out, args, tuple(faults))


def _no_entry(folder: Path, entry: str, names: Collection[str]) -> FolderFault:
    other = next((name for name in ENTRIES if name in names), None)
    hint = (
        f"write the training script to {entry}"
        if other is None
        else f"check the task and the profile, or rename {other}"
    )
    return FolderFault(entry, f"{entry} not found in {folder}", f"{hint}; {RULES}", PrerequisiteError)


def _exported(folder: OpenFolder) -> dict[str, Sha256]:
    """Return the digests of the texts that `task export` wrote; none if its manifest cannot be read."""
    try:
        return listed(_read(folder, MANIFEST, MAX_MANIFEST))
    except UsageError:
        return {}


def _read(folder: OpenFolder, name: str, limit: int) -> bytes:
    path = folder.path / name
    try:
        fd = folder.open(name)
        with os.fdopen(fd, "rb") as f:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UsageError(f"{path} is not a regular file", RULES)
            data = f.read(limit + 1)
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}", RULES) from e
    if len(data) > limit:
        raise UsageError(
            f"the submission is larger than {MAX_BYTES >> 20} MiB (at {path})", "submit code, not data"
        )
    return data


def _args(files: list[SubmissionFile], where: Path) -> tuple[str, ...]:
    data = next((f.data for f in files if f.name == RUN_TOML), b"")
    if len(data) > MAX_RUN_TOML:
        raise SchemaError(f"{where / RUN_TOML}: larger than {MAX_RUN_TOML >> 10} KiB", _RUN)
    try:
        document = parse_toml(data, str(where / RUN_TOML))
        validate("run.v1", document, str(where / RUN_TOML))
    except SchemaError as e:
        raise SchemaError(e.message, _RUN) from e
    return tuple(document.get("args", ()))
