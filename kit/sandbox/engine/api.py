"""
The engine's API: one connection and what can be asked over it. Judges no answer.

The only module that knows the docker SDK: every failure of it leaves here as a KitError.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.core.digest import Sha256, is_sha256
from kit.core.errors import EngineSilent, PrerequisiteError, RunError, UsageError
from kit.core.extras import install_command
from kit.sandbox.engine.wire import address, hard_limit, peer_pid, why_silent

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
MINIMUM_API = (1, 41)
"""Docker 20.10: the first with a control-group namespace of a container's own. Podman 4 speaks it too."""
PATIENCE_S = 10.0
"""For one short answer. Longer silence is taken for a dead engine."""
HINT = "see: speedrun doctor"


class EngineName(StrEnum):
    """Who answers."""

    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself."""

    name: EngineName
    version: str
    containerd_store: bool
    """Whether images are kept by containerd: their ids are manifest digests then."""
    memory_limit: bool
    swap_limit: bool
    pids_limit: bool
    open_files: int
    """The most open files that the engine's process and this one may grant."""
    locked_memory: int | None
    """The most bytes of locked memory likewise; None for no such limit."""
    processes: int | None
    """The most processes of one user likewise; None for no such limit."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine sees it."""

    id: str
    image: str
    """The id of its image, with `sha256:`."""
    running: bool
    started: bool
    pid: int
    """Its first process in the engine's PID namespace; 0 if it has none."""
    exit_code: int
    oom_killed: bool
    label: str
    """The value of the label that was asked for; empty if it has none."""


