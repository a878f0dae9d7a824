"""
The engine's API: one connection and its requests.

Only this module uses the docker SDK, and it converts every failure of the SDK into a KitError.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.core.digest import Sha256, is_sha256
from kit.core.errors import EngineSilent, PrerequisiteError, RunError, UsageError
from kit.core.extras import install_command
from kit.sandbox.engine.wire import address, hard_limit, peer_pid, why_silent

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
SocketFinder = Callable[[], str]
"""Returns the URL of an engine's socket, from the settings of the user; may raise `UsageError`."""
MINIMUM_API = (1, 41)
"""Docker 20.10, the first version with a cgroup namespace per container. Podman 4 supports this API too."""
PATIENCE_S = 10.0
"""Timeout in seconds of one short request. An engine that takes longer counts as dead."""
HINT = "check the engine's log and restart it, or run with --runtime runc"


class EngineName(StrEnum):
    """The kind of engine behind the socket."""

    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine reports about itself."""

    name: EngineName
    version: str
    containerd_store: bool
    """Whether containerd stores the images; their ids are then manifest digests."""
    memory_limit: bool
    swap_limit: bool
    pids_limit: bool
    open_files: int
    """Largest number of open files that both the engine and this process can grant."""
    locked_memory: int | None
    """Largest number of bytes of locked memory that both can grant; None if unlimited."""
    processes: int | None
    """Largest number of processes per user that both can grant; None if unlimited."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine reports it."""

    id: str
    image: str
    """The id of its image, with the prefix `sha256:`."""
    running: bool
    started: bool
    pid: int
    """Its first process, as a pid in the engine's PID namespace; 0 if there is none."""
    exit_code: int
    oom_killed: bool
    label: str
    """The value of the requested label; empty if the container does not have it."""


