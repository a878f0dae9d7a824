"""Whom to ask on this machine for GPUs and engines, as the environment says. Asks nobody itself."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from kit.core.errors import UsageError
from kit.gpu.links import settings_in
from kit.gpu.nvml import Driver, VisibleGpus
from kit.gpu.preflight import Sources
from kit.sandbox.engine import DEFAULT_ENGINE


def gpu_sources() -> Sources:
    """
    Return whom to ask for this machine's GPUs: the driver, for those of `$CUDA_VISIBLE_DEVICES` if set.

    What the environment sets of `kit.values.hardware.LINK_VARIABLES` goes along.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    nvml = Driver() if named is None else VisibleGpus(Driver(), named)
    return Sources(nvml=nvml, settings=settings_in(os.environ))


def docker_socket() -> str:
    """
    Return where Docker would answer, as the docker command finds it; asks nobody whether it does.

    That is `$DOCKER_HOST`, the context of `$DOCKER_CONTEXT` or the user's settings, or the system's socket.
    See: https://docs.docker.com/engine/manage-resources/contexts/
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        return host
    folder = Path(os.environ.get("DOCKER_CONFIG", "") or Path.home() / ".docker")
    context = os.environ.get("DOCKER_CONTEXT", "") or _json(folder / "config.json").get("currentContext")
    if not context or context == "default":
        return DEFAULT_ENGINE
    name = hashlib.sha256(str(context).encode()).hexdigest()
    meta = _json(folder / "contexts" / "meta" / name / "meta.json")
    try:
        return str(meta["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError) as e:
        raise UsageError(
            f"the docker context {context!r} names no engine", "see: docker context ls; or set DOCKER_HOST"
        ) from e


def podman_socket() -> str:
    """Return where Podman's service would answer: `$CONTAINER_HOST`, the user's socket, or the system's."""
    host = os.environ.get("CONTAINER_HOST", "")
    if host:
        return host
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") or f"/run/user/{os.geteuid()}"
    own = Path(runtime) / "podman" / "podman.sock"
    return f"unix://{own}" if os.geteuid() and own.is_socket() else "unix:///run/podman/podman.sock"


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
