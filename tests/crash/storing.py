"""Test the store: kill the build, or fill the disk, at every disk operation; then check and rebuild."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from images.tiny import era

from kit.core.digest import is_sha256, sha256_file
from kit.core.store import FolderFetcher, Store
from kit.image.build import accept, ensure_layout
from kit.image.rootfs import ensure_rootfs

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


@dataclass(frozen=True)
class Tiny:
    """A small era: one Debian package, two wheels, four layers; and a store."""

    images: Path
    mirror: Path
    store: Path

    def command(self, point: str = "-", action: str = "kill") -> list[str]:
        """Return the command line that builds the era and unpacks its root file system."""
        places = [str(self.images), str(self.store), str(self.mirror)]
        return [sys.executable, str(HERE / "dying.py"), point, action, "--", "build", *places]

    def build(self, point: str = "-", action: str = "kill") -> subprocess.CompletedProcess[str]:
        """Build the era in a separate process."""
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(
            self.command(point, action), env=env, capture_output=True, text=True, check=False
        )


def tiny(folder: Path) -> Tiny:
    """Create the era, its packages, and the expected digest of its image."""
    made = era(folder)
    accept("tiny", made.images, Store(folder / "first"), [FolderFetcher(made.mirror)])
    return Tiny(made.images, made.mirror, folder / "store")


def faults(store: Path) -> list[str]:
    """Return every blob whose content does not match its name."""
    files = [p for p in sorted((store / "blobs").rglob("*")) if p.is_file()] if store.is_dir() else []
    odd = [p for p in files if not is_sha256(p.name) or sha256_file(p) != p.name]
    return [f"{p.relative_to(store)} does not match its digest" for p in odd]


def litter(store: Path) -> list[str]:
    """Return the temporary files that processes left in a store."""
    return sorted(str(p.relative_to(store)) for p in store.rglob(".*"))


def usable(era: Tiny) -> list[str]:
    """Build again after an interrupted build, and return the failures."""
    store = Store(era.store)
    layout = ensure_layout("tiny", era.images, store, [FolderFetcher(era.mirror)])
    ensure_rootfs(layout, store)
    store.tidy()
    return faults(era.store) + [f"left: {name}" for name in litter(era.store)]


def every_write(folder: Path, action: str) -> Iterator[tuple[int, int, list[str]]]:
    """Stop a build before each disk operation; yield its number, the exit code and the failures."""
    era = tiny(folder)
    whole = era.build("write:99999", action)
    count = int(whole.stderr.rpartition("writes: ")[2])
    for number in range(1, count + 1):
        mine = Tiny(era.images, era.mirror, folder / f"store-{number}")
        done = mine.build(f"write:{number}", action)
        wrong = faults(mine.store)
        if "Traceback" in done.stderr:
            wrong.append(f"a traceback: {done.stderr[-300:]}")
        wrong += usable(mine)
        with contextlib.suppress(OSError):
            subprocess.run(["rm", "-rf", str(mine.store)], check=False)
        yield number, done.returncode, wrong


def at_once(folder: Path, processes: int = 2) -> tuple[list[int], list[str]]:
    """Build the same era in several processes on one store; return the exit codes and the failures."""
    era = tiny(folder)
    with ThreadPoolExecutor(processes) as pool:
        done = list(pool.map(lambda _: era.build(), range(processes)))
    return [d.returncode for d in done], usable(era)