class Engine:
    """One connection. `patience_s` is the timeout of each request; None waits for ever (`wait`, `attach`)."""

    def __init__(self, url: str, patience_s: float | None = PATIENCE_S) -> None:
        """
        Connect.

        Raises `PrerequisiteError` if no engine answers, the SDK is missing or the API is old, `UsageError` if
        the SDK cannot read Docker's settings.
        """
        self.url = url
        self._path = address(url)
        try:
            import docker
        except ImportError as e:
            raise PrerequisiteError("the docker SDK is not installed", install_command("docker")) from e
        _require_valid_settings()
        try:
            peer_pid(self._path)
            with self._errors_translated("report its API version"):
                self._api = docker.APIClient(base_url=url, version="auto", timeout=patience_s)
        except (EngineSilent, OSError) as e:
            raise PrerequisiteError(f"no engine answers at {url}", why_silent(self._path)) from e
        spoken = tuple(int(part) for part in self._api.api_version.split(".")[:2])
        if spoken < MINIMUM_API:
            self.close()
            least = ".".join(map(str, MINIMUM_API))
            raise PrerequisiteError(
                f"the engine at {url} supports API {self._api.api_version}; speedrun needs {least} or newer",
                "use Docker 20.10 or newer, Podman 4 or newer, or --runtime runc",
            )

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def ping(self) -> None:
        """Ping the engine. Raises `EngineSilent` if it does not answer."""
        with self._errors_translated("respond to a ping"):
            self._api.ping()

    def about(self) -> EngineInfo:
        """Return the engine's name, its version and the limits that it supports."""
        import resource  # missing on Windows

        with self._errors_translated("report its version"):
            version, info = self._api.version(), self._api.info()
        parts = {str(c.get("Name")): str(c.get("Version")) for c in version.get("Components") or ()}
        podman = parts.get("Podman Engine")
        drivers = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or () if len(row) == 2}
        return EngineInfo(
            name=EngineName.PODMAN if podman else EngineName.DOCKER,
            version=podman or str(version.get("Version", "unknown")),
            containerd_store="containerd" in drivers.get("driver-type", ""),
            memory_limit=info.get("MemoryLimit") is True,
            swap_limit=info.get("SwapLimit") is True,
            pids_limit=info.get("PidsLimit") is True,
            open_files=hard_limit(self._path, "Max open files", resource.RLIMIT_NOFILE) or 1 << 20,
            locked_memory=hard_limit(self._path, "Max locked memory", resource.RLIMIT_MEMLOCK),
            processes=hard_limit(self._path, "Max processes", resource.RLIMIT_NPROC),
        )

    def image_id(self, config: Sha256, manifest: Sha256) -> str | None:
        """
        Return the engine's id of the image, with the prefix `sha256:`, or None if it is missing.

        The id must be the digest of the config or of the manifest. Names and tags are never used.
        """
        identities = (f"sha256:{config}", f"sha256:{manifest}")
        for reference in identities:
            image = self._image(reference)
            if image is not None and _prefixed(image.get("Id")) in identities:
                return _prefixed(image["Id"])
        return None

    def _image(self, reference: str) -> dict[str, Any] | None:
        from docker.errors import ImageNotFound, NotFound

        with self._errors_translated("inspect an image"):
            try:
                image: dict[str, Any] = self._api.inspect_image(reference)
            except (ImageNotFound, NotFound):
                return None
        return image

    def chains(self) -> list[tuple[Sha256, ...]]:
        """Return the diffIDs of every image in the engine, lowest layer first."""
        with self._errors_translated("list images"):
            ids = [str(image["Id"]) for image in self._api.images()]
        images = [self._image(name) for name in ids]
        layers = [((image or {}).get("RootFS") or {}).get("Layers") or () for image in images]
        return [tuple(Sha256(str(layer).removeprefix("sha256:")) for layer in stack) for stack in layers]

    def load(self, archive: Iterable[bytes]) -> None:
        """Load an image archive into the engine. Raises `RunError` with the engine's error message."""
        with self._errors_translated("load the image"):
            for answer in self._api.load_image(iter(archive)):  # requests would encode a list as a form
                if "error" in answer:
                    raise RunError(
                        f"the engine did not load the image: {answer['error']}",
                        "check the engine's free disk space and its log, then run the command again",
                    )

    def create(self, name: str, request: bytes) -> tuple[str, tuple[str, ...]]:
        """Create a container from a JSON request; return its id and the engine's warnings."""
        with self._errors_translated("create the container"):
            made = self._api.create_container_from_config(json.loads(request), name)
        return str(made["Id"]), tuple(str(w) for w in made.get("Warnings") or ())

    def start(self, container: str) -> None:
        """Start a container."""
        with self._errors_translated("start the guest"):
            self._api.start(container)

    def attach(self, container: str) -> socket.socket:
        """Return the container's output as Docker frames it; see `frames`."""
        with self._errors_translated("attach to the guest"):
            params = {"stdout": 1, "stderr": 1, "stream": 1}
            raw = self._api.attach_socket(container, params=params)
            stream = socket.socket(fileno=os.dup(raw.fileno()))
            raw._response.close()  # the SDK keeps it so that the socket stays open; `stream` does that now
        stream.settimeout(None)
        return stream

    def wait(self, container: str) -> int:
        """Wait until a container has ended; return its exit code as a shell would see it."""
        with self._errors_translated("wait for the guest"):
            return int(self._api.wait(container)["StatusCode"])

    def inspect(self, container: str, label: str = "") -> Container | None:
        """Return the container, or None if there is none."""
        from docker.errors import NotFound

        with self._errors_translated("inspect the container"):
            try:
                document = self._api.inspect_container(container)
            except NotFound:
                return None
        state = document["State"]
        return Container(
            id=str(document["Id"]),
            image=_prefixed(document["Image"]),
            running=state.get("Running") is True,
            started=state.get("Status") not in ("created", "configured", "initialized"),
            pid=int(state.get("Pid") or 0),
            exit_code=int(state.get("ExitCode") or 0),
            oom_killed=state.get("OOMKilled") is True,
            label=str((document["Config"].get("Labels") or {}).get(label, "")),
        )

    def labelled(self, label: str, value: str | None = None) -> list[Container]:
        """Return all containers with a label, running or not, sorted by id."""
        filter_text = label if value is None else f"{label}={value}"
        with self._errors_translated("list containers"):
            ids = sorted(
                str(c["Id"]) for c in self._api.containers(all=True, filters={"label": [filter_text]})
            )
        containers = [self.inspect(name, label) for name in ids]
        return [container for container in containers if container is not None]

    def signal(self, container: str, name: str) -> None:
        """Send a signal to the container's first process; ignore a container that has ended."""
        from docker.errors import APIError

        with self._errors_translated("signal the guest"), contextlib.suppress(APIError):
            self._api.kill(container, signal=name)

    def remove(self, container: str) -> None:
        """Kill and remove the container; ignore a container that is already removed or being removed."""
        from docker.errors import APIError

        with self._errors_translated("remove the container"):
            try:
                self._api.remove_container(container, v=True, force=True)
            except APIError as e:
                if e.status_code not in (404, 409):
                    raise

    @contextlib.contextmanager
    def _errors_translated(self, what: str) -> Iterator[None]:
        """Convert exceptions of the SDK into `EngineSilent` (no answer) or `RunError` (refused)."""
        from docker.errors import APIError, DockerException, StreamParseError
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as e:
            said = str(e.explanation or e).strip()[:500]
            raise RunError(f"the engine refused to {what}: {said}", HINT) from e
        except (DockerException, RequestException, HTTPError, StreamParseError, OSError) as e:
            raise EngineSilent(f"the engine at {self.url} did not {what}: no answer", HINT) from e


def _require_valid_settings() -> None:
    """Read the user's config.json as the SDK does. Raises `UsageError` where the SDK fails on its content."""
    from docker import auth
    from docker.errors import DockerException
    from docker.utils import config
    from docker.utils.proxy import ProxyConfig

    try:
        settings = config.load_general_config()
        auth.load_config(config_dict=settings)
        ProxyConfig.from_dict(settings.get("proxies", {}).get("default", {}))
    except (DockerException, AttributeError, KeyError, TypeError, ValueError) as e:
        file = config.find_config_file()
        raise UsageError(
            f"Docker's settings in {file} are invalid: {e}", f"correct {file}, or move it away"
        ) from e


def _prefixed(digest: object) -> str:
    text = str(digest)
    return f"sha256:{text}" if is_sha256(text) else text


def default_engine() -> str:
    """Return the URL of the system's socket; a `SocketFinder`."""
    return DEFAULT_ENGINE


def answers(url: str, patience_s: float = 2.0) -> bool:
    """Tell whether a supported engine answers at `url` within `patience_s` seconds."""
    try:
        if not address(url).is_socket():
            return False
        Engine(url, patience_s).close()
    except (PrerequisiteError, RunError, UsageError):
        return False
    return True
