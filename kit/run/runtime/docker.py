"""
Runtime `docker`: one container of Docker Engine, or of Podman behind its Docker-compatible socket.

The engine starts the guest; ending it does not depend on the engine: where the kit may, it kills the
guest's processes itself and finds them by the container's control group. A run whose engine falls silent
is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from kit.digest import sha256_bytes
from kit.engine import DEFAULT_ENGINE, About, Engine, EngineName
from kit.errors import DigestMismatch, EngineSilent, KitError, PrerequisiteError, RunError, UsageError
from kit.run import processes
from kit.run.runtime import dockerconfig, ticket
from kit.run.runtime.dockerconfig import LABEL, Terms
from kit.run.runtime.dockerguest import DockerGuest
from kit.run.runtime.port import Enforcement
from kit.run.runtime.state import folder, own
from kit.run.runtime.ticket import Ticket
from kit.run.spec import ImageRef, RunSpec, RuntimeName

PODMAN_GPUS = (5, 4)
"""Older ones ignore a request for devices without a word: https://github.com/containers/podman/pull/25171"""
REAP_PATIENCE_S = 5.0


class Docker:
    """See `kit.run.runtime.port.Runtime`. `engine` is the URL of the engine's unix socket."""

    name = RuntimeName.DOCKER
    contains = True

    def __init__(self, engine: str = DEFAULT_ENGINE, state: Path | None = None) -> None:
        self.engine = engine
        self.state = state or state_folder()

    def start(self, spec: RunSpec, scratch: Path) -> DockerGuest:
        """See `Runtime.start`; nothing is kept in `scratch`. Raises `DigestMismatch` for another image."""
        if spec.image is None:
            raise UsageError(
                "the docker runtime runs images alone, not this machine's own files", "use --runtime runc"
            )
        if len(spec.gpu_devices) != spec.gpus:
            raise RunError(f"{spec.gpus} GPUs are wanted, but {len(spec.gpu_devices)} were chosen")
        engine = Engine(self.engine)
        about = engine.about()
        _refuse_blind(about, spec)
        terms = Terms(
            engine=about.name,
            image=_image(engine, spec.image),
            memory_limit=about.memory_limit,
            swap_limit=about.swap_limit,
            pids_limit=about.pids_limit,
            open_files=about.open_files,
            locked_memory=about.locked_memory,
        )
        request = dockerconfig.request(spec, terms)
        own(self.state)
        slip = Ticket(self.state, spec.run_id, self.engine)
        try:
            container, warnings = engine.create(f"speedrun-{spec.run_id}", request)
            slip.add(container)
        except EngineSilent:
            slip.drop()  # the engine may have made it all the same
            raise
        except BaseException:
            slip.tear()
            raise
        enforcement = Enforcement(
            runtime=self.name,
            version=f"{about.version} (podman)" if about.name is EngineName.PODMAN else about.version,
            contains=self.contains,
            config_sha256=sha256_bytes(request),
            not_enforced=(*terms.not_enforced, *warnings),
        )
        guest = DockerGuest(engine, container, slip, enforcement)
        try:
            _recheck(engine, container, terms.image)
            guest.start()
        except BaseException:
            guest.kill()
            with contextlib.suppress(KitError):
                guest.close()
            raise
        return guest

    def reaper(self, run_id: str) -> Sequence[str]:
        """See `Runtime.reaper`."""
        return ("docker", str(self.state), run_id)


def _refuse_blind(about: About, spec: RunSpec) -> None:
    if not spec.gpus or about.name is not EngineName.PODMAN:
        return
    parts = [int(p) if p.isdecimal() else 0 for p in about.version.split(".")[:2]]
    if tuple(parts) < PODMAN_GPUS:
        least = ".".join(map(str, PODMAN_GPUS))
        raise PrerequisiteError(
            f"Podman {about.version} would start the guest without GPUs: its socket ignores them",
            f"use Podman {least} or newer, Docker, or --runtime runc",
        )


def _image(engine: Engine, image: ImageRef) -> str:
    found = engine.image_id(image.config_digest, image.manifest_digest)
    if found is None:
        raise PrerequisiteError(
            f"the engine does not have image {image.era} (sha256:{image.config_digest[:12]}…)",
            f"speedrun image load {image.era}",
        )
    return found


def _recheck(engine: Engine, container: str, image: str) -> None:
    """See that the container that was made is of the image that was meant."""
    made = engine.inspect(container)
    if made is None:
        raise RunError("the engine lost the container that it made", "see: speedrun doctor")
    if made.image != image:
        raise DigestMismatch(
            f"the engine made a container of {made.image}, not of {image}", "see: speedrun doctor"
        )


def reap(state: Path, run_id: str) -> bool:
    """End and remove whatever is left of a run's guest; return whether nothing is left. Safe to repeat."""
    stub = ticket.read(state, run_id)
    if stub is None:
        return True
    for container in stub.containers:
        processes.kill_all(processes.of_container(container))
    try:
        engine = Engine(stub.engine, REAP_PATIENCE_S)
        found = [c.id for c in engine.labelled(LABEL, run_id)]
        for container in found:
            engine.remove(container)
        left = engine.labelled(LABEL, run_id)
    except KitError:
        # the engine is gone: what the kernel still shows decides, and the ticket stays for `sweep`
        for container in stub.containers:
            processes.kill_all(processes.shims(container))
        return not any(processes.of_container(container) for container in stub.containers)
    if left:
        return False
    if stub.containers:
        ticket.remove(state, run_id)
    return not any(processes.of_container(container) for container in (*stub.containers, *found))


def sweep(url: str, state: Path) -> tuple[str, ...]:
    """
    Remove the containers of runs whose kit is gone, and their tickets; return the run ids, sorted.

    A container without a ticket of this user is removed only if it has ended: another kit may own it.
    Raises what the engine raises.
    """
    swept: set[str] = set()
    for run_id in ticket.runs(state):
        if not ticket.held(state, run_id) and reap(state, run_id):
            ticket.remove(state, run_id)
            swept.add(run_id)
    engine = Engine(url)
    for container in engine.labelled(LABEL):
        ended = container.started and not container.running
        if ended and not ticket.held(state, container.label):
            engine.remove(container.id)
            swept.add(container.label)
    return tuple(sorted(swept))


def state_folder() -> Path:
    """Return where this user's tickets lie."""
    return folder("docker")
