"""
The content-addressed store: files named by sha256, shared by all processes of a user.

    <root>/blobs/sha256/<64 hex>     complete, verified, never changed
    <root>/partial/<64 hex>          a transfer that can be resumed
    <root>/<room>/...                data derived from blobs by other packages (layouts, unpacked layers)

Only the store writes blobs. Fetchers append bytes to a partial file. A blob is renamed into place after its
digest is checked, so a reader never sees an incomplete blob.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from kit.core.digest import CHUNK, Sha256, is_sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, NetworkError, PrerequisiteError
from kit.core.files import STAGING, disk_errors, files_below, make_folder, place, staged
from kit.core.locks import acquire

Progress = Callable[[str, int, int], None]
"""Called with (label, bytes done, total bytes); the total is 0 if unknown."""


def no_progress(label: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A required file, identified by its digest; a fetcher decides where it comes from."""

    name: str
    """File name for messages and mirrors, for example `numpy-2.1.3-….whl`."""
    size: int
    sha256: Sha256


class Fetcher(Protocol):
    """Fetches bytes from one kind of source."""

    source: str
    """Name of this source in messages."""

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """
        Append the artifact's bytes from `offset` on to `sink`, or truncate `sink` and start at 0.

        Raises `PrerequisiteError` if this source does not have the artifact, `NetworkError` if the
        transfer failed (the bytes written so far stay for the next attempt).
        """


