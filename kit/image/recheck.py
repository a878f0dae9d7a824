"""Hash the artifacts of a lock again. Imports no download code: flake.nix runs the assembler without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch
from kit.core.store import Artifact, Progress, Store, no_progress
from kit.core.text import in_shell
from kit.image.lock import Lock
from kit.image.meter import ByteMeter, cores


def recheck(lock: Lock, store: Store, progress: Progress = no_progress) -> None:
    """Hash every artifact in the store again. Raises `DigestMismatch` naming the first bad file."""
    meter = ByteMeter("hash artifacts", lock.size, progress)

    def check(artifact: Artifact) -> None:
        path = store.blob(artifact.sha256)
        if sha256_file(path) != artifact.sha256:
            raise DigestMismatch(
                f"checksum mismatch: {path} ({artifact.name}) was changed",
                f"rm {in_shell(path)}, then run the command again",
            )
        meter.part(artifact.name, artifact.size, artifact.size)

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(check, sorted(lock.artifacts, key=lambda a: (-a.size, a.name))):
            pass
