"""
RunSpec: everything that one guest may do, decided before it starts. Starts nothing, reads no clock.

A runtime turns a RunSpec into a started guest; a field that it cannot honour is an error or is recorded
as not enforced, never dropped in silence. `run` knows no records: `evaluate` fills these values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from kit.core.digest import Sha256
from kit.values.deadlines import Deadlines

GIB = 1 << 30
MIB = 1 << 20

WORKSPACE = PurePosixPath("/workspace")
"""Where the guest works: a sized tmpfs that holds a copy of the submission."""
SUBMISSION = PurePosixPath("/input/submission")
"""Where the submission is mounted, read-only."""


class RuntimeName(StrEnum):
    """The runtime that runs guests. `host` provides no isolation."""

    RUNC = "runc"
    DOCKER = "docker"
    HOST = "host"


class Phase(StrEnum):
    """The part of a run that a clock belongs to."""

    START = "start"
    """From the start of the guest to its first line."""
    WARMUP = "warmup"
    """To the first claim whose step exceeds the untimed steps; compiling happens here."""
    TRAINING = "training"
    """To the last validation claim."""
    TEARDOWN = "teardown"
    """From the last validation claim to the guest's exit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the guest may use. Sizes are bytes."""

    memory: int
    pids: int = 4096
    shm: int = 8 * GIB
    workspace: int = 4 * GIB
    tmp: int = 16 * GIB
    output: int = 64 * MIB
    """Of stdout and stderr together; the guest is killed when it is exceeded."""
    line: int = 64 * 1024
    """A longer line is cut into pieces of this size, none of which can be a claim."""
    open_files: int = 65536


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that the guest may read, never write."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True, slots=True)
class ImageRef:
    """The image that must be running, by digest. `era` is a label and decides nothing."""

    era: str
    config_digest: Sha256
    manifest_digest: Sha256
    rootfs: Path | None = None
    """The unpacked root file system, for runtimes that need one."""


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU that a guest gets, by the names that engines know it by."""

    uuid: str
    minor: int
    """It is /dev/nvidia<minor> on the host."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One guest."""

    run_id: str
    image: ImageRef | None
    """None means the machine's own files (`--image host`)."""
    submission: Path
    """A folder that the kit made, holding exactly the submission's files; mounted at `SUBMISSION`."""
    argv: tuple[str, ...]
    """Started in `WORKSPACE` after the submission was copied there."""
    env: tuple[tuple[str, str], ...]
    folders: tuple[str, ...] = ()
    """Folders made inside the workspace first, relative to it."""
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(memory=8 * GIB))
    deadlines: Deadlines = field(default_factory=Deadlines)
    untimed_steps: int = 10
    gpus: int = 0
    gpu_devices: tuple[GpuDevice, ...] = ()
    """Which ones, in the order of the ranks; as many as `gpus`."""
    world_size: int = 1
