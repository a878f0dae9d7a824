"""
Runtime `docker`: one container of Docker Engine, or of Podman through its Docker-compatible socket.

The engine starts the guest, but killing it does not depend on the engine: if permitted, the kit finds the
guest's processes by the container's control group and kills them itself. A run whose engine stops answering
is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, EngineSilent, KitError, PrerequisiteError, RunError, UsageError
from kit.gpu.driver import DriverFiles
from kit.sandbox import processes
from kit.sandbox.engine import DEFAULT_ENGINE, Container, Engine, EngineInfo, EngineName, answers
from kit.sandbox.runtime import dockerconfig, hidden, lease
from kit.sandbox.runtime.dockerconfig import LABEL, EngineSettings
from kit.sandbox.runtime.dockerguest import DockerGuest
from kit.sandbox.runtime.lease import ContainerLease, LeaseRecord
from kit.sandbox.runtime.port import driver_of
from kit.sandbox.runtime.state import folder, make_private
from kit.values.run_result import Enforcement
from kit.values.run_spec import ImageRef, RunSpec, RuntimeName

START_PATIENCE_S = 120.0
"""Timeout for creating and starting a container."""
REAP_PATIENCE_S = 5.0


class Docker:
    """See `kit.sandbox.runtime.port.Runtime`. `engine` is the URL of the engine's unix socket."""

    name = RuntimeName.DOCKER
    contains = True

    def __init__(self, engine: str = DEFAULT_ENGINE, state: Path | None = None) -> None:
        self.engine = engine
        self.state = state or state_folder()

    def start(self, spec: RunSpec, scratch: Path) -> DockerGuest:
        """See `Runtime.start`. Raises `DigestMismatch` if the engine uses another image."""
        if spec.image is None:
            raise UsageError(
                "the docker runtime cannot run `--image host`, only container images", "use --runtime runc"
            )
        driver = driver_of(spec)
        with contextlib.closing(Engine(self.engine, START_PATIENCE_S)) as engine:
            about = engine.about()
            terms = _terms(about, _image(engine, spec.image), scratch, driver)
            request = dockerconfig.request(spec, terms)
            make_private(self.state)
            with contextlib.ExitStack() as unused:
                mine = unused.enter_context(contextlib.closing(Engine(self.engine)))
                container_lease = ContainerLease(self.state, spec.run_id, self.engine)
                container, warnings = _create(engine, spec.run_id, request, container_lease)
                unused.pop_all()
            enforcement = Enforcement(
                runtime=self.name,
                version=f"{about.version} (podman)" if about.name is EngineName.PODMAN else about.version,
                contains=self.contains,
                config_sha256=sha256_bytes(request),
                not_enforced=(*terms.not_enforced, *warnings),
            )
            guest = DockerGuest(mine, container, container_lease, enforcement)
            try:
                _recheck(engine, container, terms.image, spec.image.era)
                guest.start(engine)
            except BaseException:
                guest.kill()
                with contextlib.suppress(KitError):
                    guest.close()
                raise
            return guest

    def require_engine(self) -> None:
        """Raise `PrerequisiteError` if no engine answers, so that nothing is downloaded first."""
        Engine(self.engine).close()

    def reaper(self, run_id: str) -> Sequence[str]:
        """See `Runtime.reaper`."""
        return ("docker", str(self.state), run_id)


def _terms(about: EngineInfo, image: str, scratch: Path, driver: DriverFiles | None) -> EngineSettings:
    profile = scratch / "seccomp.json" if about.name is EngineName.PODMAN else None
    if profile is not None:
        profile.write_text(dockerconfig.seccomp_text())
    return EngineSettings(
        engine=about.name,
        image=image,
        memory_limit=about.memory_limit,
        swap_limit=about.swap_limit,
        pids_limit=about.pids_limit,
        open_files=about.open_files,
        locked_memory=about.locked_memory,
        processes=about.processes,
        seccomp=profile,
        driver=driver,
        masked=hidden.masked(),
    )


def _create(
    engine: Engine, run_id: str, request: bytes, container_lease: ContainerLease
) -> tuple[str, tuple[str, ...]]:
    """Create the container and record its id before the container can run."""
    try:
        container, warnings = engine.create(f"speedrun-{run_id}", request)
        container_lease.add(container)
    except EngineSilent:
        container_lease.leave()  # the engine may have created the container nevertheless
        raise
    except BaseException:
        container_lease.release()
        raise
    return container, warnings


