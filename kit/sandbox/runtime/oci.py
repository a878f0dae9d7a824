"""Convert a RunSpec to an OCI runtime-spec config.json. Pure functions: no processes, no files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.core.digest import canonical_json
from kit.gpu import driver
from kit.gpu.driver import DriverFiles
from kit.sandbox.runtime import hidden, seccomp
from kit.sandbox.runtime.port import bootstrap
from kit.values.run_spec import SUBMISSION, WORKSPACE, RunSpec

GUEST_ID = 65532
"""uid and gid of the guest where the kit is root; the images name it `guest`."""


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """What the machine adds to a RunSpec: the root file system and the limits that it can enforce."""

    rootfs: Path
    mounts: tuple[tuple[Path, PurePosixPath], ...] = ()
    """Further read-only binds of the root file system (`--image host`)."""
    rootless_ids: tuple[int, int] | None = None
    """uid and gid of speedrun if it runs without root; None if it runs as root."""
    cgroup: str | None = None
    """Absolute cgroup path; None if no cgroup can be created."""
    swap_limit: bool = True
    """Whether the kernel accounts for swap, so that the memory limit can include it."""
    open_files: int = 1 << 20
    """Largest number of open files that speedrun can grant."""
    locked_memory: int | None = None
    """Largest number of bytes of locked memory that speedrun can grant; None if unlimited."""
    driver: DriverFiles | None = None
    """Driver files and devices of a guest with GPUs; None without GPUs."""
    masked: tuple[str, ...] = hidden.MASKED
    """Paths of this machine that the guest must not read."""


def config(spec: RunSpec, box: ContainerSettings) -> bytes:
    """Return config.json for this guest as canonical JSON: equal inputs give equal bytes."""
    return canonical_json(
        {
            "ociVersion": "1.0.2",
            "process": _process(spec, box),
            "root": {"path": str(box.rootfs), "readonly": True},
            "hostname": "localhost",
            "mounts": _mounts(spec, box),
            "linux": _linux(spec, box),
        }
    )


def _process(spec: RunSpec, box: ContainerSettings) -> dict[str, Any]:
    uid = 0 if box.rootless_ids else GUEST_ID
    rlimits = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": min(spec.limits.open_files, box.open_files)}
    if box.cgroup is None:
        rlimits["RLIMIT_NPROC"] = spec.limits.pids
    if box.driver is not None:
        # JSON has no exact number for "unlimited"; a guest cannot lock more than its memory limit
        most = spec.limits.memory
        rlimits["RLIMIT_MEMLOCK"] = most if box.locked_memory is None else min(most, box.locked_memory)
    env = spec.env if box.driver is None else driver.environment(spec.env)
    return {
        "terminal": False,
        "user": {"uid": uid, "gid": uid, "umask": 0o022},
        "args": bootstrap(spec, str(SUBMISSION)),
        "env": [f"{name}={value}" for name, value in env],
        "cwd": str(WORKSPACE),
        "capabilities": {
            kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
        },
        "rlimits": [{"type": kind, "hard": value, "soft": value} for kind, value in sorted(rlimits.items())],
        "noNewPrivileges": True,
        **({"oomScoreAdj": 500} if box.rootless_ids is None else {}),
    }


def _mounts(spec: RunSpec, box: ContainerSettings) -> list[dict[str, Any]]:
    owner = 0 if box.rootless_ids else GUEST_ID
    limits = spec.limits

    def tmpfs(target: str, size: int, mode: str, *options: str, owned: bool = False) -> dict[str, Any]:
        owned_by = [f"uid={owner}", f"gid={owner}"] if owned else []
        return {
            "destination": target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", *options, f"mode={mode}", f"size={size}", *owned_by],
        }

    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        tmpfs("/dev", 1 << 16, "755", "strictatime"),
        tmpfs("/dev/shm", limits.shm, "1777", "nodev", "noexec"),  # noqa: S108
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        # exec: Triton and Inductor load what they compile there
        tmpfs("/tmp", limits.tmp, "1777", "exec", "nodev"),  # noqa: S108
        tmpfs("/input", 1 << 16, "755", "nodev", "noexec"),
        tmpfs(str(WORKSPACE), limits.workspace, "700", "exec", "nodev", owned=True),
        *(_bind(source, target) for source, target in box.mounts),
        *(_bind(source, target) for source, target in (box.driver.mounts() if box.driver else ())),
        _bind(spec.submission, SUBMISSION),
        *(_bind(m.source, m.target) for m in spec.mounts),
    ]


def _bind(source: Path, target: PurePosixPath) -> dict[str, Any]:
    return {
        "destination": str(target),
        "type": "bind",
        "source": str(source),
        "options": ["rbind", "rprivate", "ro", "nosuid", "nodev"],
    }


def _linux(spec: RunSpec, box: ContainerSettings) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
        "seccomp": seccomp.profile(),
        "maskedPaths": list(box.masked),
        "readonlyPaths": list(hidden.READ_ONLY),
    }
    if box.rootless_ids:
        uid, gid = box.rootless_ids
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    devices = box.driver.devices if box.driver is not None else ()
    if devices:
        linux["devices"] = [
            {"path": f"/dev/{d.name}", "type": "c", "major": d.major, "minor": d.minor, "fileMode": 0o666}
            for d in devices
        ]
    if box.cgroup is not None:
        memory: dict[str, int] = {"limit": spec.limits.memory}
        if box.swap_limit:
            memory["swap"] = spec.limits.memory
        linux["cgroupsPath"] = box.cgroup
        linux["resources"] = {
            "memory": memory,
            "pids": {"limit": spec.limits.pids},
            "devices": [
                {"allow": False, "access": "rwm"},
                *(
                    {"allow": True, "type": "c", "major": d.major, "minor": d.minor, "access": "rw"}
                    for d in devices
                ),
            ],
        }
    return linux