class Store:
    """A store at `root`, which is created on first use."""

    def __init__(self, root: Path) -> None:
        # guests and engines have other working directories, and runc refuses a path with a symbolic link
        self.root = Path(os.path.realpath(root))

    def blob(self, sha256: Sha256) -> Path:
        """Return the path of the blob, which need not exist."""
        if not is_sha256(sha256):
            raise DigestMismatch(f"not a sha256 digest: {sha256[:80]!r}")
        return self.root / "blobs" / "sha256" / sha256

    def has(self, artifact: Artifact) -> bool:
        """Tell whether the blob exists with the right size. Its bytes were checked when it was stored."""
        try:
            return self.blob(artifact.sha256).stat().st_size == artifact.size
        except (FileNotFoundError, NotADirectoryError):
            return False

    def room(self, name: str) -> Path:
        """Return the store's directory for one kind of derived data; create it if missing."""
        return make_folder(self.root / name)

    def ensure(
        self, artifact: Artifact, fetchers: Sequence[Fetcher], progress: Progress = no_progress
    ) -> Path:
        """
        Return the artifact's path, fetching it from the first source that has it.

        Raises `DigestMismatch` if a source returned other bytes (the partial file is deleted),
        `PrerequisiteError` if no source has it, `NetworkError` if a transfer failed and no other source
        has it, `RunError` if the disk is full. In each case the store's blobs are unchanged.
        """
        path = self.blob(artifact.sha256)
        if self.has(artifact):
            return path
        with self.lock(f"blob-{artifact.sha256}"):
            if self.has(artifact):
                return path
            self._fetch(artifact, fetchers, progress)
        return path

    def _fetch(self, artifact: Artifact, fetchers: Sequence[Fetcher], progress: Progress) -> None:
        partial = make_folder(self.root / "partial") / artifact.sha256
        misses: list[str] = []
        broken: NetworkError | None = None
        for fetcher in fetchers:
            try:
                with disk_errors(partial), partial.open("ab") as sink:
                    if sink.tell() > artifact.size:
                        sink.truncate(0)
                    offset = sink.seek(0, os.SEEK_END)
                    if offset < artifact.size:
                        fetcher.fetch(artifact, sink, offset, progress)
                self._admit(partial, artifact, fetcher.source)
            except PrerequisiteError as e:
                misses.append(e.message if fetcher.source in e.message else f"{fetcher.source}: {e.message}")
                continue
            except NetworkError as e:
                broken = broken or e
                continue
            return
        if broken is not None:
            raise broken
        tried = "; ".join(misses) or "no source is configured"
        raise PrerequisiteError(
            f"{artifact.name} (sha256 {artifact.sha256[:12]}…) not found in any source ({tried})",
            "put the file into a directory and pass that directory with --mirror DIR",
        )

    def _admit(self, partial: Path, artifact: Artifact, source: str) -> None:
        size = partial.stat().st_size
        actual = sha256_file(partial)
        if actual != artifact.sha256:
            partial.unlink()
            short = f" ({size} of {artifact.size} bytes)" if size != artifact.size else ""
            raise DigestMismatch(
                f"checksum mismatch: {artifact.name} from {source}{short} has sha256 {actual[:12]}…, "
                f"expected {artifact.sha256[:12]}…",
                "run the command again to download it again, or use another source",
            )
        place(partial, self.blob(artifact.sha256))

    def put(self, data: bytes) -> Sha256:
        """Store bytes under their digest and return it; replace a corrupt blob."""
        sha256 = sha256_bytes(data)
        path = self.blob(sha256)
        with self.lock(f"blob-{sha256}"):
            if not path.exists() or path.read_bytes() != data:
                partial = make_folder(self.root / "partial") / sha256
                with disk_errors(partial):
                    partial.write_bytes(data)
                place(partial, path)
        return sha256

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """
        Hold the store-wide lock called `name` for the block; the kernel releases it if this process dies.

        The lock is a separate file that no guest sees: a guest can lock every file that it can read. It also
        works between machines that share a store; see `kit.core.locks`. A store that this process cannot
        write is used without locks: files appear in it only when they are complete.
        """
        if self._is_read_only("locks"):
            yield
            return
        path = make_folder(self.root / "locks") / name
        with disk_errors(path):
            lock = acquire(path, wait=True)
        try:
            yield
        finally:
            if lock:
                lock.release()

    def tidy(self) -> None:
        """Remove incomplete directories of killed processes from the store."""
        for abandoned in self.root.glob(f"*/{STAGING}*"):
            if abandoned.exists():
                with staged(abandoned.parent):
                    pass

    @contextlib.contextmanager
    def staging(self, room: str) -> Iterator[Path]:
        """Yield an empty directory on the store's file system; see `staged`."""
        with staged(self.room(room)) as folder:
            yield folder

    @contextlib.contextmanager
    def working_folder(self, room: str) -> Iterator[Path]:
        """
        Yield an empty directory for files that are needed until the end of the block.

        It is in the store, or in the directory for temporary files if the store is read-only.
        """
        if not self._is_read_only(room):
            with self.staging(room) as folder:
                yield folder
            return
        with tempfile.TemporaryDirectory(prefix=f"speedrun-{room}-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # a guest has another uid
            yield folder

    def _is_read_only(self, room: str) -> bool:
        """Tell whether this process can read the store, but not write the directory of one kind of data."""
        folder = self.root / room
        return self.root.is_dir() and not os.access(folder if folder.is_dir() else self.root, os.W_OK)


def copy_stream(
    source: BinaryIO, sink: BinaryIO, label: str, total: int, progress: Progress, done: int = 0
) -> int:
    """Copy the rest of `source` in chunks, report progress, and return the total bytes in `sink`."""
    while chunk := source.read(CHUNK):
        sink.write(chunk)
        done += len(chunk)
        progress(label, done, total)
    return done


class FolderFetcher:
    """Fetches artifacts by name from a directory, at any depth, through links: `--mirror DIR`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = f"mirror {folder}"
        self._index: dict[str, Path] | None = None

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """See `Fetcher.fetch`; always starts at 0, because a local copy is cheap."""
        if self._index is None:
            if not self.folder.is_dir():
                raise PrerequisiteError(f"{self.folder} is not a directory")
            self._index = {p.name: p for p in files_below(self.folder)}
        path = self._index.get(artifact.name) or self._index.get(artifact.sha256)
        if path is None:
            raise PrerequisiteError("file not found")
        sink.truncate(0)
        with path.open("rb") as source:
            copy_stream(source, sink, artifact.name, artifact.size, progress)