def _image(engine: Engine, image: ImageRef) -> str:
    image_id = engine.image_id(image.config_digest, image.manifest_digest)
    if image_id is None:
        raise PrerequisiteError(
            f"image {image.era} (sha256:{image.config_digest[:12]}…) not found in the engine",
            f"speedrun image load {image.era}",
        )
    return image_id


def _recheck(engine: Engine, container: str, image: str, era: str) -> None:
    """Check that the new container has the expected image."""
    made = engine.inspect(container)
    if made is None:
        raise RunError(
            f"container {container[:12]} not found right after the engine created it",
            "restart the engine and run the command again",
        )
    if made.image != image:
        raise DigestMismatch(
            f"image mismatch: the engine created the container from {made.image[:19]}, expected {image[:19]}",
            f"load the image again: speedrun image load {era}",
        )


def reap(state: Path, run_id: str) -> bool:
    """
    Kill and remove what is left of a run's guest; return True if nothing is left. Safe to repeat.

    If the engine does not answer, the processes in /proc decide, and the lease stays for `tidy`.
    """
    record = lease.read(state, run_id)
    if record is None:
        return True
    try:
        _end(record, run_id)
    except (EngineSilent, PrerequisiteError):
        pass
    except KitError:
        return False
    else:
        if record.containers:  # otherwise the engine may still be creating one
            lease.remove(state, run_id)
    return not any(processes.pids_in_container(container) for container in record.containers)


def _end(record: LeaseRecord, run_id: str) -> None:
    """Kill a run's processes, then remove its containers. Raises `RunError` if a container stays."""
    for container in record.containers:
        processes.kill_all(processes.pids_in_container(container))
    try:
        with contextlib.closing(Engine(record.engine, REAP_PATIENCE_S)) as engine:
            for labelled in engine.labelled(LABEL, run_id):
                engine.remove(labelled.id)
            if engine.labelled(LABEL, run_id):
                raise RunError(
                    f"the engine did not remove the container of {run_id}", "speedrun doctor --fix"
                )
    except (EngineSilent, PrerequisiteError):
        for container in record.containers:
            processes.kill_all(processes.shim_pids(container))
        raise


def tidy(state: Path) -> tuple[str, ...]:
    """
    Kill and remove the containers of interrupted runs, by their leases; return the run ids, sorted.

    Leases of engines that do not answer stay.
    """
    tidied = []
    for run_id in lease.runs(state):
        record = lease.read(state, run_id)
        if lease.held(state, run_id):
            continue
        with contextlib.suppress(KitError):
            if record is not None:
                _end(record, run_id)
            lease.remove(state, run_id)
            tidied.append(run_id)
    return tuple(tidied)


def orphans(url: str, state: Path) -> tuple[str, ...]:
    """
    Return the interrupted runs that still have a container, sorted. Raises nothing if no engine answers.

    Leaves out a running container without a lease of this user: it may be another user's. Also leaves out
    containers of an engine that does not answer; their leases stay until it does.
    """
    run_ids = {run_id for run_id in lease.runs(state) if _abandoned(state, run_id)}
    with contextlib.suppress(KitError), contextlib.closing(Engine(url, REAP_PATIENCE_S)) as engine:
        run_ids |= {c.label for c in _ended(engine, state)}
    return tuple(sorted(run_ids))


def _abandoned(state: Path, run_id: str) -> bool:
    record = lease.read(state, run_id)
    if record is None or lease.held(state, run_id):
        return False
    return any(map(processes.pids_in_container, record.containers)) or answers(record.engine)


def sweep(url: str, state: Path) -> tuple[str, ...]:
    """Run `tidy`, remove other ended runs' containers from the engine at `url`; return all their run ids."""
    swept = set(tidy(state))
    with contextlib.suppress(KitError), contextlib.closing(Engine(url, REAP_PATIENCE_S)) as engine:
        for container in _ended(engine, state):
            engine.remove(container.id)
            swept.add(container.label)
    return tuple(sorted(swept))


def _ended(engine: Engine, state: Path) -> list[Container]:
    containers = engine.labelled(LABEL)
    return [c for c in containers if c.started and not c.running and not lease.held(state, c.label)]


def state_folder() -> Path:
    """Return the directory of this user's leases."""
    return folder("docker")
