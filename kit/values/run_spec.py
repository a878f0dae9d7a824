"""
RunSpec: the command, mounts, limits and deadlines of one guest, fixed before it starts.

A runtime starts a guest from a RunSpec. A field that it cannot apply is an error or is recorded as not
enforced. `kit.evaluate` fills in the values.
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
"""Working directory of the guest: a tmpfs of limited size with a copy of the submission."""
SUBMISSION = PurePosixPath("/input/submission")
"""Where the submission is mounted, read-only."""
BYTE_CODE = PurePosixPath("/input/byte-code")
"""Where the image's compiled Python files are mounted, read-only, if there are any."""
BYTE_CODE_LINKS = PurePosixPath("/tmp/pycache")  # noqa: S108 - the guest's own tmpfs
"""Where the guest's Python looks for compiled files: links into `BYTE_CODE`, and what it compiles itself."""
COMPILE_CACHE = PurePosixPath("/input/compile-cache")
"""Where a sealed compile cache is mounted, read-only, in a warm run."""
INSIDE_CACHE_SCRIPT = PurePosixPath("/input/compile_cache.py")
"""The program that copies a compile cache into a guest, or hands one over: `kit/guest/compile_cache.py`."""


class RuntimeName(StrEnum):
    """The runtime that runs guests. `host` provides no isolation."""

    RUNC = "runc"
    DOCKER = "docker"
    HOST = "host"


class Phase(StrEnum):
    """A phase of a run; each has a deadline."""

    START = "start"
    """From the start of the guest to its first line."""
    WARMUP = "warmup"
    """To the first claim after the untimed steps; compilation happens here."""
    TRAINING = "training"
    """To the last validation claim."""
    TEARDOWN = "teardown"
    """From the last validation claim to the guest's exit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of the guest. Sizes are bytes."""

    memory: int
    pids: int = 4096
    shm: int = 8 * GIB
    workspace: int = 4 * GIB
    tmp: int = 16 * GIB
    output: int = 64 * MIB
    """Total of stdout and stderr; the kit kills the guest when it is exceeded."""
    line: int = 64 * 1024
    """A longer line is split into pieces of this size, which cannot be claims."""
    open_files: int = 65536


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path that is mounted read-only."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True, slots=True)
class ImageRef:
    """The required image, by digest. `era` is only a label."""

    era: str
    config_digest: Sha256
    manifest_digest: Sha256
    rootfs: Path | None = None
    """The unpacked root file system, for runtimes that need one."""


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU for the guest, by the names that engines use."""

    uuid: str
    minor: int
    """Number N of /dev/nvidiaN on the host."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """The specification of one guest."""

    run_id: str
    image: ImageRef | None
    """None for `--image host`: the machine's files."""
    submission: Path
    """A directory with exactly the submission's files; mounted at `SUBMISSION`."""
    argv: tuple[str, ...]
    """Command; started in `WORKSPACE` after the submission is copied there."""
    env: tuple[tuple[str, str], ...]
    folders: tuple[str, ...] = ()
    """Directories to create in the workspace first; relative paths."""
    mounts: tuple[Mount, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(memory=8 * GIB))
    deadlines: Deadlines = field(default_factory=Deadlines)
    untimed_steps: int = 10
    gpus: int = 0
    gpu_devices: tuple[GpuDevice, ...] = ()
    """The GPUs in rank order; `gpus` is their number."""
    world_size: int = 1
