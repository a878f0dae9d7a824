"""
GPU preflight: whether this machine's GPUs suit a run, judged from what the driver says. Starts no guest.

A refusal has its own message and its own fix. A run that asks for more GPUs than there are is refused, never
made smaller. What is odd but workable is a warning, and every warning keeps the result from being ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kit.core import version
from kit.core.errors import KitError, PrerequisiteError
from kit.core.version import Version
from kit.gpu import cuda, driver, toolkit
from kit.gpu.driver import DriverFiles
from kit.gpu.nvml import NOTHING, Driver, DriverGpu, Fabric, Inventory, Nvml
from kit.values.hardware import RECORD_MODELS, LinkSettings, format_settings
from kit.values.run_spec import GIB

MODEL = "model"
"""Id of the finding about the model, which a result shows by itself."""
LINKS = "links"
"""Id of the finding about settings, which a result shows by itself, too."""
BUSY = 2 * GIB
"""More memory than an idle GPU has in use."""


class Level(StrEnum):
    """What a finding means for the run."""

    OK = "ok"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """One property of this machine or of the inputs that a run depends on."""

    id: str
    level: Level
    detail: str
    fix: str = ""
    """What to do about it; empty if it is fine."""


@dataclass(frozen=True, slots=True)
class GpuRequirements:
    """What a run needs of the machine's GPUs."""

    gpus: int
    if_fewer: str
    """What to do where there are not so many."""
    cuda: Version | None = None
    """Major and minor version of the image's CUDA; None if it is not known."""
    toolkit: bool = False
    """Whether the engine brings GPUs in through NVIDIA's container toolkit."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a preflight asks."""

    nvml: Nvml = field(default_factory=Driver)
    files: Callable[[tuple[int, ...]], DriverFiles] = driver.find_driver_files
    """Finds the driver's files, for the minor numbers of the GPUs."""
    toolkit: Callable[[], Version | None] = toolkit.installed
    settings: LinkSettings = ()
    """What the machine's owner set for the links between its GPUs."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found, in the order in which it was looked at."""

    findings: tuple[PreflightFinding, ...]
    gpus: tuple[DriverGpu, ...] = ()
    """The ones that the run gets, in the order of its ranks."""
    driver: str | None = None
    settings: LinkSettings = ()
    """Of the links between them; the guest gets them, too."""

    @property
    def warnings(self) -> tuple[PreflightFinding, ...]:
        """What is odd; each of them keeps the result from being ranked."""
        return tuple(f for f in self.findings if f.level is Level.WARNING)

    @property
    def refusals(self) -> tuple[PreflightFinding, ...]:
        """What forbids the run."""
        return tuple(f for f in self.findings if f.level is Level.REFUSAL)

    def require(self) -> None:
        """Raise `PrerequisiteError` with every refusal, and the first one's fix, if there is any."""
        refused = self.refusals
        if refused:
            rest = "".join(
                f"\n  also: {f.detail}" + (f" (hint: {f.fix})" if f.fix else "") for f in refused[1:]
            )
            raise PrerequisiteError(refused[0].detail + rest, refused[0].fix)


NO_GPUS = Preflight(())
"""Of a run that wants none."""


