"""Convert a RunSpec to Docker's request to create a container. Pure functions: no engine, no files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.core.digest import canonical_json
from kit.gpu.driver import DriverFiles, environment
from kit.sandbox.engine import EngineName
from kit.sandbox.runtime import hidden, seccomp
from kit.sandbox.runtime.oci import GUEST_ID
from kit.sandbox.runtime.port import bootstrap
from kit.values.run_spec import SUBMISSION, WORKSPACE, RunSpec

LABEL = "speedrun-kit.run"
"""The container label whose value is the run id."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine adds to a RunSpec: the id of the image, and which limits it can enforce."""

    engine: EngineName
    image: str
    """The engine's own id of the image, with `sha256:`; never a name."""
    memory_limit: bool = True
    swap_limit: bool = True
    pids_limit: bool = True
    open_files: int = 1 << 20
    """Largest number of open files that the engine can grant."""
    locked_memory: int | None = None
    """Largest number of bytes of locked memory that the engine can grant; None if unlimited."""
    processes: int | None = None
    """Largest number of processes per user that the engine can grant; None if unlimited."""
    seccomp: Path | None = None
    """File with the profile for Podman, which accepts only a file. Docker gets the profile inline."""
    driver: DriverFiles | None = None
    """Driver files and devices of a guest with GPUs; None without GPUs."""
    masked: tuple[str, ...] = hidden.MASKED
    """Paths of this machine that the guest must not read."""

    @property
    def not_enforced(self) -> tuple[str, ...]:
        """Return the names of the limits that this engine cannot enforce."""
        limits = {"memory": self.memory_limit, "pids": self.pids_limit}
        return tuple(name for name, can in limits.items() if not can)


def request(spec: RunSpec, terms: EngineSettings) -> bytes:
    """Return the body of `POST /containers/create` as canonical JSON: equal inputs give equal bytes."""
    argv = bootstrap(spec, str(SUBMISSION))
    env = spec.env if terms.driver is None else environment(spec.env)
    return canonical_json(
        {
            "Image": terms.image,
            "Entrypoint": argv[:1],
            "Cmd": argv[1:],
            "Env": [f"{name}={value}" for name, value in env],
            "WorkingDir": str(WORKSPACE),
            "User": f"{GUEST_ID}:{GUEST_ID}",
            "Hostname": "localhost",
            "AttachStdin": False,
            "AttachStdout": True,
            "AttachStderr": True,
            "OpenStdin": False,
            "Tty": False,
            "Labels": {LABEL: spec.run_id},
            "HostConfig": _host_config(spec, terms),
        }
    )


def _host_config(spec: RunSpec, terms: EngineSettings) -> dict[str, Any]:
    limits = spec.limits
    config: dict[str, Any] = {
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": _security(terms),
        "Init": False,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},
        "OomScoreAdj": 500,
        "ShmSize": limits.shm,
        "Tmpfs": _tmpfs(spec, terms.engine),
        "Mounts": [
            *(_bind(source, target) for source, target in (terms.driver.mounts() if terms.driver else ())),
            _bind(spec.submission, SUBMISSION),
            *(_bind(m.source, m.target) for m in spec.mounts),
        ],
        "Ulimits": _ulimits(spec, terms),
    }
    if terms.engine is EngineName.DOCKER:
        config |= {"MaskedPaths": list(terms.masked), "ReadonlyPaths": list(hidden.READ_ONLY)}
    if terms.memory_limit:
        config["Memory"] = limits.memory
        if terms.swap_limit:
            config["MemorySwap"] = limits.memory
    if terms.pids_limit:
        config["PidsLimit"] = limits.pids
    if terms.driver is not None:
        config["Devices"] = [_device(device.name) for device in terms.driver.devices]
        if terms.engine is EngineName.DOCKER:
            # the default runtime can be NVIDIA's, which would mount the driver a second time, by its hook
            config["Runtime"] = "runc"
    return config


def seccomp_text() -> str:
    """Return the seccomp profile as JSON text."""
    return canonical_json(seccomp.profile()).decode()


def _security(terms: EngineSettings) -> list[str]:
    options = ["no-new-privileges", f"seccomp={terms.seccomp or seccomp_text()}"]
    if terms.engine is EngineName.PODMAN:
        # Podman ignores `MaskedPaths`, and reads a colon as the end of a path
        options.append("mask=" + ":".join(path for path in terms.masked if ":" not in path))
    return options


def _tmpfs(spec: RunSpec, engine: EngineName) -> dict[str, str]:
    # Podman's tmpfs has no owner option; only the guest could write in there
    owned = f"mode=700,uid={GUEST_ID},gid={GUEST_ID}" if engine is EngineName.DOCKER else "mode=1777"
    return {
        # exec: Triton and Inductor load what they compile there
        "/tmp": f"rw,exec,nosuid,nodev,size={spec.limits.tmp},mode=1777",  # noqa: S108
        "/input": f"rw,noexec,nosuid,nodev,size={1 << 16},mode=755",
        str(WORKSPACE): f"rw,exec,nosuid,nodev,size={spec.limits.workspace},{owned}",
    }


def _bind(source: Path, target: PurePosixPath) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(source),
        "Target": str(target),
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }


def _device(name: str) -> dict[str, str]:
    """Return a device of the guest; the engine allows it in the guest's control group, and no other."""
    return {"PathOnHost": f"/dev/{name}", "PathInContainer": f"/dev/{name}", "CgroupPermissions": "rw"}


def _ulimits(spec: RunSpec, terms: EngineSettings) -> list[dict[str, Any]]:
    limits = {"core": 0, "nofile": min(spec.limits.open_files, terms.open_files)}
    if terms.driver is not None:
        # CUDA and NCCL lock memory; a guest cannot lock more memory than it has
        limits["memlock"] = min(spec.limits.memory, terms.locked_memory or spec.limits.memory)
    if terms.engine is EngineName.PODMAN and terms.processes is not None:
        limits["nproc"] = terms.processes  # Podman's default exceeds its own hard limit
    return [{"Name": name, "Soft": most, "Hard": most} for name, most in sorted(limits.items())]
