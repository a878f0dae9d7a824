"""How a guest is started: its command line, its environment, and the paths that it sees."""

from __future__ import annotations

import os
import socket
from pathlib import PurePosixPath

from kit.core.facts import guest_file
from kit.evaluate.request import HOST_IMAGE
from kit.gpu import machine
from kit.gpu.preflight import Preflight
from kit.values.run_spec import INSIDE_CACHE_SCRIPT, WORKSPACE, Limits

DATA = WORKSPACE / "data" / "fineweb10B"
SITE = guest_file("site")
"""What makes Python write whole lines: a part of every image, mounted where there is none."""
HOST_SITE = PurePosixPath("/input/site")
PORT = 29500
CACHES = {
    "HOME": str(WORKSPACE),
    "LANG": "C.UTF-8",
    "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108
    "TMPDIR": "/tmp",  # noqa: S108 - the guest's own tmpfs
    "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
    "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108
    "USER": "guest",
    "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
}
"""Every cache dies with the guest. It begins empty, or in a warm run as a copy of a sealed compile cache."""
CACHE_SCRIPT = guest_file("compile_cache.py")


def full_limits() -> Limits:
    """Return the limits of a full run; a tenth of the memory is left to the machine."""
    return Limits(memory=machine.read_machine().memory * 9 // 10)


def torchrun(era: str, python: str, contains: bool, world_size: int) -> tuple[str, ...]:
    """
    Return the start of a guest's command line: torchrun on one node, rendezvous on loopback.

    `--standalone` is not used: without a network it hangs on the host name.
    """
    program = ("torchrun",) if era != HOST_IMAGE else (python, "-m", "torch.distributed.run")
    port = PORT if contains else free_port()
    return (
        *program,
        "--nnodes=1",
        f"--nproc_per_node={world_size}",
        "--master_addr=127.0.0.1",
        f"--master_port={port}",
    )


def cache_program(python: str, *words: str) -> tuple[str, ...]:
    """Return the start of a command line that runs `CACHE_SCRIPT`, which is mounted."""
    return (python, "-I", "-S", str(INSIDE_CACHE_SCRIPT), *words)


def script_environment(val_tokens: int, extra: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the script's environment variables, sorted: caches and the paths of the shards."""
    inside = DATA.relative_to(WORKSPACE)
    conventions = {
        "DATA_PATH": ".",
        "NANOGPT_TRAIN_FILES": str(inside / "fineweb_train_*.bin"),
        "NANOGPT_VAL_FILES": str(inside / "fineweb_val_*.bin"),
        "NANOGPT_VAL_TOKENS": str(val_tokens),
    }
    return tuple(sorted({**CACHES, **conventions, **extra}.items()))


def search_path(era: str, python: str) -> str:
    """Return the guest's PATH; a host interpreter's directory comes first."""
    system = "/usr/local/bin:/usr/bin:/bin"
    return system if era != HOST_IMAGE else f"{PurePosixPath(python).parent}{os.pathsep}{system}"


def gpu_variables(preflight: Preflight) -> dict[str, str]:
    """Return the variables that give a guest the checked GPUs and no others, and say how to link them."""
    uuids = ",".join(gpu.uuid for gpu in preflight.gpus)
    return {
        "NVIDIA_VISIBLE_DEVICES": uuids or "void",
        **({"CUDA_VISIBLE_DEVICES": uuids} if uuids else {}),
        **dict(preflight.settings),
    }


def free_port() -> int:
    """Return a port of the loopback that is free now, for guests that share the host's network."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
