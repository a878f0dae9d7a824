"""Compute sha256 digests and canonical JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NewType

import rfc8785

from kit.core.errors import SchemaError
from kit.core.reading import open_file

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits, without an algorithm prefix."""

CHUNK = 1 << 20


def sha256_bytes(data: bytes) -> Sha256:
    """Return the sha256 of `data`."""
    return Sha256(hashlib.sha256(data).hexdigest())


def sha256_file(path: Path) -> Sha256:
    """
    Return the sha256 of a file's bytes, read in chunks.

    Raises `OSError` as the file system gives it; follows symbolic links.
    """
    with open_file(path) as f:
        return Sha256(hashlib.file_digest(f, "sha256").hexdigest())


def is_sha256(text: str) -> bool:
    """Tell whether `text` is a sha256 in this project's form."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


def canonical_json(value: Any) -> bytes:
    """
    Return the RFC 8785 form of a JSON value: sorted keys, no white space, one spelling per number.

    Raises `SchemaError` for values that JSON cannot represent (NaN, integers beyond 2**53, other types).
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as e:
        raise SchemaError(f"value has no canonical JSON form: {e}") from e


def tree_digest(files: Mapping[str, Sha256]) -> Sha256:
    """
    Return one digest for a set of files: sha256 over `<sha256>  <path>` lines sorted by path.

    The input is the output of `sha256sum`, so anyone can recompute the digest with coreutils. Paths are POSIX
    and relative; this function does not check that they are safe.
    """
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return sha256_bytes(lines.encode())


def files_under(root: Path) -> dict[str, Sha256]:
    """Return relative POSIX path -> sha256 for every regular file below `root`, sorted by path."""
    paths: Iterable[Path] = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in paths}
