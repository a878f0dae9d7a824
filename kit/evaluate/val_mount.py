"""
Mount the validation shard of one guest: a fresh file of its own, in the run that counts as in every rerun.

A script that could tell a rerun by the shard's mount, inode, age or mode would behave there and cheat
elsewhere. So all guests of an evaluation get theirs in the same way; only the tokens differ.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from kit.core.files import write_atomic
from kit.evaluate.launch import DATA
from kit.evaluate.prepare import Prepared
from kit.sandbox.run_guest import guest_directory
from kit.values.run_spec import Mount, RunSpec

MTIME_S = 1_700_000_000
"""Of every validation shard that a guest sees; when it was written says which run it is for."""
ENGINE_PREFIX = "guest-"
"""Of the directory of each guest's engine files: its name can be seen in the guest's list of mounts."""


def val_name(ready: Prepared) -> str:
    """Return the name of the validation shard."""
    return next(f.name for f in ready.data.files if "_val_" in f.name)


def val_path(ready: Prepared) -> Path:
    """Return where the task's own validation shard is."""
    return next(m.source for m in ready.spec.mounts if m.target == DATA) / val_name(ready)


def copy_of(shard: Path) -> Callable[[Path], None]:
    """Return what writes a copy of `shard` to a path."""
    return lambda path: write_atomic(path, shard.read_bytes(), mode=0o444)


@contextlib.contextmanager
def mounted_val(spec: RunSpec, name: str, scratch: Path, write: Callable[[Path], None]) -> Iterator[RunSpec]:
    """Give `spec` with the validation shard called `name` that `write` writes; it is removed afterwards."""
    with guest_directory(scratch, "shard-") as directory:
        shard = directory / name
        write(shard)
        os.utime(shard, (MTIME_S, MTIME_S))
        yield replace(spec, mounts=(*spec.mounts, Mount(shard, DATA / name)))
