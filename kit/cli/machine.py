"""Find the GPU driver and the container engines, from the environment. Does not contact them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from kit.core.errors import UsageError
from kit.core.home import home_directory
from kit.core.text import one_line
from kit.gpu.links import settings_in
from kit.gpu.nvml import Driver, VisibleGpus
from kit.gpu.preflight import Sources
from kit.sandbox.engine import DEFAULT_ENGINE

MAX_CONTEXT = 80
"""Largest number of characters of a Docker context's name in an error."""


def load_per_core() -> float | None:
    """Return the load average of the last minute divided by the machine's cores; None if it is unknown."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return None


def gpu_sources() -> Sources:
    """
    Return the sources of GPU information; only GPUs in `$CUDA_VISIBLE_DEVICES` if it is set.

    They include the variables of `kit.values.hardware.LINK_VARIABLES` that are set.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    nvml = Driver() if named is None else VisibleGpus(Driver(), named)
    return Sources(nvml=nvml, settings=settings_in(os.environ))


def docker_socket() -> str:
    """
    Return the URL of Docker's socket, as the docker command finds it. Does not contact it.

    The URL comes from `$DOCKER_HOST`, the context in `$DOCKER_CONTEXT` or the user's settings, or is that of
    the system's socket.
    See: https://docs.docker.com/engine/manage-resources/contexts/
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        return host
    named = os.environ.get("DOCKER_CONFIG", "")
    folder = Path(named) if named else (home_directory() or Path("/")) / ".docker"
    context = os.environ.get("DOCKER_CONTEXT", "") or _json(folder / "config.json").get("currentContext")
    if not context or context == "default":
        return DEFAULT_ENGINE
    name = hashlib.sha256(str(context).encode("utf-8", "surrogatepass")).hexdigest()
    meta = _json(folder / "contexts" / "meta" / name / "meta.json")
    try:
        return str(meta["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError) as e:
        raise UsageError(
            f"the docker context {one_line(str(context), MAX_CONTEXT)!r} has no endpoint",
            "unset DOCKER_CONTEXT, or set DOCKER_HOST=unix:///path/to/docker.sock"
            if os.environ.get("DOCKER_CONTEXT")
            else "run `docker context use default`, or set DOCKER_HOST=unix:///path/to/docker.sock",
        ) from e


def podman_socket() -> str:
    """
    Return the URL of Podman's socket: `$CONTAINER_HOST`, or the user's, or the system's if only that exists.

    The user's is in `$XDG_RUNTIME_DIR`; root's is the system's.
    """
    host = os.environ.get("CONTAINER_HOST", "")
    if host:
        return host
    system = Path("/run/podman/podman.sock")
    if os.geteuid() == 0:
        return f"unix://{system}"
    own = Path(os.environ.get("XDG_RUNTIME_DIR", "") or f"/run/user/{os.geteuid()}") / "podman/podman.sock"
    return f"unix://{next((path for path in (own, system) if _is_socket(path)), own)}"


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # the directory of the system's socket is closed to ordinary users
        return False


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
