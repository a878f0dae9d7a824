"""
Carry an era to a machine without a network, in pieces: split a store here, join it there, build and verify.

    python benchmarks/gpu/carry.py split STORE ERA DIR [--piece-bytes 58000000]
    python benchmarks/gpu/carry.py join DIR STORE ERA

`split` writes DIR/p00, p01, ... and DIR/pieces.json, which names each piece by sha256. `join` compares
every piece and every blob, so that a piece that is missing or was cut is named before anything is built.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import BinaryIO

from kit.core.facts import facts_root
from kit.core.store import Artifact, Store
from kit.image.lock import read_lock
from kit.image.spec import read_spec

LIST = "pieces.json"
CHUNK = 1 << 20


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class _Joined:
    """Files read as one, each only while it is needed."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = iter(paths)
        self._file: BinaryIO | None = None

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; empty at the end of the last file."""
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return b""
                self._file = path.open("rb")
            if data := self._file.read(min(size, CHUNK)):
                return data
            self._file.close()
            self._file = None


def _copy(source: _Joined, target: Path, size: int) -> int:
    """Write up to `size` bytes to `target`; return how many there were."""
    written = 0
    with target.open("wb") as sink:
        while written < size and (data := source.read(size - written)):
            written += sink.write(data)
    return written


def split(store: Path, era: str, folder: Path, piece_bytes: int) -> None:
    """Write the blobs of an era's lock one behind the other into pieces of at most `piece_bytes`."""
    artifacts = _artifacts(era)
    missing = [a.name for a in artifacts if not Store(store).has(a)]
    if missing:
        sys.exit(f"error: {len(missing)} files are not in {store}, {missing[0]} for one\n"
                 f"hint: speedrun image fetch {era} --store {store}")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    source = _Joined([Store(store).blob(a.sha256) for a in artifacts])
    pieces: list[Path] = []
    while _copy(source, piece := folder / f"p{len(pieces):02d}", piece_bytes):
        pieces.append(piece)
    piece.unlink()
    listed = {piece.name: _sha256(piece) for piece in pieces}
    (folder / LIST).write_text(json.dumps({"era": era, "pieces": listed}, indent=1))
    print(f"{len(pieces)} pieces of at most {piece_bytes:,} bytes in {folder}")


def join(folder: Path, store: Path, era: str) -> None:
    """Put the blobs of an era's lock into a store, from pieces that are compared first."""
    listed = json.loads((folder / LIST).read_text())["pieces"]
    wrong = [n for n, sha256 in listed.items() if not (folder / n).is_file() or _sha256(folder / n) != sha256]
    if wrong:
        sys.exit(f"error: {len(wrong)} of {len(listed)} pieces are missing or cut: {', '.join(wrong[:8])}")
    source = _Joined([folder / name for name in sorted(listed)])
    blobs = store / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for artifact in _artifacts(era):
        target = blobs / artifact.sha256
        if _copy(source, target, artifact.size) != artifact.size or _sha256(target) != artifact.sha256:
            sys.exit(f"error: {artifact.name} does not have its sha256 after joining")
    print(f"{era}: {len(_artifacts(era))} files are in {store}")


def _artifacts(era: str) -> list[Artifact]:
    lock = read_lock(read_spec(facts_root() / "images", era))
    return sorted(lock.artifacts, key=lambda a: a.sha256)


def main() -> None:
    """Run one of the two commands."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)
    one = commands.add_parser("split")
    one.add_argument("store", type=Path)
    one.add_argument("era")
    one.add_argument("folder", type=Path)
    one.add_argument("--piece-bytes", type=int, default=58_000_000)
    two = commands.add_parser("join")
    two.add_argument("folder", type=Path)
    two.add_argument("store", type=Path)
    two.add_argument("era")
    a = p.parse_args()
    if a.command == "split":
        split(a.store, a.era, a.folder, a.piece_bytes)
    else:
        join(a.folder, a.store, a.era)


if __name__ == "__main__":
    main()
