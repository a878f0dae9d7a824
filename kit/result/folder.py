"""
The files of a run directory and their digests.

    result.json    the bundle
    signer.pem     the signer's public key, so that anyone can check the bytes before trusting the key
    submission/    the submission's files
    guest.log      the guest's raw output
    stamps         the host's stamp of each piece of output
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kit.core.digest import Sha256, sha256_file, tree_digest
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.core.files import write_atomic
from kit.core.reading import unreadable
from kit.result.directory_kind import DirectoryKind, not_of_kind
from kit.result.keys import PublicKey, Signer, read_public
from kit.result.predicate import InputFile
from kit.result.statement import LOG, STAMPS, SUBMISSION, Subjects

BUNDLE = "result.json"
SIGNER = "signer.pem"
SERIES = "plan.json"
"""The file by which the directory of a series is recognized; `kit.series` writes it."""
MAX_FILES = 1024
"""Maximum number of files in a submission, and of directories."""
MAX_BOUND = 1 << 30
"""Limit in bytes of one file next to a bundle, and of all files of a submission together."""


def locate(path: Path) -> Path:
    """
    Return the bundle's path; `path` is the bundle or its directory.

    Raises `PrerequisiteError` if it is missing or not readable, or `path` is a pipe or a device.
    """
    try:
        bundle = path / BUNDLE if path.is_dir() else path
        there = bundle.exists()
        is_other = there and bundle is path and not path.is_file()
    except OSError as e:
        raise unreadable(path, e) from e
    if is_other:
        raise PrerequisiteError(
            f"cannot read {path}: not a regular file", "pass a result.json, or the directory of a run"
        )
    if not there:
        why, hint = f"bundle not found: {bundle}", "pass a result.json, or the directory of a run"
        raise not_of_kind(path, DirectoryKind.RUN, why, hint)
    return bundle


def is_alone(bundle: Path) -> bool:
    """Tell whether none of the files that a bundle binds is next to it."""
    return not any((bundle.parent / name).exists() for name in (SUBMISSION, LOG, STAMPS))


def leave_key(folder: Path, signer: Signer) -> None:
    """Write the signer's public key next to the future bundle."""
    write_atomic(folder / SIGNER, signer.public.pem)


def signer_beside(bundle: Path, key_id: str) -> PublicKey | None:
    """Return the public key next to a bundle if it has this id. It is not trusted for that."""
    path = bundle.parent / SIGNER
    if not path.is_file():
        return None
    key = read_public(path)
    return key if key.key_id == key_id else None


def submission_files(folder: Path) -> tuple[InputFile, ...]:
    """
    Return the files of `folder/submission`, sorted by name.

    Raises `DigestMismatch` for more than `MAX_FILES` files or `MAX_BOUND` bytes, and for anything but
    regular files and directories, because the digest does not cover the target of a link.
    """
    return tuple(sorted(_walk(folder / SUBMISSION), key=lambda f: f.name))


def subjects(folder: Path) -> Subjects:
    """Return the digests of the files next to a bundle. Raises `DigestMismatch` if one is missing."""
    files = {f.name: f.sha256 for f in submission_files(folder)}
    return Subjects(submission=tree_digest(files), log=_digest(folder / LOG), stamps=_digest(folder / STAMPS))


def _walk(submission: Path) -> Iterator[InputFile]:
    if submission.is_symlink():
        raise DigestMismatch(f"{submission} is a link, not a directory")
    waiting, files, folders, size = [""], 0, 0, 0
    while waiting:
        prefix = waiting.pop()
        for entry in _entries(submission / prefix):
            if not entry.name.isprintable() or "\\" in entry.name:
                raise DigestMismatch(
                    f"{entry.path!a}: the file name has a backslash or an unprintable character"
                )
            inside = entry.is_dir(follow_symlinks=False)
            files, folders = files + (not inside), folders + inside
            if max(files, folders) > MAX_FILES:
                raise DigestMismatch(f"{submission} has more than {MAX_FILES} files")
            if inside:
                waiting.append(f"{prefix}{entry.name}/")
            else:
                path = Path(entry.path)
                size += entry.stat(follow_symlinks=False).st_size
                if size > MAX_BOUND:
                    raise DigestMismatch(f"{submission} has more than {MAX_BOUND} bytes")
                digest = _digest(path)
                yield InputFile(f"{prefix}{entry.name}", path.stat().st_size, digest)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return list(itertools.islice(scan, 2 * MAX_FILES + 1))
    except OSError as e:
        raise DigestMismatch(f"cannot read the directory {folder}: {e.strerror}") from e


def _digest(path: Path) -> Sha256:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise DigestMismatch(f"{path} is not a regular file")
        if status.st_size > MAX_BOUND:
            raise DigestMismatch(f"{path} is larger than {MAX_BOUND} bytes")
        return sha256_file(path)
    except OSError as e:
        raise DigestMismatch(f"cannot read {path}: {e.strerror}") from e
