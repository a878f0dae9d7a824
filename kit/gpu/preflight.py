"""
GPU preflight: check from the driver's data whether this machine's GPUs meet a run's requirements.

Each refusal has a message and a fix. A run that needs more GPUs than the machine has is refused, never
made smaller. A warning lets the run start, but its result is not ranked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kit.core import version
from kit.core.errors import KitError, PrerequisiteError
from kit.core.text import in_shell
from kit.core.version import Version
from kit.gpu import cuda, driver
from kit.gpu.driver import DriverFiles
from kit.gpu.nvml import NO_DRIVER, Driver, DriverGpu, Fabric, Inventory, Nvml
from kit.values.hardware import RECORD_MODELS, LinkSettings, format_settings
from kit.values.run_spec import GIB

MODEL = "model"
"""Id of the finding about the GPU model, which a result shows separately."""
LINKS = "links"
"""Id of the finding about link settings, which a result shows separately."""
IN_USE = frozenset({"processes", "memory"})
"""Ids of the findings that a run of another process causes, and that pass with it."""
BUSY = 2 * GIB
"""Bytes. An idle GPU uses less memory than this."""
FOR_ALL = 0o006
"""Permission bits with which every user can read and write a device."""


class Level(StrEnum):
    """What a finding means for the run."""

    OK = "ok"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """The result of one check of this machine or of the run's inputs."""

    id: str
    level: Level
    detail: str
    fix: str = ""
    """How to fix it; empty if there is nothing to fix."""


