"""RunSpec -> Docker's request to create a container, as a pure function. Asks no engine and reads no file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.core.digest import canonical_json
from kit.sandbox.engine import EngineName
from kit.sandbox.runtime import hidden, seccomp
from kit.sandbox.runtime.oci import GUEST_ID
from kit.sandbox.runtime.port import bootstrap
from kit.values.run_spec import SUBMISSION, WORKSPACE, RunSpec

LIBCUDA = "/usr/lib/x86_64-linux-gnu"
"""Where NVIDIA's container toolkit puts libcuda in an image of Debian's layout."""
LABEL = "speedrun-kit.run"
"""The label that names a container's run."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the engine adds to a RunSpec: the image's id there, and what it can hold a guest to."""

    engine: EngineName
    image: str
    """The engine's own id of the image, with `sha256:`; never a name."""
    memory_limit: bool = True
    swap_limit: bool = True
    pids_limit: bool = True
    open_files: int = 1 << 20
    """The most open files that it may grant."""
    locked_memory: int | None = None
    """The most bytes of locked memory that it may grant; None for no such limit."""
    processes: int | None = None
    """The most processes of one user that it may grant; None for no such limit."""
    seccomp: Path | None = None
    """Where Podman finds the profile: it reads files alone. Docker gets the profile itself."""
    masked: tuple[str, ...] = hidden.MASKED
    """Paths of this machine that the guest must not read."""

    @property
    def not_enforced(self) -> tuple[str, ...]:
        """Name the limits that this engine cannot set here."""
        limits = {"memory": self.memory_limit, "pids": self.pids_limit}
        return tuple(name for name, can in limits.items() if not can)


def request(spec: RunSpec, terms: Terms) -> bytes:
    """Return the body of `POST /containers/create`, in canonical form: equal inputs give equal bytes."""
    argv = bootstrap(spec, str(SUBMISSION))
    return canonical_json(
        {
            "Image": terms.image,
            "Entrypoint": argv[:1],
            "Cmd": argv[1:],
            "Env": [f"{name}={value}" for name, value in _env(spec)],
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


def _env(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    """Return the guest's environment; Triton is told where NVIDIA's toolkit puts the driver's libraries."""
    return (
        tuple(sorted({**dict(spec.env), "TRITON_LIBCUDA_PATH": LIBCUDA}.items())) if spec.gpus else spec.env
    )


def _host_config(spec: RunSpec, terms: Terms) -> dict[str, Any]:
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
        "Mounts": [_bind(spec.submission, SUBMISSION), *(_bind(m.source, m.target) for m in spec.mounts)],
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
    if spec.gpus:
        config["DeviceRequests"] = [_gpus(spec, terms.engine)]
    return config


def seccomp_text() -> str:
    """Return the seccomp profile as engines read it."""
    return canonical_json(seccomp.profile()).decode()


def _security(terms: Terms) -> list[str]:
    options = ["no-new-privileges", f"seccomp={terms.seccomp or seccomp_text()}"]
    if terms.engine is EngineName.PODMAN:
        # it ignores `MaskedPaths`, and takes a colon for the end of a path
        options.append("mask=" + ":".join(path for path in terms.masked if ":" not in path))
    return options


def _tmpfs(spec: RunSpec, engine: EngineName) -> dict[str, str]:
    # Podman's tmpfs knows no owner; the guest is the only one in there who could write
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


def _ulimits(spec: RunSpec, terms: Terms) -> list[dict[str, Any]]:
    limits = {"core": 0, "nofile": min(spec.limits.open_files, terms.open_files)}
    if spec.gpus:
        # CUDA and NCCL lock memory; more than it has a guest cannot lock anyway
        limits["memlock"] = min(spec.limits.memory, terms.locked_memory or spec.limits.memory)
    if terms.engine is EngineName.PODMAN and terms.processes is not None:
        limits["nproc"] = terms.processes  # Podman would ask for more than it may grant itself
    return [{"Name": name, "Soft": most, "Hard": most} for name, most in sorted(limits.items())]


def _gpus(spec: RunSpec, engine: EngineName) -> dict[str, Any]:
    """Ask for the guest's own GPUs; the driver's libraries and nvidia-smi come with them."""
    uuids = [gpu.uuid for gpu in spec.gpu_devices]
    match engine:
        case EngineName.DOCKER:
            return {"Driver": "", "DeviceIDs": uuids, "Capabilities": [["gpu", "compute", "utility"]]}
        case EngineName.PODMAN:
            return {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={uuid}" for uuid in uuids]}
