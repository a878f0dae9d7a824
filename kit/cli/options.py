"""Options that several commands share, resolved from the user's environment and settings. Makes nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.core.errors import UsageError

if TYPE_CHECKING:
    from kit.gpu.preflight import Sources


class Number(click.FloatRange):
    """A finite number in a range; `nan` is in none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.FloatRange.convert`."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a number.", param, ctx)


def default_store() -> Path:
    """Return `speedrun-kit` in the user's cache folder: `$XDG_CACHE_HOME` or `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "speedrun-kit"


store_option = click.option(
    "--store",
    "store",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_store,
    show_default="the cache folder of the user, speedrun-kit/",
    help="Folder of the content-addressed store.",
)
"""`--store DIR`, passed as `store: Path`."""

mirror_option = click.option(
    "--mirror",
    "mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Folder of downloaded files (any depth), asked before the network.",
)
"""`--mirror DIR`, passed as `mirror: Path | None`."""


upstream_option = click.option(
    "--mirror",
    "mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Local git directory of upstream, asked instead of the network.",
)
"""`--mirror DIR`, of upstream's repository; passed as `mirror: Path | None`."""


def default_keys() -> Path:
    """Return the user's key folder: `$XDG_CONFIG_HOME` or `~/.config`, then `speedrun-kit/keys`."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if config.startswith("/") else Path.home() / ".config"
    return base / "speedrun-kit" / "keys"


keys_option = click.option(
    "--keys",
    "keys",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_keys,
    show_default="the configuration folder of the user, speedrun-kit/keys",
    help="Folder of the own key and of the trusted public keys (*.pem).",
)
"""`--keys DIR`, passed as `keys: Path`."""


def gpu_sources() -> Sources:
    """
    Return whom to ask for this machine's GPUs: the driver, for those of `$CUDA_VISIBLE_DEVICES` if set.

    What the environment sets of `kit.values.hardware.LINK_VARIABLES` goes along.
    """
    from kit.gpu.links import settings_in
    from kit.gpu.nvml import Driver, Visible
    from kit.gpu.preflight import Sources

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    nvml = Driver() if named is None else Visible(Driver(), named)
    return Sources(nvml=nvml, settings=settings_in(os.environ))


def docker_socket() -> str:
    """
    Return where Docker would answer, as the docker command finds it; asks nobody whether it does.

    That is `$DOCKER_HOST`, the context of `$DOCKER_CONTEXT` or the user's settings, or the system's socket.
    See: https://docs.docker.com/engine/manage-resources/contexts/
    """
    from kit.sandbox.engine import DEFAULT_ENGINE

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
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