def preflight(requirements: GpuRequirements, sources: Sources) -> Preflight:
    """
    Look at everything that `requirements` depends on. Raises nothing: see `Preflight.require`.

    The run gets the first GPUs in the order of the source: that of the PCI bus, or the user's own. Where
    there are too few, nothing else is looked at.
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
        _files(chosen, sources),
    ]
    if requirements.toolkit:
        findings.append(_toolkit(sources.toolkit()))
    if sources.settings:
        detail = f"this machine's own {format_settings(sources.settings)} are passed on to the guest"
        findings.append(PreflightFinding(LINKS, Level.WARNING, detail))
    return Preflight(tuple(findings), chosen, inventory.driver, sources.settings)


def _ok(name: str, detail: str) -> PreflightFinding:
    return PreflightFinding(name, Level.OK, detail)


def _count(requirements: GpuRequirements, inventory: Inventory) -> PreflightFinding:
    here = len(inventory.gpus)
    if here >= requirements.gpus:
        return _ok("count", f"{requirements.gpus} GPUs wanted, {here} here")
    why = ": no NVIDIA driver is loaded" if inventory == NOTHING else ""
    if inventory.hidden:
        why = f", and CUDA_VISIBLE_DEVICES hides {inventory.hidden}"
    return PreflightFinding(
        "count", Level.REFUSAL, f"{requirements.gpus} GPUs wanted, {here} here{why}", requirements.if_fewer
    )


def _driver(requirements: GpuRequirements, inventory: Inventory) -> PreflightFinding:
    loaded = inventory.driver or "unknown"
    if requirements.cuda is None:
        return _ok("driver", f"driver {loaded}; which CUDA the guest has is not known")
    name = f"CUDA {version.format_version(requirements.cuda)}"
    needs = cuda.cuda_requirement(requirements.cuda)
    match cuda.driver_support(loaded, requirements.cuda):
        case cuda.DriverSupport.FULL:
            return _ok("driver", f"driver {loaded} suits {name}")
        case cuda.DriverSupport.LIMITED if needs:
            return PreflightFinding(
                "driver",
                Level.WARNING,
                f"driver {loaded} runs {name} by minor-version compatibility alone, not like {needs.full}",
                f"install driver {needs.full} or newer",
            )
        case cuda.DriverSupport.TOO_OLD if needs:
            return PreflightFinding(
                "driver",
                Level.REFUSAL,
                f"driver {loaded} cannot run {name}, which needs {needs.floor} or newer",
                f"install driver {needs.full} or newer",
            )
    return PreflightFinding("driver", Level.WARNING, f"no table says whether driver {loaded} runs {name}")


def _model(chosen: tuple[DriverGpu, ...]) -> PreflightFinding:
    names = sorted({gpu.name for gpu in chosen})
    if len(names) > 1:
        return PreflightFinding(
            MODEL,
            Level.REFUSAL,
            f"the GPUs differ: {', '.join(names)}",
            "use a machine with GPUs of one model",
        )
    if names[0] not in RECORD_MODELS:
        listed = " or ".join(RECORD_MODELS)
        return PreflightFinding(MODEL, Level.WARNING, f"{names[0]} is not what the records ran on ({listed})")
    return _ok(MODEL, names[0])


def _state(chosen: tuple[DriverGpu, ...]) -> Iterator[PreflightFinding]:
    cut = [gpu.index for gpu in chosen if gpu.mig]
    yield _each(
        "mig",
        cut,
        "MIG mode is on",
        "not cut into instances",
        f"nvidia-smi -i {_listed(cut)} -mig 0 (as root)",
    )
    strangers = [
        f"process {p.pid or 'of another PID namespace'} on GPU {gpu.index}"
        for gpu in chosen
        for p in gpu.processes
    ]
    if strangers:
        fix = "end them, or wait; to see them: nvidia-smi"
        yield PreflightFinding(
            "processes", Level.REFUSAL, f"somebody computes: {', '.join(strangers[:8])}", fix
        )
    else:
        yield _ok("processes", "nobody computes on them")
    held = [gpu.index for gpu in chosen if gpu.used > BUSY]
    yield _each(
        "memory", held, f"more than {BUSY // GIB} GiB are in use", "their memory is free",
        "end what holds it; to see it: nvidia-smi",
    )  # fmt: skip
    waiting = [gpu.index for gpu in chosen if gpu.fabric is Fabric.PENDING]
    yield _each(
        "fabric", waiting, "the links between the GPUs are not set up", "no link is waiting to be set up",
        "systemctl start nvidia-fabricmanager (as root)",
    )  # fmt: skip


def _each(name: str, bad: list[int], fault: str, fine: str, fix: str) -> PreflightFinding:
    if bad:
        return PreflightFinding(name, Level.REFUSAL, f"{fault} on GPU {_listed(bad)}", fix)
    return _ok(name, fine)


def _listed(indices: list[int]) -> str:
    return ",".join(str(i) for i in indices)


def _files(chosen: tuple[DriverGpu, ...], sources: Sources) -> PreflightFinding:
    try:
        files = sources.files(tuple(gpu.minor for gpu in chosen))
    except PrerequisiteError as e:
        return PreflightFinding("driver-files", Level.REFUSAL, e.message, e.hint)
    return _ok("driver-files", f"{len(files.libraries)} libraries, {len(files.devices)} devices, {files.smi}")


def _toolkit(installed: Version | None) -> PreflightFinding:
    if installed is None:
        return PreflightFinding(
            "toolkit",
            Level.REFUSAL,
            f"the engine needs NVIDIA's container toolkit for GPUs, and {toolkit.COMMAND} does not answer",
            "install nvidia-container-toolkit, or use --runtime runc, which does not need it",
        )
    escapes = toolkit.open_escapes(installed)
    if not escapes:
        return _ok("toolkit", f"container toolkit {version.format_version(installed)} has no known escape")
    names = ", ".join(e.cve for e in escapes)
    safe = version.format_version(toolkit.safe_version())
    return PreflightFinding(
        "toolkit",
        Level.REFUSAL,
        f"container toolkit {version.format_version(installed)} lets a container escape ({names})",
        f"{toolkit.INSTALL} (to {safe} or newer), or use --runtime runc, which does not need it",
    )