class Engine:
    """One connection. `patience_s` bounds every answer; None waits for ever (`wait`, `attach`)."""

    def __init__(self, url: str, patience_s: float | None = PATIENCE_S) -> None:
        """Connect. Raises `PrerequisiteError` if nothing answers, the SDK is missing or the API is old."""
        self.url = url
        self._path = address(url)
        try:
            import docker
        except ImportError as e:
            raise PrerequisiteError("the docker SDK is not installed", install_command("docker")) from e
        try:
            peer_pid(self._path)
            with self._errors_translated("say which API it speaks"):
                self._api = docker.APIClient(base_url=url, version="auto", timeout=patience_s)
        except (EngineSilent, OSError) as e:
            raise PrerequisiteError(f"no engine answers at {url}", why_silent(self._path)) from e
        spoken = tuple(int(part) for part in self._api.api_version.split(".")[:2])
        if spoken < MINIMUM_API:
            self.close()
            least = ".".join(map(str, MINIMUM_API))
            raise PrerequisiteError(
                f"the engine at {url} speaks API {self._api.api_version}; the kit needs {least}",
                "use Docker 20.10 or Podman 4, or newer; or --runtime runc",
            )

    def close(self) -> None:
        """Let the connection go."""
        self._api.close()

    def ping(self) -> None:
        """Return if the engine answers; raises `EngineSilent` otherwise."""
        with self._errors_translated("give a sign of life"):
            self._api.ping()

    def about(self) -> EngineInfo:
        """Ask the engine who it is and what it can limit."""
        with self._errors_translated("describe itself"):
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
        Return the engine's own id of the image, with `sha256:`, or None if it is not there.

        An id that is neither the config's nor the manifest's digest is not the image. Names and tags are
        never asked for.
        """
        identities = (f"sha256:{config}", f"sha256:{manifest}")
        for reference in identities:
            image = self._image(reference)
            if image is not None and _prefixed(image.get("Id")) in identities:
                return _prefixed(image["Id"])
        return None

    def _image(self, reference: str) -> dict[str, Any] | None:
        from docker.errors import ImageNotFound, NotFound

        with self._errors_translated("show an image"):
            try:
                image: dict[str, Any] = self._api.inspect_image(reference)
            except (ImageNotFound, NotFound):
                return None
        return image

    def chains(self) -> list[tuple[Sha256, ...]]:
        """Return the diffIDs of every image here, lowest layer first."""
        with self._errors_translated("list its images"):
            ids = [str(image["Id"]) for image in self._api.images()]
        images = [self._image(name) for name in ids]
        layers = [((image or {}).get("RootFS") or {}).get("Layers") or () for image in images]
        return [tuple(Sha256(str(layer).removeprefix("sha256:")) for layer in stack) for stack in layers]

    def load(self, archive: Iterable[bytes]) -> None:
        """Let the engine read an image archive. Raises `RunError` with what it complained about."""
        with self._errors_translated("load the image"):
            for answer in self._api.load_image(iter(archive)):  # a list would be taken for a form
                if "error" in answer:
                    raise RunError(f"the engine did not load the image: {answer['error']}", HINT)

    def create(self, name: str, request: bytes) -> tuple[str, tuple[str, ...]]:
        """Create a container from a request in JSON; return its id and the engine's warnings."""
        with self._errors_translated("create the container"):
            made = self._api.create_container_from_config(json.loads(request), name)
        return str(made["Id"]), tuple(str(w) for w in made.get("Warnings") or ())

    def start(self, container: str) -> None:
        """Start it."""
        with self._errors_translated("start the guest"):
            self._api.start(container)

    def attach(self, container: str) -> socket.socket:
        """Return the container's output as Docker frames it; see `frames`."""
        with self._errors_translated("attach to the guest"):
            params = {"stdout": 1, "stderr": 1, "stream": 1}
            raw = self._api.attach_socket(container, params=params)
            stream = socket.socket(fileno=os.dup(raw.fileno()))
        stream.settimeout(None)
        return stream

    def wait(self, container: str) -> int:
        """Wait until it has ended; return its exit code as a shell would see it."""
        with self._errors_translated("wait for the guest"):
            return int(self._api.wait(container)["StatusCode"])

    def inspect(self, container: str, label: str = "") -> Container | None:
        """Return the container, or None if there is none."""
        from docker.errors import NotFound

        with self._errors_translated("show the container"):
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
        """Return the containers that carry a label, running or not, sorted by id."""
        filter_text = label if value is None else f"{label}={value}"
        with self._errors_translated("list its containers"):
            ids = sorted(
                str(c["Id"]) for c in self._api.containers(all=True, filters={"label": [filter_text]})
            )
        containers = [self.inspect(name, label) for name in ids]
        return [container for container in containers if container is not None]

    def signal(self, container: str, name: str) -> None:
        """Send a signal to the container's first process; one that has ended or gone is no error."""
        from docker.errors import APIError

        with self._errors_translated("signal the guest"), contextlib.suppress(APIError):
            self._api.kill(container, signal=name)

    def remove(self, container: str) -> None:
        """End and remove the container; one that is gone or just going is no error."""
        from docker.errors import APIError

        with self._errors_translated("remove the container"):
            try:
                self._api.remove_container(container, v=True, force=True)
            except APIError as e:
                if e.status_code not in (404, 409):
                    raise

    @contextlib.contextmanager
    def _errors_translated(self, what: str) -> Iterator[None]:
        """Turn what the SDK raises into `EngineSilent` (no answer) or `RunError` (a refusal)."""
        from docker.errors import APIError, DockerException, StreamParseError
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as e:
            said = str(e.explanation or e).strip()[:500]
            raise RunError(f"the engine would not {what}: {said}", HINT) from e
        except (DockerException, RequestException, HTTPError, StreamParseError, OSError) as e:
            raise EngineSilent(f"the engine at {self.url} did not answer when asked to {what}", HINT) from e


def _prefixed(digest: object) -> str:
    text = str(digest)
    return f"sha256:{text}" if is_sha256(text) else text


def answers(url: str, patience_s: float = 2.0) -> bool:
    """Tell whether an engine that the kit can use answers there within that time."""
    try:
        if not address(url).is_socket():
            return False
        Engine(url, patience_s).close()
    except (PrerequisiteError, RunError, UsageError):
        return False
    return True