@dataclass(frozen=True, slots=True)
class GpuRequirements:
    """The GPUs and driver that a run needs."""

    gpus: int
    if_fewer: str
    """Hint for a machine with fewer GPUs."""
    cuda: Version | None = None
    """Major and minor version of the image's CUDA; None if unknown."""
    engine: bool = False
    """Whether Docker or Podman makes the guest's devices: those keep the permissions of this machine's."""
    own_user: bool = False
    """Whether the guest opens the devices of this machine as this user, who is not root."""
    fewer: tuple[int, ...] = ()
    """Numbers of GPUs with which the run would take the same steps; the hint names those that are here."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The data sources of a preflight."""

    nvml: Nvml = field(default_factory=Driver)
    files: Callable[[tuple[int, ...]], DriverFiles] = driver.find_driver_files
    """Finds the driver's files for GPUs with the given minor numbers."""
    settings: LinkSettings = ()
    """The machine's settings for the links between its GPUs."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """The findings of a preflight, in the order of the checks."""

    findings: tuple[PreflightFinding, ...]
    gpus: tuple[DriverGpu, ...] = ()
    """The GPUs that the run gets, in rank order."""
    driver: str | None = None
    settings: LinkSettings = ()
    """Settings for the links between these GPUs, passed on to the guest."""

    @property
    def warnings(self) -> tuple[PreflightFinding, ...]:
        """Findings that allow the run but keep its result from being ranked."""
        return tuple(f for f in self.findings if f.level is Level.WARNING)

    @property
    def refusals(self) -> tuple[PreflightFinding, ...]:
        """Findings that forbid the run."""
        return tuple(f for f in self.findings if f.level is Level.REFUSAL)

    def require(self) -> None:
        """Raise `PrerequisiteError` with all refusals and the fix of the first, if there is any refusal."""
        refused = self.refusals
        if refused:
            rest = "".join(
                f"\n  also: {f.detail}" + (f" (hint: {f.fix})" if f.fix else "") for f in refused[1:]
            )
            raise PrerequisiteError(refused[0].detail + rest, refused[0].fix)


NO_GPUS = Preflight(())
"""The preflight of a run without GPUs."""


def preflight(requirements: GpuRequirements, sources: Sources) -> Preflight:
    """
    Run every check for `requirements`. Does not raise for a refusal: see `Preflight.require`.

    The run gets the first GPUs in the order of the source: PCI bus order, or the order that the user set.
    If there are too few GPUs, the other checks are skipped.
    """
    if requirements.gpus == 0:
        return NO_GPUS
    try:
        inventory = sources.nvml.read()
    except KitError as e:
        refusal = PreflightFinding("driver", Level.REFUSAL, e.message, e.hint)
        return Preflight((refusal,))
    chosen = inventory.gpus[: requirements.gpus]
    counted = _count(requirements, inventory)
    if counted.level is Level.REFUSAL:
        return Preflight((counted,), driver=inventory.driver)
    findings = [
        counted,
        _driver(requirements, inventory),
        _model(chosen),
        *_state(chosen),
        _files(chosen, requirements, sources),
    ]
    if sources.settings:
        detail = f"link settings of this machine, passed on to the guest: {format_settings(sources.settings)}"
        findings.append(PreflightFinding(LINKS, Level.WARNING, detail))
    return Preflight(tuple(findings), chosen, inventory.driver, sources.settings)


def _ok(name: str, detail: str) -> PreflightFinding:
    return PreflightFinding(name, Level.OK, detail)


def _count(requirements: GpuRequirements, inventory: Inventory) -> PreflightFinding:
    available = len(inventory.gpus)
    counts = f"the run needs {_gpus(requirements.gpus)}, this machine has {available or 'none'}"
    if available >= requirements.gpus:
        return _ok("count", counts)
    why = ": no NVIDIA driver is loaded" if inventory == NO_DRIVER else ""
    if inventory.hidden:
        why = f"; CUDA_VISIBLE_DEVICES hides {inventory.hidden}"
    return PreflightFinding("count", Level.REFUSAL, counts + why, _hint(requirements, available))


def _hint(requirements: GpuRequirements, available: int) -> str:
    numbers = " or ".join(str(n) for n in requirements.fewer if n <= available)
    same_steps = f"; for the same steps on fewer GPUs: --gpus {numbers}" if numbers else ""
    return requirements.if_fewer + same_steps


def _gpus(number: int) -> str:
    return "1 GPU" if number == 1 else f"{number} GPUs"


def _driver(requirements: GpuRequirements, inventory: Inventory) -> PreflightFinding:
    loaded = inventory.driver or "unknown"
    if requirements.cuda is None:
        return _ok("driver", f"driver {loaded}; the guest's CUDA version is unknown")
    name = f"CUDA {version.format_version(requirements.cuda)}"
    needs = cuda.cuda_requirement(requirements.cuda)
    match cuda.driver_support(loaded, requirements.cuda):
        case cuda.DriverSupport.FULL:
            return _ok("driver", f"driver {loaded} supports {name}")
        case cuda.DriverSupport.LIMITED if needs:
            return PreflightFinding(
                "driver",
                Level.WARNING,
                f"driver {loaded} supports {name} only through minor-version compatibility",
                f"install driver {needs.full} or newer",
            )
        case cuda.DriverSupport.TOO_OLD if needs:
            return PreflightFinding(
                "driver",
                Level.REFUSAL,
                f"driver {loaded} is too old: {name} needs driver {needs.floor} or newer",
                f"install driver {needs.full} or newer",
            )
    return PreflightFinding("driver", Level.WARNING, f"unknown whether driver {loaded} supports {name}")


def _model(chosen: tuple[DriverGpu, ...]) -> PreflightFinding:
    names = sorted({gpu.name for gpu in chosen})
    if len(names) > 1:
        return PreflightFinding(
            MODEL,
            Level.REFUSAL,
            f"the GPUs are of different models: {', '.join(names)}",
            "use a machine with GPUs of one model",
        )
    if names[0] not in RECORD_MODELS:
        listed = " or ".join(RECORD_MODELS)
        return PreflightFinding(MODEL, Level.WARNING, f"{names[0]}; the records ran on {listed}")
    return _ok(MODEL, names[0])


def _state(chosen: tuple[DriverGpu, ...]) -> Iterator[PreflightFinding]:
    cut = [gpu.index for gpu in chosen if gpu.mig]
    yield _each(
        "mig", cut, "MIG mode is enabled", "MIG mode is disabled",
        f"turn it off as root: nvidia-smi -i {_listed(cut)} -mig 0",
    )  # fmt: skip
    in_use = [
        f"GPU {gpu.index} is in use by "
        + (f"process {p.pid}" if p.pid else "a process of another PID namespace")
        for gpu in chosen
        for p in gpu.processes
    ]
    if in_use:
        fix = "stop these processes or wait for them; nvidia-smi lists them"
        yield PreflightFinding("processes", Level.REFUSAL, ", ".join(in_use[:8]), fix)
    else:
        yield _ok("processes", "no other process uses the GPUs")
    held = [gpu.index for gpu in chosen if gpu.used > BUSY]
    yield _each(
        "memory", held, f"more than {BUSY // GIB} GiB of memory is in use", "the GPU memory is free",
        "stop the processes that use it; nvidia-smi lists them",
    )  # fmt: skip
    waiting = [gpu.index for gpu in chosen if gpu.fabric is Fabric.PENDING]
    yield _each(
        "fabric", waiting, "the NVLink fabric is not initialized", "the NVLink fabric is ready or absent",
        "start the fabric manager as root: systemctl start nvidia-fabricmanager",
    )  # fmt: skip


def _each(name: str, bad: list[int], fault: str, fine: str, fix: str) -> PreflightFinding:
    if bad:
        where = f"{'GPU' if len(bad) == 1 else 'GPUs'} {_listed(bad)}"
        return PreflightFinding(name, Level.REFUSAL, f"{fault} on {where}", fix)
    return _ok(name, fine)


def _listed(indices: list[int]) -> str:
    return ",".join(str(i) for i in indices)


def _files(
    chosen: tuple[DriverGpu, ...], requirements: GpuRequirements, sources: Sources
) -> PreflightFinding:
    try:
        files = sources.files(tuple(gpu.minor for gpu in chosen))
    except PrerequisiteError as e:
        return PreflightFinding("driver-files", Level.REFUSAL, e.message, e.hint)
    closed = [device for device in files.devices if device.mode & FOR_ALL != FOR_ALL]
    if requirements.engine and closed:
        paths = [f"/dev/{device.name}" for device in closed]
        return PreflightFinding(
            "driver-files",
            Level.REFUSAL,
            f"the guest's user cannot open /dev/{closed[0].name}: its mode is {closed[0].mode:04o}, not 0666",
            f"allow all users, as root: chmod 666 {in_shell(*paths)}; or use --runtime runc",
        )
    paths = [f"/dev/{device.name}" for device in files.devices]
    shut = [path for path in paths if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)]  # noqa: PTH110
    if requirements.own_user and shut:
        return PreflightFinding(
            "driver-files",
            Level.REFUSAL,
            f"this user cannot open {shut[0]}, which the guest opens as this user",
            f"ask the site for it: chmod 666 {in_shell(*shut)}, or membership in its group",
        )
    return _ok("driver-files", f"{len(files.libraries)} libraries, {len(files.devices)} devices, {files.smi}")
